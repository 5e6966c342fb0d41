import {
  ConfigError,
  check,
  defineLayer,
  isSharedState,
  type Layer,
  rules,
  type SharedState,
} from '../../core/index.js'
import { CallQueue } from './call-queue.js'
import { type Concurrency, concurrencyRule } from './concurrency/index.js'
import type { QueueTenant } from './fairness/index.js'

export type { QueueTenant } from './fairness/index.js'

/** Options of `queue()`. */
export interface QueueOptions<Name extends string = 'queue'> {
  /**
   * Number of concurrent calls; a stream counts until its end. `'adaptive'`, or an object with
   * bounds, finds the number at run time. It starts at `start` (4) and grows while calls succeed
   * and at least half of it is in use. It shrinks when upstream answers 429, 503 or 529, does not
   * connect, sends no first token in time, or when first tokens take twice as long as usual. It
   * stays between `min` (1) and `max` (200).
   * @default 5
   */
  concurrency?: number | 'adaptive' | AdaptiveConcurrency | undefined
  /**
   * Number of calls that may wait. Further calls are rejected; with 0, no call waits. @default 1000
   */
  maxWaiting?: number | undefined
  /** Maximum wait. Milliseconds. @default none */
  maxWaitMs?: number | undefined
  /**
   * Shares turns among tenants (the `tenant` of each call). Within a priority, the tenant that has
   * used the least so far, relative to its weight, goes next. Usage is counted in tokens if the
   * base counts them, otherwise in calls. When the queue is full, a call of a tenant below its
   * share displaces the latest call of the tenant furthest above its share. Has no effect while no
   * call names a tenant.
   * @default true
   */
  fairness?: boolean | undefined
  /**
   * Relative shares of tenants, such as `{ gold: 3 }`. From 0.001 to 1000000. @default 1 each
   */
  weights?: Readonly<Record<string, number>> | undefined
  /**
   * What to pause when upstream answers 429: all calls (`'member'`), or only calls of the same
   * model (`'model'`). Nothing starts during the pause, which lasts as long as `Retry-After` says;
   * otherwise 1 s, doubled each time up to 8 s. The maximum is 60 s. Afterwards one additional call
   * may start, and the number doubles with each success. With an inner `pool`, the pool pauses its
   * members instead.
   * @default 'member'
   */
  gate?: 'member' | 'model' | undefined
  /**
   * State from `redisShared()`. `concurrency`, which must then be a number, applies to all
   * processes together that have a queue of the same `name`. Each call asks for its slot once
   * before it starts. Each process decides which of its calls is next, and processes take turns. If
   * the shared state is unreachable, each process uses `concurrency` / number of processes, at
   * least 1.
   * @default each process by itself
   */
  shared?: SharedState | undefined
  /** The layer's name and its key in `stats()`. @default 'queue' */
  name?: Name | undefined
}

/** Bounds of an adaptive concurrency. */
export interface AdaptiveConcurrency {
  /** Minimum concurrency. @default 1 */
  min?: number | undefined
  /** Concurrency at the start. @default 4, limited by `min` and `max` */
  start?: number | undefined
  /** Maximum concurrency. @default 200 */
  max?: number | undefined
}

/** Settings of a `queue()` that can be changed at run time. */
export interface QueueSettings {
  /** The new value of the option. Calls in progress beyond it continue. */
  concurrency?: number | 'adaptive' | AdaptiveConcurrency | undefined
}

/** A queue layer, with methods to change it at run time and to list its tenants. */
export interface QueueLayer<Name extends string = 'queue'> extends Layer<Name, QueueStats> {
  /**
   * Changes settings.
   * @throws ConfigError (`CONFIG`) when a setting is unknown or invalid
   */
  set(settings: QueueSettings): void
  /**
   * Lists the tenants with running or waiting calls, those with the most waiting calls first. Empty
   * while no call has named a tenant, and with `fairness: false`.
   * @param count maximum number of tenants, 20 by default
   */
  tenants(count?: number): readonly QueueTenant[]
}

/** State and counters of `queue()`. */
export interface QueueStats {
  /** Gauge: current concurrency limit. */
  readonly concurrency: number
  /** Gauge: calls in progress. */
  readonly running: number
  /** Gauge: waiting calls. */
  readonly waiting: number
  /** Calls whose answer ended as complete, or whose reader left early. */
  readonly completed: number
  /** Calls that ran and failed. */
  readonly failed: number
  /** Calls that never ran: rejected, or timed out or aborted while waiting. */
  readonly rejected: number
  /** Gauge: tenants with running or waiting calls. */
  readonly tenants: number
  /**
   * Gauge: Jain's fairness index of the service, by weight, of the waiting tenants. 1 when all have
   * had the same, 1 / n when one of n has had everything.
   */
  readonly fairnessIndex: number
}

/**
 * Limits the number of concurrent calls (a bulkhead) and of waiting calls. Calls with a higher
 * `priority` go first. A slot is held until the answer ends, for a stream until its last chunk. A
 * waiting call that is aborted leaves the queue at once. Tenants take turns, however many calls one
 * of them has waiting.
 *
 * A call with a deadline is rejected on arrival if, judging by recent calls, it would not finish in
 * time. This is checked again at the head of the queue. As a result, an overloaded queue gives its
 * slots to calls that somebody still waits for.
 *
 * @throws QueueFullError (`QUEUE_FULL`, status 503) on arrival, with `retryAfter`
 * @throws RateLimitError (`RATE_LIMITED`, status 429), with `retryAfter`, when a pause that
 * upstream asked for would last past the call's deadline or `maxWaitMs`
 * @throws TimeoutError (`TIMEOUT`, phase `queue`) when the deadline or `maxWaitMs` passes while the
 * call waits
 * @example queue({ concurrency: 5, maxWaiting: 100, maxWaitMs: 10_000 })
 */
export function queue<const Name extends string = 'queue'>(
  options: QueueOptions<Name> = {},
): QueueLayer<Name> {
  const { weights, shared, ...checked } = check('queue', options, {
    concurrency: concurrencyRule(5),
    maxWaiting: rules.integer(1_000, { min: 0 }),
    maxWaitMs: rules.duration(undefined),
    fairness: rules.flag(true),
    weights: rules.custom<Readonly<Record<string, number>>, Record<never, never>>(
      'an object of numbers from 0.001 to 1000000, by tenant',
      {},
      isWeights,
    ),
    gate: rules.oneOf(['member', 'model'], 'member' as const),
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
      undefined,
      isSharedState,
    ),
    name: rules.layerName<Name>('queue'),
  })
  const fail = (sentence: string) => new ConfigError(sentence, { layer: checked.name })
  const checkShared = (concurrency: Concurrency) => {
    if (shared === undefined || typeof concurrency === 'number') return
    throw fail('queue: with "shared", option "concurrency" must be a number.')
  }
  checkShared(checked.concurrency)
  const calls = new CallQueue({
    ...checked,
    weights: new Map(Object.entries(weights)),
    shared: shared?.slots(checked.name),
  })
  const layer: Layer<Name, QueueStats> = defineLayer({
    name: checked.name,
    kind: 'queue',
    shared,
    outside: { pool: 'a call that waits in the queue holds a connection. Move queue outside.' },
    wrap: (next) => (request, context) => calls.run(next, request, context),
    stats: () => calls.stats(),
  })
  return Object.assign(layer, {
    tenants: (count = 20) => calls.tenants(count),
    set(settings: QueueSettings) {
      const rule = { concurrency: concurrencyRule(undefined) }
      const { concurrency } = check<QueueSettings>('queue.set', settings, rule, fail)
      if (concurrency === undefined) return
      checkShared(concurrency)
      calls.setConcurrency(concurrency)
    },
  })
}

function isWeights(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every(
    (weight) => typeof weight === 'number' && weight >= 0.001 && weight <= 1_000_000,
  )
}
