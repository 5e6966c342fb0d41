import { Agent, type Dispatcher } from 'undici'
import {
  ConfigError,
  type Context,
  check,
  defineLayer,
  ELSEWHERE,
  isStackError,
  type Layer,
  onEnd,
  rules,
  TimeoutError,
  type Transport,
} from '../../core/index.js'
import { WaitingRoom } from '../waiting-room.js'

/** One account or address that calls may go to. */
export interface PoolMember {
  /** Used instead of the client's key. It is never part of a cache key. */
  apiKey?: string | undefined
  /** Used instead of the client's address. */
  baseURL?: string | undefined
  /** Share of the calls beside the other members. @default 1 */
  weight?: number | undefined
}

/** Options of `pool()`. */
export interface PoolOptions<Name extends string = 'pool'> {
  /** Calls in progress at once, and sockets, of each member. @default 10 */
  connections?: number | undefined
  /** Accounts or addresses to share the calls between. @default the client's own */
  members?: readonly PoolMember[] | undefined
  /**
   * Carries the calls instead of agents of the pool's own: for a proxy, or a certificate authority
   * of one's own. It is never closed here.
   * @default one undici `Agent` for each member
   */
  dispatcher?: Dispatcher | undefined
  /** Calls that may wait for a connection; one more is refused at once. @default 1000 */
  maxWaiting?: number | undefined
  /** Key in `stats()`. @default 'pool' */
  name?: Name | undefined
}

/** One member of a `pool()` as it is now. */
export interface PoolMemberStats {
  readonly active: number
  /**
   * `paused` after a 429, `ejected` after failures; both are used only when no other member is
   * free.
   */
  readonly state: 'ready' | 'paused' | 'ejected'
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
 * Envoy's outlier detection: 5 consecutive failures eject for 30 s.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
 */
const EJECT_AFTER = 5
const EJECT_MS = 30_000
/** After a 429 that names no time: what the gateway's own `Retry-After` for a busy account says. */
const PAUSE_MS = 1_000

/** What the pool remembers of one call, in its `meta`. */
interface Note {
  member: number
  failed: Set<number>
}

class Member {
  readonly index: number
  readonly weight: number
  readonly transport: Transport
  active = 0
  /** Whose turn it is among equally loaded members: the lowest. */
  turn = 0
  #failures = 0
  #ejectedUntil = 0
  #pausedUntil = 0
  #agent: Agent | undefined

  constructor(
    index: number,
    { apiKey, baseURL, weight = 1 }: PoolMember,
    connections: number,
    given: Dispatcher | undefined,
    offersDispatcher: () => boolean,
  ) {
    this.index = index
    this.weight = weight
    const dispatcher = () => {
      if (given !== undefined) return given
      // Our own limits rule: undici's header and body timers cut slow models after 300 s.
      this.#agent ??= new Agent({ connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
      return this.#agent
    }
    this.transport = {
      member: index,
      apiKey,
      baseURL,
      get dispatcher() {
        return offersDispatcher() ? dispatcher() : undefined
      },
    }
  }

  get state(): PoolMemberStats['state'] {
    const now = performance.now()
    return this.#ejectedUntil > now ? 'ejected' : this.#pausedUntil > now ? 'paused' : 'ready'
  }

  succeeded(): void {
    this.#failures = 0
  }

  failed(error: unknown): void {
    const now = performance.now()
    if (isStackError(error)) {
      if (error.refused) return
      if (error.code === 'RATE_LIMITED') {
        this.#pausedUntil = now + (error.retryAfter ?? PAUSE_MS)
        return
      }
      // A member whose key is refused answers at once, so least-loaded choice would send it
      // everything.
      if (error.code === 'AUTH' || error.code === 'PAYMENT') {
        this.#ejectedUntil = now + EJECT_MS
        return
      }
      if (!isFault(error)) return
    }
    if (++this.#failures >= EJECT_AFTER) {
      this.#failures = 0
      this.#ejectedUntil = now + EJECT_MS
    }
  }

  async close(): Promise<void> {
    await this.#agent?.destroy()
  }
}

/**
 * Leases connections: bounds the calls in progress, each to the end of its answer's body, keeps the
 * sockets alive, and shares the calls between several members by least load. Failing members are
 * left out for a while; a retry avoids the member that failed it. Around a function other than the
 * client it is a bounded lease, and offers `context.transport`.
 *
 * @throws QueueFullError code `QUEUE_FULL`, status 503, when `maxWaiting` calls wait already
 * @example pool({ connections: 10, members: [{ apiKey: first }, { apiKey: second, weight: 2 }] })
 */
export function pool<const Name extends string = 'pool'>(
  options: PoolOptions<Name> = {},
): Layer<Name, PoolStats> {
  const checked = check('pool', options, {
    connections: rules.integer(10, { min: 1, max: 100_000 }),
    members: {
      ...rules.custom<readonly PoolMember[], undefined>(
        'a list of at least one member { apiKey, baseURL, weight }',
        undefined,
        (value) => Array.isArray(value) && value.length > 0,
      ),
      secret: true,
    },
    dispatcher: rules.custom<Dispatcher, undefined>(
      'an undici Dispatcher',
      undefined,
      (value) => typeof (value as Partial<Dispatcher> | null)?.dispatch === 'function',
    ),
    maxWaiting: rules.integer(1_000, { min: 0 }),
    name: rules.layerName<Name>('pool'),
  })
  const { connections, maxWaiting, name } = checked
  let closed = false
  const members = (checked.members ?? [{}]).map(
    (member, index) =>
      new Member(index, checkMember(member), connections, checked.dispatcher, () => !closed),
  )
  const max = connections * members.length
  const room = new WaitingRoom(maxWaiting)
  /** Connections leased, or promised to a waiting call that has been called in. */
  let taken = 0
  let turn = 0

  const choose = (failed: ReadonlySet<number> | undefined): Member => {
    let best: Member | undefined
    let bestRank = Number.POSITIVE_INFINITY
    for (const member of members) {
      if (member.active >= connections) continue
      const avoid =
        member.state === 'ready'
          ? failed?.has(member.index)
            ? 1
            : 0
          : member.state === 'paused'
            ? 2
            : 3
      const rank = avoid * 1e9 + member.active / member.weight
      if (best === undefined || rank < bestRank || (rank === bestRank && member.turn < best.turn)) {
        best = member
        bestRank = rank
      }
    }
    // `taken` never exceeds what the members have together.
    const chosen = best as Member
    // Turns go round by weight; one that was left out for a while has none to catch up on.
    turn = Math.max(turn, chosen.turn)
    chosen.turn = turn + 1 / chosen.weight
    return chosen
  }

  const waitForConnection = (context: Context): Promise<void> => {
    room.admit(name)
    return room.wait(context, { layer: name })
  }

  const release = (member: Member) => {
    member.active--
    // The connection passes straight to the next one who waits.
    if (!room.callNext()) taken--
  }

  return defineLayer({
    name,
    kind: 'pool',
    wrap: (next) => async (request, context) => {
      // While somebody waits, all are taken.
      if (taken < max) taken++
      else await waitForConnection(context)
      const failed = members.length > 1 ? failedBefore(context.meta.get(name)) : undefined
      const member = choose(failed)
      member.active++
      if (failed) context.meta.set(name, { member: member.index, failed } satisfies Note)
      const fail = (error: unknown) => {
        if (context.cancel.aborted && !(context.cancel.reason instanceof TimeoutError)) return
        member.failed(error)
        if (!failed) return
        failed.add(member.index)
        context.meta.set(
          ELSEWHERE,
          members.some(
            ({ index, state, active }) =>
              !failed.has(index) && state === 'ready' && active < connections,
          ),
        )
      }
      try {
        return onEnd(
          await next(request, context.derive({ transport: member.transport })),
          (end) => {
            if (end.outcome === 'failed') fail(end.error)
            else if (end.outcome === 'complete') member.succeeded()
            release(member)
          },
        )
      } catch (error) {
        fail(error)
        release(member)
        throw error
      }
    },
    stats: () => {
      const active = members.reduce((sum, member) => sum + member.active, 0)
      return {
        max,
        active,
        available: max - active,
        waiting: room.waiting,
        members: members.map((member) => ({ active: member.active, state: member.state })),
      }
    },
    close: async () => {
      closed = true
      await Promise.all(members.map((member) => member.close()))
    },
  })
}

/** Who has failed this call already. The map may be the caller's own, so anything may be in it. */
function failedBefore(note: unknown): Set<number> {
  const failed = (note as Partial<Note> | null | undefined)?.failed
  return failed instanceof Set ? failed : new Set()
}

/** What speaks against a member: it failed, rather than the request or its reader. */
function isFault(error: { code: string }): boolean {
  if (error instanceof TimeoutError) return error.phase !== 'read'
  return ['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'].includes(error.code)
}

function checkMember(member: PoolMember): PoolMember {
  // It may be a bare key, which must not be shown.
  if (typeof member !== 'object')
    throw new ConfigError('pool: a member must be an object { apiKey, baseURL, weight }.', {
      layer: 'pool',
    })
  return check<PoolMember>('pool', member, {
    apiKey: {
      ...rules.custom<string, undefined>(
        'a string of printable ASCII characters',
        undefined,
        isKey,
      ),
      secret: true,
    },
    baseURL: {
      ...rules.custom<string, undefined>(
        'an http or https URL without credentials',
        undefined,
        isAddress,
      ),
      secret: true,
    },
    weight: rules.number(1, { min: 0.001, max: 1_000_000 }),
  })
}

const isKey = (value: unknown): boolean => typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)

function isAddress(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, username, password } = new URL(value)
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === ''
}
