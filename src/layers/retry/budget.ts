import { now, type RetryAllowance } from '../../core/index.js'

/**
 * How many retries all calls of one `retry()` may make together: `floor` + `ratio` × the number of
 * calls in the last `windowMs`.
 */
export interface RetryBudgetOptions {
  /** Retries as a share of the calls, from 0 to 1. @default 0.2 */
  ratio?: number | undefined
  /** Number of retries always allowed within the window. @default 10 */
  floor?: number | undefined
  /** Length of the window. Milliseconds, at least 10. @default 10000 */
  windowMs?: number | undefined
}

/** The counts of one hundredth of the window. */
export interface BudgetSlice {
  readonly began: number
  /** Number of calls that started in this slice and have ended. */
  ended: number
  retries: number
}

const SLICES = 100

/**
 * Limits retries to `floor` + `ratio` × the number of calls that started within the window or are
 * still running, so that retries do not make an outage worse.
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

  /** Counts a call. Pass the result to `end()`. */
  begin(): BudgetSlice {
    this.#running++
    return this.#current()
  }

  /** A counted call has ended. */
  end(began: BudgetSlice): void {
    this.#running--
    began.ended++
  }

  /** Takes one retry from the budget; false when none is left. */
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

  /** Returns one that was not used. */
  giveBack(): void {
    this.#current().retries--
  }

  /** The current slice. Drops slices that have left the window. */
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
