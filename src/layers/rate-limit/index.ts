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

/** What `rateLimit()` has counted, and who waits. */
export interface RateLimitStats {
  /** Calls that were let through. Those without a key are not counted. */
  readonly admitted: number
  /** Calls that never ran: refused, or given up while they waited. */
  readonly rejected: number
  /** Gauge: calls that wait. */
  readonly waiting: number
  /** Of the calls let through, those that have ended, with what they took corrected. */
  readonly settled: number
  /** Gauge: keys that are remembered. */
  readonly keys: number
}

/** A `rateLimit()` with what it can do beside limiting. */
export interface RateLimitLayer<Name extends string = 'rateLimit', Request = unknown>
  extends Layer<Name, RateLimitStats, Request> {
  /**
   * Changes limits while it runs; what is not named stays as it is. What is left to each key stays,
   * cut to what the new limit holds at once.
   * @throws ConfigError code `CONFIG`, for a wrong value; nothing is changed then
   */
  set(settings: RateLimitSettings): void
}

/**
 * Limits how many calls begin, how many tokens they take, and what they cost, for each tenant,
 * model or key of your own. Calls above `requests` or `tokens` wait for their turn, or are refused;
 * calls above `cost` are refused.
 *
 * A call takes an estimate when it begins, and what it has really taken when its answer has ended. A
 * call that is refused by one of the limits takes nothing from the others, and one that never ran
 * takes nothing at all.
 *
 * @throws RateLimitError code `RATE_LIMITED`, status 429, `refused`, with `limit`, `unit` and
 * `retryAfter`: above a limit with `mode: 'reject'`, when its turn would come too late, when too many
 * wait, or when it has waited for `maxWaitMs`
 * @throws BudgetError code `BUDGET`, status 402, `refused`: above `cost`, or without a known price
 * @throws ConfigError without any limit
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
      'what redisShared() returns',
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
    throw new ConfigError('rateLimit: one of requests, tokens or cost is required.', {
      layer: 'rateLimit',
    })
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
  'a call that waits for its limit holds a connection; put rateLimit outside.'

/** What goes wrong where calls wait inside other layers. */
const WAITS = {
  // What all calls wait for together keeps nobody from a slot that another could use.
  forAll: { pool: HOLDS_CONNECTION },
  forKeys: {
    pool: HOLDS_CONNECTION,
    queue:
      'a call that waits for its limit holds a slot that others could use; put rateLimit outside.',
  },
} as const
