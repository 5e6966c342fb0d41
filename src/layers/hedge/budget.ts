/** How many second tries all calls of one `hedge()` may make together. */
export interface HedgeBudgetOptions {
  /** Maximum number of second tries that can be saved up. At least 1. @default 10 */
  size?: number | undefined
  /** Number available at the start. @default 1 */
  start?: number | undefined
  /** Number added by each successful call. @default 0.05 */
  perSuccess?: number | undefined
}

/**
 * The share of calls in progress that may have a second try at the same time. One is always
 * allowed.
 */
const SHARE = 0.1
/** Twenty times 0.05 is slightly less than 1 in binary. */
const ROUNDING = 1e-9

/** A budget from which each second try takes one. */
export class HedgeBudget {
  readonly #size: number
  readonly #perSuccess: number
  #left: number
  #inProgress = 0

  constructor({
    size,
    start,
    perSuccess,
  }: {
    size: number
    start: number
    perSuccess: number
  }) {
    this.#size = size
    this.#perSuccess = perSuccess
    this.#left = Math.min(start, size)
  }

  /**
   * Takes one for a second try; false when none is left. `calls` is the number of calls in
   * progress.
   */
  take(calls: number): boolean {
    if (this.#left < 1 - ROUNDING || this.#inProgress + 1 > Math.max(1, SHARE * calls)) return false
    this.#left--
    this.#inProgress++
    return true
  }

  /**
   * A second try has ended. If it was rejected before it ran, its place in the budget is returned.
   */
  end(wasRefused: boolean): void {
    this.#inProgress--
    if (wasRefused) this.#add(1)
  }

  /** A call has been answered. */
  succeeded(): void {
    if (this.#left < this.#size) this.#add(this.#perSuccess)
  }

  #add(amount: number): void {
    this.#left = Math.min(this.#size, this.#left + amount)
  }
}
