import type { CostLimit } from './limits.js'
import type { LimitCostOptions } from './options.js'

const DAY = 24 * 3_600_000

/** The share of the limit at which a `budget` event is published. */
export const WARNING_SHARE = 0.8

/** The start and end of the window that a time is in. Milliseconds since the epoch, in UTC. */
export function windowOf(
  per: LimitCostOptions['per'],
  wall: number,
): { start: number; end: number } {
  if (per === 'month') {
    const date = new Date(wall)
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
    return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) }
  }
  const length = per === 'day' ? DAY : per
  const start = Math.floor(wall / length) * length
  return { start, end: start + length }
}

/** What one key has spent in the current window, in millionths of the operator's unit. */
export class CostWindow {
  /** Counts the windows, because the window's length may change. */
  number = 0
  #per: LimitCostOptions['per'] | undefined
  #start = 0
  #end = 0
  #limit = 0
  /** Cost of ended calls. */
  #spent = 0
  /** Estimated cost of calls in progress. */
  #reserved = 0
  #hasWarned = false

  /** Starts a new window when the old one is over. */
  enter({ limit, per }: CostLimit, wall: number): void {
    this.#limit = limit
    // Also when the clock was set back, so that a window does not last for years.
    const isOver = wall < this.#start || wall >= this.#end
    if (!isOver && per === this.#per) return
    const { start, end } = windowOf(per, wall)
    this.#per = per
    this.#start = start
    this.#end = end
    if (!isOver) return
    this.number++
    this.#spent = 0
    this.#reserved = 0
    this.#hasWarned = false
  }

  hasRoomFor(amount: number): boolean {
    return this.#spent + this.#reserved + amount <= this.#limit
  }

  /** Whether this amount would fit into an empty window. */
  mayEverTake(amount: number): boolean {
    return amount <= this.#limit
  }

  get end(): number {
    return this.#end
  }

  get isUnused(): boolean {
    return this.#spent === 0 && this.#reserved === 0
  }

  get spent(): number {
    return this.#spent
  }

  get limit(): number {
    return this.#limit
  }

  reserve(amount: number): void {
    this.#reserved += amount
  }

  /**
   * Records the end of a call that started in window `number`; ignored if that window is over.
   * Returns whether to publish a `budget` event.
   */
  settle(number: number, reserved: number, taken: number): boolean {
    if (number !== this.number) return false
    this.#reserved -= reserved
    this.#spent += taken
    if (this.#hasWarned || this.#spent < this.#limit * WARNING_SHARE || taken === 0) return false
    this.#hasWarned = true
    return true
  }
}
