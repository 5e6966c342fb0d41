import {
  ConfigError,
  check,
  defineLayer,
  type Handler,
  isSharedState,
  type Layer,
  rules,
  type SharedState,
} from '../../core/index.js'
import { MemoryStore } from './memory-store.js'
import { type RateLimitOptions, type RateLimitSettings, readLimits, SETTINGS } from './options.js'
import { RateLimits } from './rate-limits.js'
import { SharedStore } from './shared-store.js'
import type { LimitStore } from './store.js'

export type { RateLimitNote } from './note.js'
export type {
  LimitCostOptions,
  LimitPlan,
  LimitRateOptions,
  RateLimitOptions,
  RateLimitSettings,
} from './options.js'
export type { LimitLevel } from './store.js'

type By = NonNullable<RateLimitOptions['by']>

/** State and counters of `rateLimit()`. */
export interface RateLimitStats {
  /** Calls let through. Calls without a key are not counted. */
  readonly admitted: number
  /** Calls that never ran: rejected, or given up while waiting. */
  readonly rejected: number
  /** Gauge: waiting calls. */
  readonly waiting: number
  /** Calls let through that have ended, and whose estimate has been corrected. */
  readonly settled: number
  /** Gauge: keys remembered. */
  readonly keys: number
}

/** A rate limit layer, with a method to change its limits. */
export interface RateLimitLayer<Name extends string = 'rateLimit', Request = unknown>
  extends Layer<Name, RateLimitStats, Request> {
  /**
   * Changes limits at run time. Settings that are not given stay as they are. The remaining amount
   * of each key stays too, reduced to the new `burst` if that is smaller.
   * @throws ConfigError (`CONFIG`) for an invalid value; nothing is changed then
   */
  set(settings: RateLimitSettings): void
}

/**
 * Limits how many calls start, how many tokens they use, and what they cost, per tenant, model or
 * any other key. Calls above `requests` or `tokens` wait for their turn or are rejected. Calls
 * above `cost` are rejected.
 *
 * An estimate is taken when a call starts and corrected when its answer ends. A call that is
 * rejected by one limit takes nothing from the others, and a call that never ran takes nothing at
 * all.
 *
 * @throws RateLimitError (`RATE_LIMITED`, status 429, `refused`), with `limit`, `unit` and
 * `retryAfter`: above a limit with `mode: 'reject'`, when the call's turn would come too late, when
 * too many calls wait, or when it has waited for `maxWaitMs`
 * @throws BudgetError (`BUDGET`, status 402, `refused`): above `cost`, or when the price is unknown
 * @throws ConfigError (`CONFIG`) when no limit is given
 * @example rateLimit({ requests: 60, tokens: 100_000, by: 'tenant' })
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export function rateLimit<const Name extends string = 'rateLimit', Request = unknown>(
  options: RateLimitOptions<Name, Request>,
): RateLimitLayer<Name, Request> {
  const checked = check('rateLimit', options, {
    ...SETTINGS,
    mode: rules.oneOf(['wait', 'reject'], 'wait' as const),
    maxWaiting: rules.integer(1_000, { min: 0 }),
    maxWaitMs: rules.duration(60_000, { min: 0 }),
    by: rules.either(
      rules.oneOf(['tenant', 'model', 'all'], 'tenant' as const),
      rules.callback<Extract<RateLimitOptions['by'], (...asked: never[]) => unknown>>(),
    ),
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
      undefined,
      isSharedState,
    ),
    exact: rules.flag(false),
    countTokens: rules.callback<(request: unknown) => number>(),
    name: rules.layerName<Name>('rateLimit'),
  })
  const { name, by, mode, shared } = checked
  const limits = readLimits(checked)
  if (Object.values(limits).every((limit) => limit === undefined))
    throw new ConfigError(
      'rateLimit: give at least one of the options "requests", "tokens" and "cost".',
      {
        layer: 'rateLimit',
      },
    )
  const store = storeOf(checked)
  const all = new RateLimits({ ...checked, ...limits, by: by as By }, store)
  const layer = defineLayer({
    name,
    kind: 'rateLimit',
    shared,
    outside: mode === 'wait' ? WAITS[by === 'all' ? 'forAll' : 'forKeys'] : {},
    wrap: (next) => (request, context) => all.run(next as Handler, request, context),
    stats: () => all.stats(),
    close: store.close && (() => store.close?.()),
  })
  return Object.assign(layer, {
    set: (settings: RateLimitSettings) => {
      const change = check('rateLimit', settings, SETTINGS)
      all.set({ ...change, ...readLimits(change) })
    },
  }) as unknown as RateLimitLayer<Name, Request>
}

function storeOf(options: {
  readonly name: string
  readonly shared: SharedState | undefined
  readonly exact: boolean
}): LimitStore {
  const { name, shared, exact } = options
  const memory = new MemoryStore()
  return shared === undefined
    ? memory
    : new SharedStore(shared.limits(name), { exact, alone: memory })
}

const HOLDS_CONNECTION =
  'a call that waits for its limit holds a connection. Move rateLimit outside.'

/** What goes wrong when calls wait inside other layers. */
const WAITS = {
  // If all calls wait for the same limit, a waiting call takes no slot that another could use.
  forAll: { pool: HOLDS_CONNECTION },
  forKeys: {
    pool: HOLDS_CONNECTION,
    queue:
      'a call that waits for its limit holds a slot that others could use. Move rateLimit outside.',
  },
} as const
