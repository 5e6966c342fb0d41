import { atOnce, type Context, hookFailed } from '../../core/index.js'
import type { LimitCostOptions, LimitOptions, LimitPlan, LimitRateOptions } from './options.js'

/** What a call takes from each limit. */
export interface Amounts {
  /** Number of calls. */
  readonly requests: number
  readonly tokens: number
  /** In millionths of the operator's unit. */
  readonly cost: number
}

export const NOTHING: Amounts = Object.freeze({ requests: 0, tokens: 0, cost: 0 })

/** How fast a bucket fills, and its capacity. */
export interface Rate {
  readonly limit: number
  readonly intervalMs: number
  readonly capacity: number
  readonly perMs: number
}

/** The limit of a `cost` window. */
export interface CostLimit {
  /** In millionths of the operator's unit. */
  readonly limit: number
  readonly per: LimitCostOptions['per']
}

/** The limits that apply to a call; undefined where none does. */
export interface Limits {
  readonly requests: Rate | undefined
  readonly tokens: Rate | undefined
  readonly cost: CostLimit | undefined
}

const MINUTE = 60_000

/**
 * A bucket holds a sixth of its limit by default. Any interval then sees at most 1.17 times the
 * limit, and a minute's limit can be used in bursts of ten seconds.
 */
const BURST_SHARE = 1 / 6

/** Keeps sums exact. Larger amounts and limits count as unlimited. */
const LARGEST = 1e12

const MILLIONTHS = 1e6
/** By how much rounding may exceed the intended integer. */
const SLACK = 1e-3

/** Limits an amount to `LARGEST`. */
export const countable = (amount: number): number => Math.min(amount, LARGEST)

/** Converts an amount in the operator's unit to millionths, rounded up. */
const millionths = (amount: number): number =>
  Math.max(0, Math.ceil(countable(amount) * MILLIONTHS - SLACK))

export const fromMillionths = (amount: number): number => amount / MILLIONTHS

/** Whether a value is a finite number of at least 0. */
export const isAmount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

/** A limit of requests or tokens, which may differ per key. */
export class RateRule {
  readonly #limit: number | LimitPlan
  readonly #intervalMs: number
  readonly #burst: number | undefined
  readonly #name: string
  /** Caches the last rate: there are few plans, and consecutive calls mostly have the same. */
  #last: Rate | undefined

  constructor(name: string, { limit, intervalMs = MINUTE, burst }: LimitRateOptions) {
    this.#name = name
    this.#limit = limit
    this.#intervalMs = intervalMs
    this.#burst = burst
    if (typeof limit === 'number') this.#last = this.#rate(limit)
  }

  get isFixed(): boolean {
    return typeof this.#limit === 'number'
  }

  /** The limit for a key; undefined means unlimited. */
  of(key: string, context: Context): Rate | undefined {
    if (typeof this.#limit === 'number') return this.#last
    const limit = planned(this.#name, this.#limit, key, context)
    if (limit === undefined) return undefined
    if (this.#last?.limit !== limit) this.#last = this.#rate(limit)
    return this.#last
  }

  #rate(limit: number): Rate {
    const intervalMs = this.#intervalMs
    const capacity = this.#burst ?? Math.max(1, limit * BURST_SHARE)
    return { limit, intervalMs, capacity, perMs: limit / intervalMs }
  }
}

/** A limit on cost, and the prices. */
export class CostRule {
  readonly #limit: number | LimitPlan
  readonly #per: LimitCostOptions['per']
  readonly #price: LimitCostOptions['price']
  readonly refusesUnknown: boolean
  #last: CostLimit | undefined

  constructor({ limit, per, price, onUnknownPrice = 'reject' }: LimitCostOptions) {
    this.#limit = limit
    this.#per = per
    this.#price = price
    this.refusesUnknown = onUnknownPrice === 'reject'
    if (typeof limit === 'number') this.#last = { limit: millionths(limit), per }
  }

  get isFixed(): boolean {
    return typeof this.#limit === 'number'
  }

  /** The limit for a key; undefined means unlimited. */
  of(key: string, context: Context): CostLimit | undefined {
    if (typeof this.#limit === 'number') return this.#last
    const limit = planned('cost', this.#limit, key, context)
    if (limit === undefined) return undefined
    const counted = millionths(limit)
    if (this.#last?.limit !== counted) this.#last = { limit: counted, per: this.#per }
    return this.#last
  }

  /** The price in millionths; undefined when unknown. */
  price(...asked: Parameters<LimitCostOptions['price']>): number | undefined {
    try {
      const price = atOnce(this.#price(...asked))
      return isAmount(price) ? millionths(price) : undefined
    } catch (error) {
      hookFailed('rateLimit: cost.price()', error)
      return undefined
    }
  }
}

/**
 * Calls a plan. If it throws or returns an invalid value nothing is limited, because it must not
 * stop all calls.
 */
function planned(name: string, plan: LimitPlan, key: string, context: Context): number | undefined {
  try {
    const limit = atOnce(plan(key, context))
    if (limit === Number.POSITIVE_INFINITY) return undefined
    if (isAmount(limit)) return countable(limit)
    throw new TypeError('limit() must return a number of at least 0.')
  } catch (error) {
    hookFailed(`rateLimit: ${name}.limit()`, error)
    return undefined
  }
}

/** All limits of one `rateLimit()`. */
export class LimitRules {
  readonly #requests: RateRule | undefined
  readonly #tokens: RateRule | undefined
  readonly cost: CostRule | undefined
  /** The limits of every call, when none of them is a plan. */
  readonly #fixed: Limits | undefined

  constructor({ requests, tokens, cost }: LimitOptions) {
    this.#requests = requests && new RateRule('requests', requests)
    this.#tokens = tokens && new RateRule('tokens', tokens)
    this.cost = cost && new CostRule(cost)
    const rules = [this.#requests, this.#tokens, this.cost]
    if (rules.every((rule) => rule?.isFixed !== false))
      this.#fixed = this.#read('', undefined as never)
  }

  /** Whether tokens must be counted. */
  get countsTokens(): boolean {
    return this.#tokens !== undefined || this.cost !== undefined
  }

  of(key: string, context: Context): Limits {
    return this.#fixed ?? this.#read(key, context)
  }

  #read(key: string, context: Context): Limits {
    return {
      requests: this.#requests?.of(key, context),
      tokens: this.#tokens?.of(key, context),
      cost: this.cost?.of(key, context),
    }
  }
}
