export interface RetryBudgetOptions {
  /** Retries as a share of the calls. @default 0.2 */
  ratio?: number | undefined
  /** Retries that are always allowed within the window. @default 10 */
  floor?: number | undefined
  /** Milliseconds. @default 10000 */
  windowMs?: number | undefined
}

/** What happened within one tenth of the window. */
interface Slice {
  readonly began: number
  started: number
  running: number
  retries: number
}

const SLICES = 10

/**
 * Limits retries to `floor` + `ratio` × the calls that started within the window or still run, so that an outage is not made worse by those who ask again.
 * @see https://twitter.github.io/finagle/guide/Glossary.html "retry budget"
 */
export class RetryBudget {
  readonly #ratio: number
  readonly #floor: number
  readonly #windowMs: number
  #slices: Slice[] = []

  constructor({ ratio = 0.2, floor = 10, windowMs = 10_000 }: RetryBudgetOptions = {}) {
    this.#ratio = ratio
    this.#floor = floor
    this.#windowMs = windowMs
  }

  /** Counts a call in. The returned function says that it has ended. */
  begin(): () => void {
    const slice = this.#current()
    slice.started++
    slice.running++
    return () => {
      slice.running--
    }
  }

  /** Takes one retry from the budget; false when there is none left. */
  take(): boolean {
    const current = this.#current()
    const since = current.began - this.#windowMs
    let calls = 0
    let retries = 0
    for (const slice of this.#slices) {
      const recent = slice.began > since
      calls += recent ? slice.started : slice.running
      if (recent) retries += slice.retries
    }
    if (retries + 1 > this.#floor + this.#ratio * calls) return false
    current.retries++
    return true
  }

  #current(): Slice {
    const width = this.#windowMs / SLICES
    const began = Math.floor(performance.now() / width) * width
    const last = this.#slices.at(-1)
    if (last?.began === began) return last
    const slice: Slice = { began, started: 0, running: 0, retries: 0 }
    this.#slices = this.#slices.filter((old) => old.began > began - this.#windowMs || old.running > 0)
    this.#slices.push(slice)
    return slice
  }
}
