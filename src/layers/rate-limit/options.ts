import { type Context, check, rules, type SharedState, type TokenUsage } from '../../core/index.js'

/**
 * A limit that differs from key to key, such as a plan. `Infinity` is no limit, 0 lets nothing
 * through. One that throws, or gives no number, limits nothing and is a warning.
 */
export type LimitPlan = (key: string, context: Context) => number

/** A limit of requests or tokens. */
export interface LimitRateOptions {
  /** How much is allowed in any `intervalMs`, beside a burst: a number above 0, or a plan. */
  readonly limit: number | LimitPlan
  /** Milliseconds. @default 60000 */
  readonly intervalMs?: number | undefined
  /**
   * How much of it may go at once: a number of at least 1. Any interval sees at most `limit` and
   * this.
   * @default limit / 6, at least 1
   */
  readonly burst?: number | undefined
}

/** A limit of what calls may cost. The unit is yours: dollars, pollen, credits. */
export interface LimitCostOptions {
  /** How much may be spent in one window: a number above 0, or a plan. */
  readonly limit: number | LimitPlan
  /**
   * The windows: calendar days or months in UTC, or milliseconds, whose windows begin at their
   * multiples since the epoch.
   */
  readonly per: 'day' | 'month' | number
  /**
   * What these tokens of this model cost, in your unit; anything but a number of at least 0 is an
   * unknown price. The model is empty where the base knows none.
   */
  readonly price: (model: string, tokens: TokenUsage) => number | undefined
  /** What becomes of a call whose price is unknown. @default 'reject' */
  readonly onUnknownPrice?: 'reject' | 'zero' | undefined
}

/** What `rateLimit()` limits, and what becomes of calls above it. */
export interface RateLimitSettings {
  /** Calls: a number a minute, a plan of such numbers, or a limit with an interval. @default none */
  requests?: number | LimitPlan | LimitRateOptions | undefined
  /** Tokens of input and output together, in the same forms. @default none */
  tokens?: number | LimitPlan | LimitRateOptions | undefined
  /** What calls may cost in a window. Nobody waits for the next window. @default none */
  cost?: LimitCostOptions | undefined
  /**
   * Whether calls above `requests` or `tokens` wait until they may begin, or are refused at once.
   * @default 'wait'
   */
  mode?: 'wait' | 'reject' | undefined
  /** Calls of one key that may wait; one more is refused at once. @default 1000 */
  maxWaiting?: number | undefined
  /** Longest wait: a call that would wait longer is refused at once. Milliseconds. @default 60000 */
  maxWaitMs?: number | undefined
}

/** Options of `rateLimit()`. One of `requests`, `tokens` and `cost` is required. */
export interface RateLimitOptions<Name extends string = 'rateLimit', Request = unknown>
  extends RateLimitSettings {
  /**
   * Whose calls count together: those of a tenant, of a model (as the base's trait `model` has it),
   * or all. A function gives the key of each call; calls for which it returns `undefined` are not
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
   * What the processes of a service have together, made by `redisShared()`: they share one limit.
   * Limits of the same `name` are the same.
   * @default none: each process has a limit of its own
   */
  shared?: SharedState | undefined
  /**
   * With `shared`: asks for every call. Otherwise a process borrows a twentieth of the limit for
   * 2 s at most and decides alone inside it, so that all of them together may let through that much
   * more for each.
   * @default false
   */
  exact?: boolean | undefined
  /** Counts the tokens of a request, its input alone. @default the base's trait `weigh` */
  countTokens?: ((request: Request) => number) | undefined
  /** Key in `stats()`. @default 'rateLimit' */
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

/** The rules of what may be changed later. */
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

/** The three limits, checked and each in one form. */
export interface LimitOptions {
  readonly requests: LimitRateOptions | undefined
  readonly tokens: LimitRateOptions | undefined
  readonly cost: LimitCostOptions | undefined
}

/** Reads the three limits in whatever form they were given. */
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
