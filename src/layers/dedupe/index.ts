import {
  type AbortListener,
  type Context,
  check,
  defineLayer,
  digest,
  type Handler,
  hookFailed,
  type Layer,
  rules,
  type Shared,
  type SharedWork,
  share,
  streamOf,
  type Trace,
  TransientMap,
} from '../../core/index.js'
import { Broadcast } from './broadcast.js'

/** Options of `dedupe()`. */
export interface DedupeOptions<Name extends string = 'dedupe'> {
  /** Key in `stats()`. @default 'dedupe' */
  name?: Name | undefined
}

/** What `dedupe()` has counted. */
export interface DedupeStats {
  /** Calls that shared the answer of one already in progress. */
  readonly joined: number
  /** Gauge: different calls in progress. */
  readonly inFlight: number
  /** Calls without an identity, which passed by. */
  readonly unkeyed: number
}

/**
 * Single-flight: identical calls in progress share one answer. A stream's late joiners get all of
 * it from the start. Each caller leaves by itself; the work stops when the last has left. JSON
 * answers are frozen, bytes are copied for each caller. Calls with `cache: 'no-store'` pass by;
 * tenants never share.
 *
 * @example stack(ask, dedupe(), retry())
 * @see https://pkg.go.dev/golang.org/x/sync/singleflight
 */
export function dedupe<const Name extends string = 'dedupe'>(
  options: DedupeOptions<Name> = {},
): Layer<Name, DedupeStats> {
  const { name } = check('dedupe', options, { name: rules.layerName<Name>('dedupe') })
  const stats = { joined: 0, inFlight: 0, unkeyed: 0 }

  return defineLayer({
    name,
    kind: 'dedupe',
    outside: {
      queue:
        'every caller who joins holds a slot while he waits for the first; put dedupe outside.',
      pool: 'every caller who joins holds a connection while he waits for the first; put dedupe outside.',
    },
    wrap: (next) => {
      // Of each stack its own: the same request to another base is another call.
      const flights = new TransientMap<Flight>()
      const landed = () => {
        stats.inFlight--
      }

      const begin = (key: string, request: unknown, context: Context): Promise<unknown> => {
        const flight = new Flight(context.detach(), key, flights, landed)
        // Before it begins: the work must know its deadline.
        const answer = flight.attend(context)
        stats.inFlight++
        flights.set(key, flight)
        flight.fly(next, request)
        return answer
      }

      return (request, context) => {
        if (context.cache === 'no-store') return next(request, context)
        const identity = identify(request, context)
        if (identity === undefined) {
          stats.unkeyed++
          return next(request, context)
        }
        const { tenant } = context
        const key = `${context.cache} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${identity}`
        const flight = flights.get(key)
        if (flight === undefined) return begin(key, request, context) as Promise<never>
        stats.joined++
        context.meta.set(name, { joined: true })
        context.trace?.joined(name, flight.trace)
        return flight.attend(context) as Promise<never>
      }
    },
    stats: () => ({ ...stats }),
  })
}

/** Longer identities are known by their digest: places in the map outlive their calls. */
const LONG = 1_000

/**
 * What the base says of the request; nothing when it throws, or says something other than a string.
 */
function identify(request: unknown, context: Context): string | undefined {
  try {
    const identity: unknown = context.keyOf(request, 'dedupe')
    if (typeof identity !== 'string') return undefined
    return identity.length > LONG ? digest(identity) : identity
  } catch (error) {
    hookFailed('dedupe: key()', error)
    return undefined
  }
}

/** One call in progress, and those who wait for its answer. */
class Flight implements AbortListener {
  readonly #work: SharedWork
  readonly #key: string
  readonly #flights: TransientMap<Flight>
  readonly #landed: () => void
  #waiting: Attendee[] = []
  /** The answer, when it is a stream that has begun. */
  #broadcast: Broadcast | undefined
  #over = false

  /** @param landed called once, when the answer has ended */
  constructor(work: SharedWork, key: string, flights: TransientMap<Flight>, landed: () => void) {
    this.#work = work
    this.#key = key
    this.#flights = flights
    this.#landed = landed
    work.context.cancel.add(this)
  }

  get trace(): Trace | undefined {
    return this.#work.context.trace
  }

  /** The work is aborted, as everybody has left. */
  abort(): void {
    this.#unlist()
  }

  /** From now on nobody can join. */
  #unlist(): void {
    this.#flights.delete(this.#key, this)
  }

  /** Counts a caller in. Settles with his answer, or with his abort. */
  attend(context: Context): Promise<unknown> {
    const leave = this.#work.join(context)
    return new Promise((resolve, reject) => {
      const attendee = new Attendee(context, leave, resolve, reject)
      // At once: by the next turn the start of the stream may be gone.
      if (this.#broadcast !== undefined) return this.#serve(attendee, this.#broadcast)
      this.#waiting.push(attendee)
      context.cancel.add(attendee)
    })
  }

  fly(next: Handler, request: unknown): void {
    try {
      // A plain layer may answer without a promise.
      Promise.resolve(next(request, this.#work.context)).then(
        (answer) => this.#answered(answer),
        (error) => this.#failed(error),
      )
    } catch (error) {
      this.#failed(error)
    }
  }

  #answered(answer: unknown): void {
    let shared: Shared | Broadcast
    try {
      const stream = streamOf(answer)
      if (stream === undefined) {
        shared = share(answer)
        this.#land()
      } else {
        stream.obey(this.#work.context.cancel)
        stream.onEnd(() => this.#land())
        shared = new Broadcast(stream, () => this.#unlist())
        this.#broadcast = shared
      }
    } catch (error) {
      return this.#failed(error)
    }
    for (const attendee of this.#depart()) this.#serve(attendee, shared)
  }

  #failed(error: unknown): void {
    this.#land()
    for (const { context, reject } of this.#depart()) {
      this.#work.tell(context)
      reject(error)
    }
  }

  /** Those who are still there; they wait no longer. */
  #depart(): Attendee[] {
    const waiting = this.#waiting
    this.#waiting = []
    for (const attendee of waiting) attendee.context.cancel.remove(attendee)
    return waiting.some(({ gone }) => gone) ? waiting.filter(({ gone }) => !gone) : waiting
  }

  #serve({ context, leave, resolve }: Attendee, shared: Shared | Broadcast): void {
    this.#work.tell(context)
    if (!(shared instanceof Broadcast)) return resolve(shared.take())
    const stream = shared.reader(context, (reason) => {
      // A last reader who simply stops reading leaves the source as a reader, not as one who
      // aborts.
      if (reason === undefined && this.#work.callers === 1) shared.leaveSource()
      leave(reason)
    })
    resolve(stream)
  }

  #land(): void {
    if (this.#over) return
    this.#over = true
    this.#work.end()
    this.#unlist()
    this.#landed()
  }
}

/** A caller who waits for the answer of a flight. */
class Attendee implements AbortListener {
  readonly context: Context
  readonly leave: (reason?: unknown) => void
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: unknown) => void
  gone = false

  constructor(
    context: Context,
    leave: (reason?: unknown) => void,
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.context = context
    this.leave = leave
    this.resolve = resolve
    this.reject = reject
  }

  abort(reason: unknown): void {
    this.gone = true
    this.leave(reason)
    this.reject(reason)
  }
}
