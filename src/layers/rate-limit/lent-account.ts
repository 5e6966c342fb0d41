import { type LimitCorrection, type LimitOrder, type LimitReply, now } from '../../core/index.js'
import { WARNING_SHARE, windowOf } from './cost-window.js'
import type { Amounts, Limits, Rate } from './limits.js'
import type { LimitLevel, Refusal } from './store.js'

export const UNITS = ['requests', 'tokens', 'cost'] as const
export type Unit = (typeof UNITS)[number]

/** What was last heard of a bucket. */
interface Heard {
  readonly level: number
  readonly at: number
}

/** What this process has borrowed for one key, and what it knows of the key's levels. */
export class LentAccount {
  readonly key: string
  isBorrowing = false
  /** Of the window of `cost` that was last asked for. */
  windowStart = 0
  readonly #lent = { requests: 0, tokens: 0, cost: 0 }
  /** As it was borrowed. */
  #orders: readonly LimitOrder[] = []
  #heard: Partial<Record<Unit, Heard>> = {}
  /** The window in which most of the budget was found to be gone. */
  #reachedIn = -1

  constructor(key: string) {
    this.key = key
  }

  /** Takes a call's amounts of what is borrowed, when all of them are there. */
  takes(amounts: Amounts, limits: Limits): boolean {
    const lent = this.#lent
    for (const unit of UNITS)
      if (limits[unit] !== undefined && lent[unit] < amounts[unit]) return false
    if (this.#orders.length === 0) return false
    for (const unit of UNITS) if (limits[unit] !== undefined) lent[unit] -= amounts[unit]
    return true
  }

  /** Whether most of a budget is gone for the first time in a window, as far as is known. */
  reaches({ cost }: Limits, windowStart: number): boolean {
    const { level = 0 } = this.#heard.cost ?? {}
    if (cost === undefined || windowStart === this.#reachedIn) return false
    if (level < cost.limit * WARNING_SHARE) return false
    this.#reachedIn = windowStart
    return true
  }

  heard(orders: readonly LimitOrder[], replies: readonly LimitReply[]): void {
    const at = now()
    for (const [i, { unit, of }] of orders.entries()) {
      const { level } = replies[i] as LimitReply
      this.#heard[unit as Unit] = { level, at }
      if ('start' in of) this.windowStart = of.start
    }
  }

  /** Keeps what a call was given beyond what it takes. Returns whether that begins a loan. */
  lend(orders: readonly LimitOrder[], replies: readonly LimitReply[], amounts: Amounts): boolean {
    let isMore = false
    for (const [i, { unit }] of orders.entries()) {
      const more = (replies[i] as LimitReply).given - amounts[unit as Unit]
      this.#lent[unit as Unit] += more
      isMore ||= more > 0
    }
    if (!isMore || this.#orders.length > 0) return false
    this.#orders = orders
    return true
  }

  /** What goes back. */
  takeBack(): LimitCorrection[] {
    const corrections = this.#orders
      .map(({ unit, of }) => ({ unit, of, amount: -this.#lent[unit as Unit] }))
      .filter(({ amount }) => amount < 0)
    for (const unit of UNITS) this.#lent[unit] = 0
    this.#orders = []
    return corrections
  }

  /** For a call behind others, by what was last heard. */
  refusalBehind(amounts: Amounts, limits: Limits, ahead: Amounts): Refusal {
    let longest: Refusal = { granted: false, unit: 'requests', rate: undefined, retryAfterMs: 1 }
    for (const unit of ['requests', 'tokens'] as const) {
      const rate = limits[unit]
      if (rate === undefined) continue
      const missing = ahead[unit] + Math.min(amounts[unit], rate.capacity) - this.#level(unit, rate)
      const retryAfterMs = Math.max(
        1,
        rate.perMs === 0 ? Number.POSITIVE_INFINITY : missing / rate.perMs,
      )
      if (longest.rate === undefined || retryAfterMs > longest.retryAfterMs)
        longest = { granted: false, unit, rate, retryAfterMs }
    }
    return longest
  }

  levels(limits: Limits): LimitLevel[] {
    return (['requests', 'tokens'] as const).flatMap((unit) => {
      const rate = limits[unit]
      if (rate === undefined || this.#heard[unit] === undefined) return []
      const level = this.#level(unit, rate)
      const { limit, intervalMs, capacity, perMs } = rate
      const remaining = Math.max(0, Math.floor(level + this.#lent[unit]))
      const resetMs = level >= capacity ? 0 : (capacity - level) / perMs
      return { unit, limit, intervalMs, remaining, resetMs }
    })
  }

  /** What a bucket holds, going by what was last heard of it. */
  #level(unit: 'requests' | 'tokens', { capacity, perMs }: Rate): number {
    const { level, at } = this.#heard[unit] ?? { level: 0, at: now() }
    return Math.min(capacity, level + (now() - at) * perMs)
  }
}

/** A limit as the other processes know it; undefined when there is none. */
export function termsOf(
  unit: Unit,
  limits: Limits,
  windowStart: number,
): LimitOrder['of'] | undefined {
  if (unit === 'cost') {
    const { cost } = limits
    if (cost === undefined) return undefined
    return { start: windowStart, end: windowOf(cost.per, windowStart).end, limit: cost.limit }
  }
  const rate = limits[unit]
  return rate && { capacity: rate.capacity, perMs: rate.perMs, debt: rate.limit }
}
