import { ConfigError, check, type Layer, rules } from './core/index.js'
import { type BreakerLayer, type BreakerOptions, breaker } from './layers/breaker/index.js'
import { type CacheLayer, type CacheOptions, cache } from './layers/cache/index.js'
import { type DedupeOptions, type DedupeStats, dedupe } from './layers/dedupe/index.js'
import { type FallbackOptions, type FallbackStats, fallback } from './layers/fallback/index.js'
import { type HedgeOptions, type HedgeStats, hedge } from './layers/hedge/index.js'
import { CONNECTIONS, type PoolOptions, type PoolStats, pool } from './layers/pool/index.js'
import { MOST_CONCURRENT } from './layers/queue/concurrency/index.js'
import { type QueueLayer, type QueueOptions, queue } from './layers/queue/index.js'
import { type RateLimitLayer, type RateLimitOptions, rateLimit } from './layers/rate-limit/index.js'
import { type RetryOptions, type RetryStats, retry } from './layers/retry/index.js'
import { type TimeoutOptions, type TimeoutStats, timeout } from './layers/timeout.js'

/**
 * Options of `standard()`: one key per layer. An object overrides defaults of that layer; `false`
 * leaves the layer out. `rateLimit`, `fallback`, `hedge` and `providerLimit` are included only when
 * given.
 */
export interface StandardOptions {
  /** Options of `cache()`. @default those of the layer */
  cache?: Omit<CacheOptions, 'name'> | false | undefined
  /** Options of `dedupe()`. @default those of the layer */
  dedupe?: Omit<DedupeOptions, 'name'> | false | undefined
  /** Options of `rateLimit()`, per tenant. @default not included */
  rateLimit?: Omit<RateLimitOptions, 'name'> | false | undefined
  /** Time limits of a call. @default 300 s, images and videos 600 s, streams 15 minutes */
  timeout?: Omit<TimeoutOptions, 'name'> | false | undefined
  /**
   * Other models or clients that answer when a call fails: options of `fallback()`. @default not
   * included
   */
  fallback?: Omit<FallbackOptions, 'name'> | false | undefined
  /** Options of `retry()`. @default those of the layer */
  retry?: Omit<RetryOptions, 'name'> | false | undefined
  /** A second, parallel try for slow calls: options of `hedge()`. @default not included */
  hedge?: Omit<HedgeOptions, 'name'> | false | undefined
  /** Options of `breaker()`. @default those of the layer, with `key: 'model'` */
  breaker?: Omit<BreakerOptions, 'name'> | false | undefined
  /** Options of `queue()`. @default those of the layer */
  queue?: Omit<QueueOptions, 'name'> | false | undefined
  /**
   * The limit that upstream sets for all callers together: options of `rateLimit()`, with `by:
   * 'all'`.
   * @default not included
   */
  providerLimit?: Omit<RateLimitOptions, 'name'> | false | undefined
  /**
   * Time limits of one attempt.
   * @default 120 s, images and videos 300 s; streams 15 minutes, 60 s to the first token, 60 s of
   * silence
   */
  attempt?: Omit<TimeoutOptions, 'name'> | false | undefined
  /**
   * Options of `pool()`.
   * @default those of the layer, with as many connections as the queue lets through, at least 10
   */
  pool?: Omit<PoolOptions, 'name'> | false | undefined
}

type ChoiceOf<Options, Name> = Name extends keyof Options ? Options[Name] : undefined
/**
 * The layer, unless it is left out. When that is decided at run time, the type contains the layer.
 */
type Unless<Choice, Kept> = Choice extends false ? readonly [] : readonly [Kept]

/** The layer, if options for it are given. */
type When<Choice, Kept> = Choice extends object ? readonly [Kept] : readonly []

/** The layers that `standard()` returns for these options, outermost first. */
export type StandardLayers<Options> = readonly [
  ...Unless<ChoiceOf<Options, 'cache'>, CacheLayer<'cache'>>,
  ...Unless<ChoiceOf<Options, 'dedupe'>, Layer<'dedupe', DedupeStats>>,
  ...When<ChoiceOf<Options, 'rateLimit'>, RateLimitLayer<'rateLimit'>>,
  ...Unless<ChoiceOf<Options, 'timeout'>, Layer<'timeout', TimeoutStats>>,
  ...When<ChoiceOf<Options, 'fallback'>, Layer<'fallback', FallbackStats>>,
  ...Unless<ChoiceOf<Options, 'retry'>, Layer<'retry', RetryStats>>,
  ...When<ChoiceOf<Options, 'hedge'>, Layer<'hedge', HedgeStats>>,
  ...Unless<ChoiceOf<Options, 'breaker'>, BreakerLayer<'breaker'>>,
  ...Unless<ChoiceOf<Options, 'queue'>, QueueLayer<'queue'>>,
  ...When<ChoiceOf<Options, 'providerLimit'>, RateLimitLayer<'providerLimit'>>,
  ...Unless<ChoiceOf<Options, 'attempt'>, Layer<'attempt', TimeoutStats>>,
  ...Unless<ChoiceOf<Options, 'pool'>, Layer<'pool', PoolStats>>,
]

/** Rejects names that `StandardOptions` does not have, which a type parameter would accept. */
type OnlyKnown<Given, Known> = {
  readonly [Name in keyof Given]: Name extends keyof Known
    ? Given[Name] extends object
      ? { readonly [Option in Exclude<keyof Given[Name], KeysOf<Known[Name]>>]: never }
      : unknown
    : never
}
type KeysOf<Choice> = Choice extends object ? keyof Choice : never

const MINUTE = 60_000
const STREAM_MS = 15 * MINUTE

/**
 * Images and videos take longer: the official JavaScript SDK waits 300 s for text and 600 s for
 * images (2026-11).
 */
const isImage = (request: unknown): boolean =>
  /^\/(image|video|v1\/images)\//.test((request as { path?: unknown } | null)?.path as string)

const TIMEOUT: TimeoutOptions = {
  ms: (request) => (isImage(request) ? 10 : 5) * MINUTE,
  streamMs: STREAM_MS,
}
const ATTEMPT: TimeoutOptions<'attempt'> = {
  name: 'attempt',
  ms: (request) => (isImage(request) ? 5 : 2) * MINUTE,
  streamMs: STREAM_MS,
  firstTokenMs: MINUTE,
  idleMs: MINUTE,
}
/** Upstream's limit applies to all callers together. */
const PROVIDER_LIMIT: RateLimitOptions<'providerLimit'> = { name: 'providerLimit', by: 'all' }
/** One circuit per model, so that a failing model does not stop the others. */
const BREAKER: BreakerOptions = { key: 'model' }

const choice = <Options>() =>
  rules.custom<Omit<Options, 'name'> | false, undefined>(
    'an options object, or false',
    undefined,
    (value) =>
      value === false || (typeof value === 'object' && value !== null && !Array.isArray(value)),
  )

const RULES = {
  cache: choice<CacheOptions>(),
  dedupe: choice<DedupeOptions>(),
  rateLimit: choice<RateLimitOptions>(),
  timeout: choice<TimeoutOptions>(),
  fallback: choice<FallbackOptions>(),
  retry: choice<RetryOptions>(),
  hedge: choice<HedgeOptions>(),
  breaker: choice<BreakerOptions>(),
  queue: choice<QueueOptions>(),
  providerLimit: choice<RateLimitOptions>(),
  attempt: choice<TimeoutOptions>(),
  pool: choice<PoolOptions>(),
}

/**
 * Returns the layers in the recommended order: cache, dedupe, rateLimit (if given), timeout (for
 * the call), fallback (if given), retry, hedge (if given), breaker (one circuit per model), queue,
 * rateLimit (if given as `providerLimit`), timeout (for each attempt, named `attempt`), pool. A
 * call may take 300 s and an attempt 120 s (images and videos 600 s and 300 s), a stream 15 minutes
 * with 60 s to its first token and 60 s of silence.
 *
 * @throws ConfigError (`CONFIG`) for an unknown layer name, and for `true`
 * @example createBlossom({ apiKey }).use(...standard({ queue: { concurrency: 20 }, cache: false }))
 */
export function standard<Options extends StandardOptions = Record<never, never>>(
  options?: Options & OnlyKnown<Options, StandardOptions>,
): StandardLayers<Options> {
  if (typeof options === 'function')
    throw new ConfigError(
      'standard: options must be an object, got a function. To pass the layers themselves, call it and spread the list: use(...standard()).',
    )
  const chosen = check('standard', options, RULES)
  const layers = [
    chosen.cache !== false && cache(over('cache', {}, chosen.cache)),
    chosen.dedupe !== false && dedupe(over('dedupe', {}, chosen.dedupe)),
    isGiven(chosen.rateLimit) && rateLimit(over('rateLimit', {}, chosen.rateLimit)),
    chosen.timeout !== false && timeout(over('timeout', TIMEOUT, chosen.timeout)),
    isGiven(chosen.fallback) && fallback(over('fallback', {}, chosen.fallback)),
    chosen.retry !== false && retry(over('retry', {}, chosen.retry)),
    isGiven(chosen.hedge) && hedge(over('hedge', {}, chosen.hedge)),
    chosen.breaker !== false && breaker(over('breaker', BREAKER, chosen.breaker)),
    chosen.queue !== false && queue(over('queue', {}, chosen.queue)),
    isGiven(chosen.providerLimit) &&
      rateLimit(over('providerLimit', PROVIDER_LIMIT, chosen.providerLimit)),
    chosen.attempt !== false && timeout(over('attempt', ATTEMPT, chosen.attempt)),
    chosen.pool !== false && pool(over('pool', connectionsFor(chosen.queue), chosen.pool)),
  ]
  return layers.filter((layer) => layer !== false) as unknown as StandardLayers<Options>
}

/** Enough connections that a call which has its slot in the queue need not wait again. */
function connectionsFor(queue: StandardOptions['queue']): PoolOptions {
  const asked = queue ? queue.concurrency : undefined
  const most = typeof asked === 'object' ? asked.max : asked
  if (typeof most === 'number') return { connections: Math.max(CONNECTIONS, most) }
  return { connections: asked === undefined ? CONNECTIONS : MOST_CONCURRENT }
}

function isGiven<Options extends object>(choice: Options | false | undefined): choice is Options {
  return choice !== undefined && choice !== false
}

/** Merges options over defaults. An option that is `undefined` keeps its default. */
function over<Defaults extends object, Options extends object>(
  layer: string,
  defaults: Defaults,
  options: Options | undefined,
): Defaults & Options {
  let given: [string, unknown][]
  try {
    given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined)
  } catch {
    throw new ConfigError(
      `standard: reading the options of "${layer}" threw an error. Pass a plain object.`,
    )
  }
  if (given.some(([name]) => name === 'name'))
    throw new ConfigError(
      `standard: option "name" is not allowed for "${layer}"; its name is fixed.`,
    )
  return { ...defaults, ...Object.fromEntries(given) } as Defaults & Options
}
