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
   * Also shares answers with calls in other processes, through state from `redisShared()`. The
   * function then needs a name. If the shared state is unreachable, this process makes the call
   * itself.
   * @default none: shares only within this process
   */
  shared?: SharedState | undefined
  /** The layer's name and its key in `stats()`. @default 'dedupe' */
  name?: Name | undefined
}

/** Counters of `dedupe()`. */
export interface DedupeStats {
  /** Calls that shared the answer of a call in progress. */
  readonly joined: number
  /**
   * Calls answered by another process, with `shared`. Calls that joined them here are not counted.
   */
  readonly elsewhere: number
  /** Gauge: different calls in progress. */
  readonly inFlight: number
  /** Calls without a key, which bypassed the layer. */
  readonly unkeyed: number
  /** Calls of functions whose answers can be read only once, which cannot be shared. */
  readonly oneShot: number
}

/**
 * Lets identical calls in progress share one answer. A call that joins a stream late gets all of
 * it, from the start. A caller that aborts does not affect the others; the work stops when the last
 * one has aborted. The client's answers are parsed for each caller. Values of other functions are
 * frozen, and bytes are copied. Calls with `cache: 'no-store'` bypass the layer. Tenants never
 * share answers.
 *
 * @example stack(ask, dedupe(), retry())
 * @see https://pkg.go.dev/golang.org/x/sync/singleflight
 */
export function dedupe<const Name extends string = 'dedupe'>(
  options: DedupeOptions<Name> = {},
): Layer<Name, DedupeStats> {
  const { name, shared } = check('dedupe', options, {
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
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
      queue: 'a call that joins another holds a slot while it waits. Move dedupe outside.',
      rateLimit:
        'a call that joins another counts against the limit, although only the first one costs anything. Move dedupe outside.',
      pool: 'a call that joins another holds a connection while it waits. Move dedupe outside.',
    },
    checkBase: shared && checkNamed('dedupe', 'option "shared"'),
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
    // One map per stack, because equal requests to different bases are different calls.
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
      // Most calls have no tenant and the default mode. Building a scoped key for them would double
      // its length.
      const scope = scopeOf(context)
      const calls = scope === undefined ? common : others
      const key = scope === undefined ? identity : `${scope} ${identity}`
      const known = calls.get(key)
      if (known?.canJoin) return this.#join(known, context) as Promise<Answer>
      this.stats.inFlight++
      const work = context.detach()
      const call = new SharedCall(work, calls, key, inProgress, next as Handler, request)
      // Join before starting, because the work needs a deadline.
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
 * Whether calls in other processes may share this call. Not when another stack passed it on, and
 * not when it is optional: then this process may reject it for reasons of its own.
 */
const isOfAll = ({ via, optional }: Context): boolean => via === '' && !optional

/**
 * What separates a call from others with the same request; undefined for an ordinary call. A call
 * passed on by another stack does not join: two stacks that stand in for each other would each wait
 * for the other's call. An optional call does not join because it may be rejected instead of made
 * to wait.
 */
function scopeOf({ tenant, cache, via, optional }: Context): string | undefined {
  if (tenant === undefined && cache === 'default' && via === '' && !optional) return undefined
  const kind = via === '' && !optional ? cache : `${cache} ${optional} ${via}`
  return `${kind} ${tenant === undefined ? '' : JSON.stringify(tenant)}`
}

/**
 * Longer keys are replaced by their digest, because places in the map outlive their calls.
 * Characters.
 */
const LONG = 1_000

/** The request's key; undefined when the base's `key` trait throws or returns no string. */
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
