import { type Context, check, rules, type SharedState, type TokenUsage } from '../../core/index.js'

/**
 * Returns the limit for a key, for example by its plan. `Infinity` means no limit, 0 lets nothing
 * through. If it throws or returns anything but a number of at least 0, a warning is emitted and
 * nothing is limited.
 */
export type LimitPlan = (key: string, context: Context) => number

/** A limit on requests or tokens. */
export interface LimitRateOptions {
  /** Amount allowed in any interval, in addition to the burst: a number above 0, or a function. */
  readonly limit: number | LimitPlan
  /** Length of the interval. Milliseconds. @default 60000 */
  readonly intervalMs?: number | undefined
  /**
   * Amount that may be used at once: a number of at least 1. Any interval sees at most `limit` +
   * `burst`.
   * @default limit / 6, at least 1
   */
  readonly burst?: number | undefined
}

/** A limit on what calls may cost, in a unit of your choice: dollars, pollen, credits. */
export interface LimitCostOptions {
  /** Amount that may be spent per window: a number above 0, or a function. */
  readonly limit: number | LimitPlan
  /**
   * Length of the window: a calendar day or month in UTC, or milliseconds. Windows in milliseconds
   * start at their multiples since the epoch.
   */
  readonly per: 'day' | 'month' | number
  /**
   * Returns the cost of these tokens, in your unit. Anything but a number of at least 0 is an
   * unknown price. `model` is empty when the base does not know it.
   */
  readonly price: (model: string, tokens: TokenUsage) => number | undefined
  /**
   * What happens to a call with an unknown price: `'reject'` it, or count it as `'zero'`. @default
   * 'reject'
   */
  readonly onUnknownPrice?: 'reject' | 'zero' | undefined
}

/** What `rateLimit()` limits, and what happens to calls above the limit. */
export interface RateLimitSettings {
  /**
   * Limits calls: a number per minute, a function that returns it, or an object. @default none
   */
  requests?: number | LimitPlan | LimitRateOptions | undefined
  /** Limits tokens of input and output together, in the same forms. @default none */
  tokens?: number | LimitPlan | LimitRateOptions | undefined
  /**
   * Limits the cost per window. Calls above it are rejected; none waits for the next window.
   * @default none
   */
  cost?: LimitCostOptions | undefined
  /**
   * Whether calls above `requests` or `tokens` wait for their turn or are rejected.
   * @default 'wait'
   */
  mode?: 'wait' | 'reject' | undefined
  /** Number of calls per key that may wait. Further calls are rejected. @default 1000 */
  maxWaiting?: number | undefined
  /**
   * Maximum wait; a call that would wait longer is rejected on arrival. Milliseconds. @default
   * 60000
   */
  maxWaitMs?: number | undefined
}

/** Options of `rateLimit()`. One of `requests`, `tokens` and `cost` is required. */
export interface RateLimitOptions<Name extends string = 'rateLimit', Request = unknown>
  extends RateLimitSettings {
  /**
   * Which calls count together: those of a tenant, of a model (from the base's trait `model`), or
   * all. A function returns the key of each call; calls for which it returns `undefined` are not
   * limited.
   * @default 'tenant'
   */
  by?:
    | 'tenant'
    | 'model'
    | 'all'
    | ((request: Request, context: Context) => string | undefined)
    | undefined
  /**
   * State from `redisShared()`. All processes with a limit of the same `name` share it.
   * @default none; each process has its own limit
   */
  shared?: SharedState | undefined
  /**
   * With `shared`: asks the shared state for every call. Otherwise each process borrows a twentieth
   * of the limit for up to 2 s and decides alone within it, so the total may exceed the limit by a
   * twentieth per process.
   * @default false
   */
  exact?: boolean | undefined
  /** Counts the tokens of a request's input. @default the base's `weigh` */
  countTokens?: ((request: Request) => number) | undefined
  /** The layer's name and its key in `stats()`. @default 'rateLimit' */
  name?: Name | undefined
}

const isAboveZero = (value: unknown): boolean =>
  typeof value === 'number' && Number.isFinite(value) && value > 0

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const rate = () =>
  rules.custom<number | LimitPlan | LimitRateOptions, undefined>(
    'a number above 0, a function, or an object { limit, intervalMs, burst }',
    undefined,
    (value) => isAboveZero(value) || typeof value === 'function' || isObject(value),
  )

const limit = () =>
  rules.required(
    rules.custom<number | LimitPlan, undefined>(
      'a number above 0 or a function',
      undefined,
      (value) => isAboveZero(value) || typeof value === 'function',
    ),
  )

/** The rules of settings that can be changed later. */
export const SETTINGS = {
  requests: rate(),
  tokens: rate(),
  cost: rules.custom<LimitCostOptions, undefined>(
    'an object { limit, per, price, onUnknownPrice }',
    undefined,
    isObject,
  ),
  mode: rules.oneOf(['wait', 'reject'], undefined),
  maxWaiting: rules.integer(undefined, { min: 0 }),
  maxWaitMs: rules.duration(undefined, { min: 0 }),
}

/** The three limits, validated and in one form each. */
export interface LimitOptions {
  readonly requests: LimitRateOptions | undefined
  readonly tokens: LimitRateOptions | undefined
  readonly cost: LimitCostOptions | undefined
}

/** Reads the three limits from any of their forms. */
export function readLimits({ requests, tokens, cost }: RateLimitSettings): LimitOptions {
  return {
    requests: readRate(requests),
    tokens: readRate(tokens),
    cost: cost && readCost(cost),
  }
}

function readRate(
  given: number | LimitPlan | LimitRateOptions | undefined,
): LimitRateOptions | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'object') return { limit: given }
  const checks = {
    limit: limit(),
    intervalMs: rules.duration(60_000),
    burst: rules.number(undefined, { min: 1 }),
  }
  return check('rateLimit', given, checks)
}

function readCost(given: LimitCostOptions): LimitCostOptions {
  const checks = {
    limit: limit(),
    per: rules.required(
      rules.either(rules.oneOf(['day', 'month'], undefined), rules.duration(undefined)),
    ),
    price: rules.required(rules.callback<LimitCostOptions['price']>()),
    onUnknownPrice: rules.oneOf(['reject', 'zero'], 'reject' as const),
  }
  return check('rateLimit', given, checks)
}
