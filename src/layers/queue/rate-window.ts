/**
 * At most `limit` starts within any `intervalMs`: a sliding window on the monotonic clock, which
 * p-queue's own (on `Date.now()`) is not.
 */
export class RateWindow {
  readonly #limit: number
  readonly #intervalMs: number
  /** The moments of the last `limit` starts, oldest overwritten first. */
  readonly #starts: number[] = []
  #count = 0

  constructor(limit: number, intervalMs: number) {
    this.#limit = limit
    this.#intervalMs = intervalMs
  }

  /**
   * Milliseconds until one more may start when `ahead` others go first. A lower bound: it knows
   * nothing of slots.
   */
  waitMs(ahead = 0): number {
    const rounds = Math.floor(ahead / this.#limit)
    const before = this.#starts[(this.#count + (ahead % this.#limit)) % this.#limit]
    const first =
      before === undefined ? 0 : Math.max(0, before + this.#intervalMs - performance.now())
    return first + rounds * this.#intervalMs
  }

  take(): void {
    this.#starts[this.#count % this.#limit] = performance.now()
    this.#count++
  }
}
