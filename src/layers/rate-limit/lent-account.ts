import { type LimitCorrection, type LimitOrder, type LimitReply, now } from '../../core/index.js'
import { WARNING_SHARE, windowOf } from './cost-window.js'
import type { Amounts, Limits, Rate } from './limits.js'
import type { LimitLevel, Refusal } from './store.js'

export const UNITS = ['requests', 'tokens', 'cost'] as const
export type Unit = (typeof UNITS)[number]

/** The last known level of a bucket. */
interface Heard {
  readonly level: number
  readonly at: number
}

/** What this process has borrowed for one key, and what it knows about the key's levels. */
export class LentAccount {
  readonly key: string
  isBorrowing = false
  /** Start of the `cost` window last asked for. */
  windowStart = 0
  readonly #lent = { requests: 0, tokens: 0, cost: 0 }
  /** The orders that were borrowed for. */
  #orders: readonly LimitOrder[] = []
  #heard: Partial<Record<Unit, Heard>> = {}
  /** The window in which 80% of the budget was found to be spent. */
  #reachedIn = -1

  constructor(key: string) {
    this.key = key
  }

  /** Takes a call's amounts from what is borrowed, if all of them are available. */
  takes(amounts: Amounts, limits: Limits): boolean {
    const lent = this.#lent
    for (const unit of UNITS)
      if (limits[unit] !== undefined && lent[unit] < amounts[unit]) return false
    if (this.#orders.length === 0) return false
    for (const unit of UNITS) if (limits[unit] !== undefined) lent[unit] -= amounts[unit]
    return true
  }

  /** Whether 80% of a budget is spent for the first time in a window, as far as is known. */
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

  /** Keeps what was granted beyond a call's own amounts. Returns whether this starts a loan. */
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

  /** Clears the loan. Returns what to give back. */
  takeBack(): LimitCorrection[] {
    const corrections = this.#orders
      .map(({ unit, of }) => ({ unit, of, amount: -this.#lent[unit as Unit] }))
      .filter(({ amount }) => amount < 0)
    for (const unit of UNITS) this.#lent[unit] = 0
    this.#orders = []
    return corrections
  }

  /** The refusal for a call behind others, estimated from the last known levels. */
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

  /** The estimated level of a bucket, from the last known one. */
  #level(unit: 'requests' | 'tokens', { capacity, perMs }: Rate): number {
    const { level, at } = this.#heard[unit] ?? { level: 0, at: now() }
    return Math.min(capacity, level + (now() - at) * perMs)
  }
}

/** A limit in the form used for shared state; undefined when there is none. */
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
