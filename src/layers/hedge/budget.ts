/** How many second tries all calls of one `hedge()` may make together. */
export interface HedgeBudgetOptions {
  /** The most that can be saved up. @default 10 */
  size?: number | undefined
  /** What there is at the start. @default 1 */
  start?: number | undefined
  /** What each call that is answered adds. @default 0.05 */
  perSuccess?: number | undefined
}

/** Of the calls in progress, so many may have a second try at the same time; one always. */
const SHARE = 0.1
/** Twenty times 0.05 is a little less than 1 in binary. */
const ROUNDING = 1e-9

/** A bucket from which each second try takes one. */
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

  /** Takes one for a second try, of so many calls in progress; false when there is none. */
  take(calls: number): boolean {
    if (this.#left < 1 - ROUNDING || this.#inProgress + 1 > Math.max(1, SHARE * calls)) return false
    this.#left--
    this.#inProgress++
    return true
  }

  /** A second try is over. One that was refused has cost nothing. */
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
