import { now } from '../../core/index.js'

/** At most `limit` starts within any `intervalMs`: a sliding window. */
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
   * The moment from which one more may start when `ahead` others go first; it may have passed. A
   * lower bound: it knows nothing of slots.
   */
  opensAt(ahead = 0): number {
    const rounds = Math.floor(ahead / this.#limit)
    const before = this.#starts[(this.#count + (ahead % this.#limit)) % this.#limit]
    const first = before === undefined ? 0 : before + this.#intervalMs
    return rounds === 0 ? first : Math.max(first, now()) + rounds * this.#intervalMs
  }

  take(): void {
    this.#starts[this.#count % this.#limit] = now()
    this.#count++
  }
}
