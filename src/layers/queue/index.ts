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
   * Calls in progress at once, a stream until its end. `'adaptive'`, or bounds within which it is
   * found: it begins at `start` (4) and grows while calls succeed that use what there is. It gives
   * way when upstream answers 429, 503 or 529, does not connect, or sends no first token in time,
   * and when first tokens take twice as long as usual. It stays between `min` (1) and `max` (200).
   * @default 5
   */
  concurrency?: number | 'adaptive' | AdaptiveConcurrency | undefined
  /** Calls that may wait; one more is refused at once. 0: nobody waits. @default 1000 */
  maxWaiting?: number | undefined
  /** Longest wait. Milliseconds. @default none */
  maxWaitMs?: number | undefined
  /**
   * Shares turns between tenants, the `tenant` of each call: within a priority the one goes next
   * that has had the least service, in tokens where the base counts them, else in calls. When the
   * room is full, a call of a tenant with less than its share of it takes the place of the latest
   * call of the one with most more. Without a tenant in any call nothing changes.
   * @default true
   */
  fairness?: boolean | undefined
  /** Shares of tenants beside the others, such as `{ gold: 3 }`. From 0.001. @default 1 each */
  weights?: Readonly<Record<string, number>> | undefined
  /**
   * When upstream answers 429, no call begins for the time that it names (`Retry-After`), else for
   * 1 s, doubled each time up to 8 s; at most for 60 s. Then one begins beside those in progress,
   * and twice as many with each success. `'model'`: only calls of the same model wait. With a
   * `pool` further in, this is for its members to do.
   * @default 'member': all calls wait
   */
  gate?: 'member' | 'model' | undefined
  /**
   * What `redisShared()` returns: `concurrency`, which must be a number, is then of all processes
   * together that have a queue of the same `name`. A call asks for its slot once before it begins.
   * Who is next is for each process to decide; processes take turns. When the others cannot be asked
   * a process has `concurrency` / processes, at least 1.
   * @default each process by itself
   */
  shared?: SharedState | undefined
  /** Key in `stats()`. @default 'queue' */
  name?: Name | undefined
}

/** Bounds of a concurrency that finds its own way. */
export interface AdaptiveConcurrency {
  /** @default 1 */
  min?: number | undefined
  /** What it begins with. @default 4, within the others */
  start?: number | undefined
  /** @default 200 */
  max?: number | undefined
}

/** What may be changed of a `queue()` at run time. */
export interface QueueSettings {
  /** As the option. Calls in progress above it go on. */
  concurrency?: number | 'adaptive' | AdaptiveConcurrency | undefined
}

/** A queue can also be changed at run time. */
export interface QueueLayer<Name extends string = 'queue'> extends Layer<Name, QueueStats> {
  /** @throws ConfigError when a setting is unknown or not what it should be */
  set(settings: QueueSettings): void
  /**
   * The tenants that have calls in progress or waiting, those with most of them waiting first.
   * Empty while no call has named a tenant, and with `fairness: false`.
   * @param count tenants at most, 20 if it is not given
   */
  tenants(count?: number): readonly QueueTenant[]
}

/** What `queue()` has counted, and who runs and waits. */
export interface QueueStats {
  /** Gauge: what it is now. */
  readonly concurrency: number
  /** Gauge: calls in progress. */
  readonly running: number
  /** Gauge: calls that wait. */
  readonly waiting: number
  /** Answers that ended well, or that their reader left early. */
  readonly completed: number
  /** Calls that ran and failed. */
  readonly failed: number
  /** Calls that never ran: refused, timed out or aborted while they waited. */
  readonly rejected: number
  /** Gauge: tenants with calls in progress or waiting. */
  readonly tenants: number
  /**
   * Gauge: Jain's index of the service, by weight, of the tenants that wait. 1 when all have had
   * the same, 1 / n when one of n has had everything.
   */
  readonly fairnessIndex: number
}

/**
 * Bounds the calls in progress (a bulkhead) and the calls that wait for it. Larger `priority` goes
 * first. A slot is held to the end of the answer, for a stream to its last chunk; a waiting call
 * that is aborted leaves at once. Tenants take turns, however many calls one of them has waiting.
 *
 * A call that carries a deadline and, going by how long calls have taken, would not be done before
 * it, is refused at once, and again at the head of the queue: under overload the slots then go to
 * calls that somebody still waits for.
 *
 * @throws QueueFullError code `QUEUE_FULL`, status 503, at once, with `retryAfter`
 * @throws RateLimitError code `RATE_LIMITED`, status 429, with `retryAfter`, at once when a pause that
 * upstream has asked for lets the call begin only after its deadline or `maxWaitMs`
 * @throws TimeoutError code `TIMEOUT`, phase `queue`, when `maxWaitMs` or the deadline passes while
 * the call waits
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
      'what redisShared() returns',
      undefined,
      isSharedState,
    ),
    name: rules.layerName<Name>('queue'),
  })
  const fail = (sentence: string) => new ConfigError(sentence, { layer: checked.name })
  const checkShared = (concurrency: Concurrency) => {
    if (shared === undefined || typeof concurrency === 'number') return
    throw fail('queue: with "shared" option "concurrency" must be a number.')
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
    outside: { pool: 'a call that waits in the queue holds a connection; put queue outside.' },
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
