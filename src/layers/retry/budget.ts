import { now, type RetryAllowance } from '../../core/index.js'

/**
 * How many retries all calls of one `retry()` may make together: `floor` + `ratio` × the calls of
 * the last `windowMs`.
 */
export interface RetryBudgetOptions {
  /** Retries as a share of the calls. @default 0.2 */
  ratio?: number | undefined
  /** Retries that are always allowed within the window. @default 10 */
  floor?: number | undefined
  /** Milliseconds. @default 10000 */
  windowMs?: number | undefined
}

/** What happened within one hundredth of the window. */
export interface BudgetSlice {
  readonly began: number
  /** Calls that began here and have ended. */
  ended: number
  retries: number
}

const SLICES = 100

/**
 * Limits retries to `floor` + `ratio` × the calls that started within the window or still run, so
 * that an outage is not made worse by those who ask again.
 * @see https://twitter.github.io/finagle/guide/Glossary.html "retry budget"
 */
export class RetryBudget implements RetryAllowance {
  readonly #ratio: number
  readonly #floor: number
  readonly #windowMs: number
  #slices: BudgetSlice[] = []
  #running = 0

  constructor({ ratio = 0.2, floor = 10, windowMs = 10_000 }: RetryBudgetOptions = {}) {
    this.#ratio = ratio
    this.#floor = floor
    this.#windowMs = windowMs
  }

  /** Counts a call in. What is returned is for `end()`. */
  begin(): BudgetSlice {
    this.#running++
    return this.#current()
  }

  /** A call has ended that was counted in. */
  end(began: BudgetSlice): void {
    this.#running--
    began.ended++
  }

  /** Takes one retry from the budget; false when there is none left. */
  take(): boolean {
    const current = this.#current()
    let calls = this.#running
    let retries = 0
    for (const slice of this.#slices) {
      calls += slice.ended
      retries += slice.retries
    }
    if (retries + 1 > this.#floor + this.#ratio * calls) return false
    current.retries++
    return true
  }

  /** Gives one back that was not made. */
  giveBack(): void {
    this.#current().retries--
  }

  /** The slice of now; those that have left the window are dropped. */
  #current(): BudgetSlice {
    const width = this.#windowMs / SLICES
    const began = Math.floor(now() / width) * width
    const last = this.#slices.at(-1)
    if (last?.began === began) return last
    const slice: BudgetSlice = { began, ended: 0, retries: 0 }
    this.#slices = this.#slices.filter((old) => old.began > began - this.#windowMs)
    this.#slices.push(slice)
    return slice
  }
}
