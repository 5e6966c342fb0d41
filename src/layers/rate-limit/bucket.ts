import type { Rate } from './limits.js'

/** Tolerance for rounding. In the unit of the limit. */
const GRAIN = 1e-6

/**
 * The level of one limit for one key: a bucket that fills at a constant rate, using the generic
 * cell rate algorithm (GCRA). A fixed window would let through twice the limit around its boundary.
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export class Bucket {
  #rate: Rate
  /** Below 0 when a call took more than the bucket holds, or more than estimated. */
  #level: number
  #at: number

  constructor(rate: Rate, at: number) {
    this.#rate = rate
    this.#level = rate.capacity
    this.#at = at
  }

  /**
   * Fills the bucket up to this time, and uses `rate` from now on. A new rate keeps the level,
   * limited to the new capacity.
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
   * How long after the last `fill()` a call of `amount` may start behind others of `ahead`. 0 means
   * now, `Infinity` never. A call larger than the bucket waits until it is full.
   */
  waitMs(amount: number, ahead: number): number {
    const { capacity, perMs } = this.#rate
    if (perMs === 0) return Number.POSITIVE_INFINITY
    const missing = ahead + Math.min(amount, capacity) - this.#level
    // Aim slightly early: ending a little early still counts as done, ending late would take
    // another timer.
    return missing <= GRAIN ? 0 : (missing - GRAIN / 2) / perMs
  }

  take(amount: number): void {
    this.#level -= amount
  }

  /** A call took less than estimated. May be called before or after a `fill()`. */
  giveBack(amount: number): void {
    this.#level = Math.min(this.#rate.capacity, this.#level + amount)
  }

  /**
   * A call took more than estimated. The level never falls below minus the limit, because a very
   * low estimate would otherwise block a key for hours.
   */
  takeMore(amount: number, at: number): void {
    this.fill(at)
    this.#level = Math.max(this.#level - amount, Math.min(this.#level, -this.#rate.limit))
  }

  /** How much may be taken now, rounded down. */
  remaining(at: number): number {
    this.fill(at)
    return Math.max(0, Math.floor(this.#level + GRAIN))
  }

  /** When the bucket is full again if nothing is taken; `Infinity` if it does not fill. */
  get fullAt(): number {
    const { capacity, perMs } = this.#rate
    const missing = capacity - this.#level
    return missing <= GRAIN ? this.#at : this.#at + missing / perMs
  }
}
