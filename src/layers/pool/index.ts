import { check, defineLayer, type Layer, rules } from '../../core/index.js'
import { Leases } from './leases.js'
import type { PoolMember, PoolMemberStats } from './member.js'
import { checkMember } from './member-options.js'

export type { PoolMember, PoolMemberStats } from './member.js'

/** Options of `pool()`. */
export interface PoolOptions<Name extends string = 'pool'> {
  /** Calls in progress at once, and sockets, of each member. @default 10 */
  connections?: number | undefined
  /** Accounts or addresses to share the calls between. @default the client's own */
  members?: readonly PoolMember[] | undefined
  /** Calls that may wait for a connection; one more is refused at once. @default 1000 */
  maxWaiting?: number | undefined
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
 * shares them between several members by least load. Failing members are left out for a while; a
 * retry avoids the member that failed it. The client opens that many sockets for each member and
 * keeps them alive. Around another function it is a bounded lease, and offers `context.transport`.
 *
 * @throws QueueFullError code `QUEUE_FULL`, status 503, when `maxWaiting` calls wait already
 * @example pool({ connections: 10, members: [{ apiKey: first }, { apiKey: second, weight: 2 }] })
 */
export function pool<const Name extends string = 'pool'>(
  options: PoolOptions<Name> = {},
): Layer<Name, PoolStats> {
  const { name, connections, maxWaiting, members } = check('pool', options, {
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
    name: rules.layerName<Name>('pool'),
  })
  const leases = new Leases({
    name,
    connections,
    maxWaiting,
    members: (members ?? [{}]).map(checkMember),
  })
  return defineLayer({
    name,
    kind: 'pool',
    wrap: (next) => (request, context) => leases.run(next, request, context),
    stats: () => leases.stats(),
  })
}
