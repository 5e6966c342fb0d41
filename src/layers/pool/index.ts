import { type Context, check, defineLayer, type Layer, rules } from '../../core/index.js'
import { Affinity } from './affinity.js'
import { Leases } from './leases.js'
import type { PoolMember, PoolMemberStats } from './member.js'
import { checkMember } from './member-options.js'

export type { PoolMember, PoolMemberStats } from './member.js'

/** The default of `connections`. @internal */
export const CONNECTIONS = 10

/** Options of `pool()`. */
export interface PoolOptions<Name extends string = 'pool', Request = unknown> {
  /** Number of concurrent calls, and of sockets, per member. @default 10 */
  connections?: number | undefined
  /**
   * Accounts or addresses among which to share the calls. @default the client's own key and
   * address
   */
  members?: readonly PoolMember[] | undefined
  /** Number of calls that may wait for a connection. Further calls are rejected. @default 1000 */
  maxWaiting?: number | undefined
  /**
   * What to pause when upstream answers 429: all calls to that member (`'member'`), or only its
   * calls of the same model (`'model'`). Nothing starts during the pause, which lasts as long as
   * `Retry-After` says; otherwise 1 s, doubled each time up to 8 s. The maximum is 60 s. Afterwards
   * one additional call may start, and the number doubles with each success.
   * @default 'member'
   */
  gate?: 'member' | 'model' | undefined
  /**
   * Sends calls of one conversation to the same member, whose provider may have the conversation's
   * beginning in a cache. The assignment lasts until 5 minutes after the conversation's last call.
   * Calls go to another member while that one cannot accept them or has 25% more than its share.
   * `true` uses the base's trait `conversation`; for the client that is model, system messages,
   * tools and first user message. A function returns a value that identifies the conversation; when
   * it returns undefined or throws, the least loaded member is used. Tenants never share a
   * conversation.
   * @default false
   */
  affinity?: boolean | ((request: Request, context: Context) => string | undefined) | undefined
  /** The layer's name and its key in `stats()`. @default 'pool' */
  name?: Name | undefined
}

/** Current state of a `pool()`. */
export interface PoolStats {
  readonly max: number
  /** Gauge: connections in use. */
  readonly active: number
  /** Gauge: free connections. */
  readonly available: number
  /** Gauge: calls that wait for a connection. */
  readonly waiting: number
  /** State of each member, in the given order. */
  readonly members: readonly PoolMemberStats[]
}

/**
 * Limits the number of concurrent calls, each counted until its answer's body ends, and distributes
 * them among several members by least load. Members that keep failing are skipped for a while,
 * members that answer 429 are paused, and a retry avoids the member that has just failed. The
 * client opens that many sockets per member and keeps them alive. Around another function, the pool
 * limits concurrency and provides `context.transport`.
 *
 * @throws QueueFullError (`QUEUE_FULL`, status 503) when `maxWaiting` calls are waiting
 * @throws RateLimitError (`RATE_LIMITED`, status 429), with `retryAfter`, when all members are
 * paused for longer than the call can wait
 * @example pool({ connections: 10, members: [{ apiKey: first }, { apiKey: second, weight: 2 }] })
 */
export function pool<const Name extends string = 'pool', Request = unknown>(
  options: PoolOptions<Name, Request> = {},
): Layer<Name, PoolStats, Request> {
  const { affinity, members, ...checked } = check('pool', options, {
    connections: rules.integer(CONNECTIONS, { min: 1, max: 100_000 }),
    members: {
      ...rules.custom<readonly PoolMember[], undefined>(
        'a list of at least one member { apiKey, baseURL, weight }',
        undefined,
        (value) => Array.isArray(value) && value.length > 0,
      ),
      secret: true,
    },
    maxWaiting: rules.integer(1_000, { min: 0 }),
    gate: rules.oneOf(['member', 'model'], 'member' as const),
    affinity: rules.either(
      rules.flag(false),
      rules.callback<(request: Request, context: Context) => string | undefined>(),
    ),
    name: rules.layerName<Name>('pool'),
  })
  const leases = new Leases({
    ...checked,
    members: (members ?? [{}]).map(checkMember),
    affinity: affinityOf(affinity),
  })
  return defineLayer({
    name: checked.name,
    kind: 'pool',
    wrap: (next) => (request, context) => leases.run(next, request, context),
    stats: () => leases.stats(),
  })
}

function affinityOf<Request>(
  affinity: boolean | ((request: Request, context: Context) => string | undefined) | undefined,
): Affinity | undefined {
  if (typeof affinity !== 'function') return affinity ? new Affinity(undefined) : undefined
  return new Affinity((request, context) => affinity(request as Request, context))
}
