import {
  type Context,
  check,
  defineLayer,
  digest,
  type Handler,
  hookFailed,
  isSharedState,
  type Layer,
  OneShotBases,
  rules,
  type SharedLogs,
  type SharedState,
  TransientMap,
} from '../../core/index.js'
import { checkNamed } from '../named-base.js'
import { OtherProcesses } from './other-processes.js'
import { type CallsInProgress, SharedCall } from './shared-call.js'

/** Options of `dedupe()`. */
export interface DedupeOptions<Name extends string = 'dedupe'> {
  /**
   * Lets calls in other processes share the answer, too, by state from `redisShared()`. The function
   * needs a name then. When the others cannot be asked, the call is made.
   * @default only this process is known
   */
  shared?: SharedState | undefined
  /** Key in `stats()`. @default 'dedupe' */
  name?: Name | undefined
}

/** What `dedupe()` has counted. */
export interface DedupeStats {
  /** Calls that shared the answer of one already in progress. */
  readonly joined: number
  /** Calls that another process made, with `shared`; those who joined them here are not counted. */
  readonly elsewhere: number
  /** Gauge: different calls in progress. */
  readonly inFlight: number
  /** Calls without an identity, which bypassed it. */
  readonly unkeyed: number
  /** Calls of functions whose answers can be read only once, which share none. */
  readonly oneShot: number
}

/**
 * Single-flight: identical calls in progress share one answer. A stream's late joiners get all of
 * it from the start. A caller who aborts does not affect the others; the work stops when the last
 * has aborted. Answers of the client are parsed for each caller; other functions' values are frozen, and bytes are
 * copied. Calls with `cache: 'no-store'` bypass it; tenants never share.
 *
 * @example stack(ask, dedupe(), retry())
 * @see https://pkg.go.dev/golang.org/x/sync/singleflight
 */
export function dedupe<const Name extends string = 'dedupe'>(
  options: DedupeOptions<Name> = {},
): Layer<Name, DedupeStats> {
  const { name, shared } = check('dedupe', options, {
    shared: rules.custom<SharedState, undefined>(
      'what redisShared() returns',
      undefined,
      isSharedState,
    ),
    name: rules.layerName<Name>('dedupe'),
  })
  const dedupes = new Dedupe(name, shared?.logs(`dedupe ${name}`))
  return defineLayer({
    name,
    kind: 'dedupe',
    shared,
    outside: {
      queue:
        'each caller that joins holds a slot while it waits for the first; put dedupe outside.',
      rateLimit:
        'each caller that joins is counted, though only the first costs anything; put dedupe outside.',
      pool: 'each caller that joins holds a connection while it waits for the first; put dedupe outside.',
    },
    checkBase: shared && checkNamed('dedupe', 'shared'),
    wrap: (next) => dedupes.wrap(next),
    stats: () => ({ ...dedupes.stats }),
  })
}

class Dedupe {
  readonly stats = { joined: 0, elsewhere: 0, inFlight: 0, unkeyed: 0, oneShot: 0 }
  readonly #oneShots = new OneShotBases()
  readonly #name: string
  readonly #others: OtherProcesses | undefined

  constructor(name: string, logs: SharedLogs | undefined) {
    this.#name = name
    this.#others =
      logs &&
      new OtherProcesses({
        layer: name,
        logs,
        joined: (context) => {
          this.stats.elsewhere++
          context.meta.set(name, { joined: true, elsewhere: true })
          context.trace?.joined(name, undefined)
        },
        alone: (context) => {
          context.meta.set(name, { alone: true })
          context.trace?.alone(name)
        },
      })
  }

  wrap<Request, Answer>(next: Handler<Request, Answer>): Handler<Request, Answer> {
    // Of each stack its own: the same request to another base is another call.
    const common = new TransientMap<SharedCall>()
    const others = new TransientMap<SharedCall>()
    const inProgress = this.#callsInProgress()
    return (request, context) => {
      if (context.cache === 'no-store') return next(request, context)
      if (this.#oneShots.has(context.base)) {
        this.stats.oneShot++
        return next(request, context)
      }
      const identity = this.#identityOf(request, context)
      if (identity === undefined) return next(request, context)
      // Most calls are of no tenant and of the usual mode: a key put together would be as long again.
      const scope = scopeOf(context)
      const calls = scope === undefined ? common : others
      const key = scope === undefined ? identity : `${scope} ${identity}`
      const known = calls.get(key)
      if (known?.canJoin) return this.#join(known, context) as Promise<Answer>
      this.stats.inFlight++
      const work = context.detach()
      const call = new SharedCall(work, calls, key, inProgress, next as Handler, request)
      // Joined before it begins: the work must know its deadline.
      const answer = call.join(context)
      call.start(isOfAll(context) ? this.#others : undefined)
      return answer as Promise<Answer>
    }
  }

  #callsInProgress(): CallsInProgress {
    return {
      layer: this.#name,
      ended: () => {
        this.stats.inFlight--
      },
      wasOneShot: (context: Context) => this.#oneShots.add(context.base),
      left: (context: Context) => {
        this.stats.oneShot++
        context.meta.delete(this.#name)
      },
    }
  }

  #join(call: SharedCall, context: Context): Promise<unknown> {
    this.stats.joined++
    context.meta.set(this.#name, { joined: true })
    context.trace?.joined(this.#name, call.trace)
    return call.join(context)
  }

  #identityOf(request: unknown, context: Context): string | undefined {
    const identity = identityOf(request, context)
    if (identity === undefined) this.stats.unkeyed++
    return identity
  }
}

/**
 * Whether calls in other processes can share it. What another stack has handed on is known here only,
 * and what is refused where others would wait may be refused because of this process.
 */
const isOfAll = ({ via, optional }: Context): boolean => via === '' && !optional

/**
 * What sets a call apart from others that ask for the same, if anything does. What another stack has
 * handed on does not join: two stacks that stand in for each other would each wait for the other's
 * call. Nor does what is refused where others would wait.
 */
function scopeOf({ tenant, cache, via, optional }: Context): string | undefined {
  if (tenant === undefined && cache === 'default' && via === '' && !optional) return undefined
  const kind = via === '' && !optional ? cache : `${cache} ${optional} ${via}`
  return `${kind} ${tenant === undefined ? '' : JSON.stringify(tenant)}`
}

/** Longer identities are known by their digest: places in the map outlive their calls. */
const LONG = 1_000

/**
 * The request's identity by the base; undefined when it throws, or gives something other than a
 * string.
 */
function identityOf(request: unknown, context: Context): string | undefined {
  try {
    const identity: unknown = context.keyOf(request, 'dedupe')
    if (typeof identity !== 'string') return undefined
    return identity.length > LONG ? digest(identity) : identity
  } catch (error) {
    hookFailed('dedupe: key()', error)
    return undefined
  }
}
