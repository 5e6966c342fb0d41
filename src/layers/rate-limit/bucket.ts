import type { Rate } from './limits.js'

/** What rounding may leave missing. In the unit of the limit. */
const GRAIN = 1e-6

/**
 * The level of one limit for one key: a bucket that fills evenly, by the generic cell rate algorithm
 * (GCRA). A fixed window would let twice the limit through around its edge.
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export class Bucket {
  #rate: Rate
  /** Below 0 when a call was dearer than the bucket, or than it was thought to be. */
  #level: number
  #at: number

  constructor(rate: Rate, at: number) {
    this.#rate = rate
    this.#level = rate.capacity
    this.#at = at
  }

  /**
   * Fills it up to this moment; from now on it fills by `rate`. The level stays when that changes,
   * cut to what the bucket then holds.
   */
  fill(at: number, rate = this.#rate): void {
    const { capacity, perMs } = this.#rate
    this.#level = Math.min(capacity, this.#level + (at - this.#at) * perMs)
    this.#at = at
    if (rate === this.#rate) return
    this.#rate = rate
    this.#level = Math.min(rate.capacity, this.#level)
  }

  /**
   * How long after the last `fill()` a call of `amount` may begin behind others of `ahead`: 0 for at
   * once, `Infinity` for never. A call dearer than the bucket waits for a full one.
   */
  waitMs(amount: number, ahead: number): number {
    const { capacity, perMs } = this.#rate
    if (perMs === 0) return Number.POSITIVE_INFINITY
    const missing = ahead + Math.min(amount, capacity) - this.#level
    // A wait that ends a little too early is over then; one that ends too late takes a timer more.
    return missing <= GRAIN ? 0 : (missing - GRAIN / 2) / perMs
  }

  take(amount: number): void {
    this.#level -= amount
  }

  /** A call has taken less than it was thought to. That may come before or after a `fill()`. */
  giveBack(amount: number): void {
    this.#level = Math.min(this.#rate.capacity, this.#level + amount)
  }

  /**
   * A call has taken more than it was thought to. Estimates that were far too low do not take the
   * level below minus the limit, or they would keep a key out for hours.
   */
  takeMore(amount: number, at: number): void {
    this.fill(at)
    this.#level = Math.max(this.#level - amount, Math.min(this.#level, -this.#rate.limit))
  }

  /** How much may be taken now, in whole. */
  remaining(at: number): number {
    this.fill(at)
    return Math.max(0, Math.floor(this.#level + GRAIN))
  }

  /** When it is full again, if nobody takes anything; `Infinity` for one that does not fill. */
  get fullAt(): number {
    const { capacity, perMs } = this.#rate
    const missing = capacity - this.#level
    return missing <= GRAIN ? this.#at : this.#at + missing / perMs
  }
}
