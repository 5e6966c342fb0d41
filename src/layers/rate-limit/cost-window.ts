import type { CostLimit } from './limits.js'
import type { LimitCostOptions } from './options.js'

const DAY = 24 * 3_600_000

/** At this share of the limit the operator is warned. */
export const WARNING_SHARE = 0.8

/** Where the window begins and ends that a moment is in. All of them since the epoch, in UTC. */
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

/** What one key has spent in the window of now, in millionths of the operator's unit. */
export class CostWindow {
  /** Which window it is, by its number: its length may change under it. */
  number = 0
  #per: LimitCostOptions['per'] | undefined
  #start = 0
  #end = 0
  #limit = 0
  /** Of calls that have ended. */
  #spent = 0
  /** Of calls that have not, at their worst. */
  #reserved = 0
  #hasWarned = false

  /** Begins a new window when the time has come. */
  enter({ limit, per }: CostLimit, wall: number): void {
    this.#limit = limit
    // Also when the clock was set back: a window must not last for years.
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

  /** Whether so much would find room in a new window. */
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
   * A call of the window of that number has ended. What belongs to a window that is over is
   * no concern of the new one. Returns whether the operator is to be warned.
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
