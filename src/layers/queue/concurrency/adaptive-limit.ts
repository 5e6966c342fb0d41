import { now } from '../../../core/index.js'
import { FirstTokenTimes } from './first-token-times.js'
import type { Answered, Limit } from './limit.js'

/** Bounds of a limit that finds its own way. */
export interface AdaptiveOptions {
  min: number
  start: number
  max: number
}

/** After an overload, and how much above what upstream was doing then it may come. */
const CUT = 0.75
const CEILING = 1.1
/** How long that ceiling holds. Milliseconds. */
const CEILING_MS = 60_000
/** While first tokens are late, and how often. Milliseconds. */
const LATE_CUT = 0.9
const LATE_CUT_EVERY_MS = 10_000
/** When cuts to half do not bring the times down to this, something else makes them late. */
const IN_VAIN = 0.75

/**
 * Finds how many calls upstream takes at once. It grows while calls succeed that use what there is,
 * fast until it was too much for the first time, and gives way when upstream refuses calls or gets
 * slow. What it does with upstreams of many kinds is held in `test/simulation`.
 */
export class AdaptiveLimit implements Limit {
  current: number
  readonly isAdaptive = true
  readonly #min: number
  readonly #max: number
  readonly #times = new FirstTokenTimes()
  #isDoubling = true
  /** Since the last change. */
  #successes = 0
  #cutAt = Number.NEGATIVE_INFINITY
  /** The refusals of one burst are one cut: it lasts until a call that began after it succeeds. */
  #isBurst = false
  #ceiling: number
  /** The highest limit under which times were usual while it doubled. */
  #usualAt: number
  /** While first tokens are late: the limit when that began, and the largest median since. */
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

  /** Whether so many calls are known to make none longer, or upstream refuses them before that. */
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
    // What all refusals of a burst leave in progress is what upstream takes.
    this.#ceiling = Math.min(this.#ceiling, ceiling)
    if (this.current > this.#ceiling) this.#set(this.#ceiling)
  }

  #grow(): void {
    if (!this.#isDoubling || !this.#times.seemsUsual) return this.#set(this.current + 1)
    // The answers so far are to calls that began under half of this limit.
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
    // The next look is at calls that began under the new limit.
    this.#times.restart(now())
  }

  #cut(by: number): void {
    this.#isDoubling = false
    this.#cutAt = now()
    this.#set(Math.floor(by * this.current))
  }

  /** After a while without a cut it may double again. */
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
