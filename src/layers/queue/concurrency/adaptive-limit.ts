import { now } from '../../../core/index.js'
import { FirstTokenTimes } from './first-token-times.js'
import type { Answered, Limit } from './limit.js'

/** Bounds of an adaptive limit. */
export interface AdaptiveOptions {
  min: number
  start: number
  max: number
}

/**
 * After an overload, the limit is multiplied by `CUT`, and may rise to `CEILING` times what
 * upstream was handling.
 */
const CUT = 0.75
const CEILING = 1.1
/** How long the ceiling applies. Milliseconds. */
const CEILING_MS = 60_000
/**
 * While first tokens are late, the limit is multiplied by `LATE_CUT`, at this interval.
 * Milliseconds.
 */
const LATE_CUT = 0.9
const LATE_CUT_EVERY_MS = 10_000
/**
 * If halving the limit does not bring the times below this share, something else causes the delay.
 */
const IN_VAIN = 0.75

/**
 * Finds out how many calls upstream can handle at once. The limit grows while calls succeed that
 * use it: quickly at first, slowly after the first overload. It shrinks when upstream rejects calls
 * or slows down. `test/simulation` tests it against various kinds of upstream.
 */
export class AdaptiveLimit implements Limit {
  current: number
  readonly isAdaptive = true
  readonly #min: number
  readonly #max: number
  readonly #times = new FirstTokenTimes()
  #isDoubling = true
  /** Successes since the last change. */
  #successes = 0
  #cutAt = Number.NEGATIVE_INFINITY
  /**
   * All rejections of one burst count as one. The burst lasts until a call that started after it
   * succeeds.
   */
  #isBurst = false
  #ceiling: number
  /** The highest limit, while doubling, at which times were still usual. */
  #usualAt: number
  /** While first tokens are late: the limit when that started, and the largest median since. */
  #late: { readonly limit: number; readonly most: number } | undefined

  constructor({ min, start, max }: AdaptiveOptions) {
    this.#min = min
    this.#max = max
    this.#ceiling = max
    this.current = Math.min(max, Math.max(min, start))
    this.#usualAt = this.current
  }

  answered({ beganAt, ms, kind }: Answered, inProgress: number): void {
    const isInUse = inProgress >= this.current / 2
    this.#times.add(kind, ms, beganAt, !isInUse || this.#isUnburdened)
    if (beganAt >= this.#cutAt) this.#isBurst = false
    if (this.#times.isLate) return this.#giveWay()
    if (this.#times.isUsual) this.#late = undefined
    this.#forgetCeiling()
    if (!isInUse || ++this.#successes < this.current) return
    if (this.#times.seemsLate) this.#isDoubling = false
    else this.#grow()
  }

  /** Whether the current number of calls cannot be the cause of longer times. */
  get #isUnburdened(): boolean {
    return this.current <= this.#usualAt || this.#ceiling < this.#max
  }

  overloaded(inProgress: number): void {
    const ceiling = Math.max(this.#min, Math.floor(CEILING * (inProgress - 1)))
    if (!this.#isBurst) {
      this.#isBurst = true
      this.#ceiling = ceiling
      return this.#cut(CUT)
    }
    // The calls still in progress after all rejections of a burst are what upstream can handle.
    this.#ceiling = Math.min(this.#ceiling, ceiling)
    if (this.current > this.#ceiling) this.#set(this.#ceiling)
  }

  #grow(): void {
    if (!this.#isDoubling || !this.#times.seemsUsual) return this.#set(this.current + 1)
    // The answers so far are to calls that started at half of this limit.
    if (this.#times.isUsual) this.#usualAt = Math.max(this.#usualAt, this.current / 2)
    this.#set(2 * this.current)
    this.#times.restart(now())
  }

  #giveWay(): void {
    this.#isDoubling = false
    const { median } = this.#times
    const { limit, most } = this.#late ?? { limit: this.current, most: 0 }
    this.#late = { limit, most: Math.max(most, median) }
    const isInVain = 2 * this.current <= limit && median > IN_VAIN * most
    if (isInVain || this.current === this.#min) this.#times.accept()
    else if (now() - this.#cutAt >= LATE_CUT_EVERY_MS) this.#cut(LATE_CUT)
    else return
    // From now on, look only at calls that start at the new limit.
    this.#times.restart(now())
  }

  #cut(by: number): void {
    this.#isDoubling = false
    this.#cutAt = now()
    this.#set(Math.floor(by * this.current))
  }

  /** After a while without a cut, the limit may double again. */
  #forgetCeiling(): void {
    if (this.#isDoubling || now() - this.#cutAt < CEILING_MS) return
    this.#ceiling = this.#max
    this.#isDoubling = true
  }

  #set(limit: number): void {
    this.current = Math.max(this.#min, Math.min(limit, this.#ceiling, this.#max))
    this.#successes = 0
  }
}
