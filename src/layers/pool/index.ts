import { type Context, check, defineLayer, type Layer, rules } from '../../core/index.js'
import { Affinity } from './affinity.js'
import { Leases } from './leases.js'
import type { PoolMember, PoolMemberStats } from './member.js'
import { checkMember } from './member-options.js'

export type { PoolMember, PoolMemberStats } from './member.js'

/** Options of `pool()`. */
export interface PoolOptions<Name extends string = 'pool', Request = unknown> {
  /** Calls in progress at once, and sockets, of each member. @default 10 */
  connections?: number | undefined
  /** Accounts or addresses to share the calls between. @default the client's own */
  members?: readonly PoolMember[] | undefined
  /** Calls that may wait for a connection; one more is refused at once. @default 1000 */
  maxWaiting?: number | undefined
  /**
   * When upstream answers 429, no call begins at that member for the time that it names
   * (`Retry-After`), else for 1 s, doubled each time up to 8 s; at most for 60 s. Then one begins
   * beside those in progress, and twice as many with each success. `'model'`: only calls of the
   * same model are kept from it.
   * @default 'member': all calls are
   */
  gate?: 'member' | 'model' | undefined
  /**
   * Calls of one conversation go to the same member, which may have in a cache what it has read
   * before, for 5 minutes after the last one. They go elsewhere while that member cannot take them
   * or has a quarter more than its share. `true`: by the base's trait `conversation`, of the client
   * model, system messages, tools and first user message. A function returns what calls of one
   * conversation have in common; nothing, and what it throws, leaves the call to the least loaded.
   * Tenants never share a conversation.
   * @default false
   */
  affinity?: boolean | ((request: Request, context: Context) => string | undefined) | undefined
  /** Key in `stats()`. @default 'pool' */
  name?: Name | undefined
}

/** Leases of a `pool()` as they are now. */
export interface PoolStats {
  readonly max: number
  /** Gauge: connections leased. */
  readonly active: number
  /** Gauge. */
  readonly available: number
  /** Gauge: calls that wait for a connection. */
  readonly waiting: number
  /** One for each member, in the order given. */
  readonly members: readonly PoolMemberStats[]
}

/**
 * Leases connections: bounds the calls in progress, each to the end of its answer's body, and
 * shares them between several members by least load. Failing members are left out for a while, and
 * those that limit calls are paused; a retry avoids the member that failed it. The client opens that many sockets for each member and
 * keeps them alive. Around another function it is a bounded lease, and offers `context.transport`.
 *
 * @throws QueueFullError code `QUEUE_FULL`, status 503, when `maxWaiting` calls wait already
 * @throws RateLimitError code `RATE_LIMITED`, status 429, with `retryAfter`, at once when all members
 * are paused for longer than the call can wait
 * @example pool({ connections: 10, members: [{ apiKey: first }, { apiKey: second, weight: 2 }] })
 */
export function pool<const Name extends string = 'pool', Request = unknown>(
  options: PoolOptions<Name, Request> = {},
): Layer<Name, PoolStats, Request> {
  const { affinity, members, ...checked } = check('pool', options, {
    connections: rules.integer(10, { min: 1, max: 100_000 }),
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
