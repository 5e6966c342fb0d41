import {
  type AbortListener,
  type Context,
  check,
  defineLayer,
  hookFailed,
  type Layer,
  rules,
  type Shared,
  type SharedWork,
  share,
  streamOf,
} from '../core/index.js'
import { Broadcast } from './broadcast.js'

export interface DedupeOptions<Name extends string = 'dedupe'> {
  /** Key in `stats()`. @default 'dedupe' */
  name?: Name | undefined
}

export interface DedupeStats {
  /** Calls that shared the answer of one already in progress. */
  readonly joined: number
  /** Gauge: different calls in progress. */
  readonly inFlight: number
  /** Calls without an identity, which passed by. */
  readonly unkeyed: number
}

/** One call in progress and what comes of it. */
interface Flight {
  readonly work: SharedWork
  readonly answer: Promise<Shared | Broadcast>
  /** The answer, when it is a stream that has begun. */
  broadcast: Broadcast | undefined
}

/**
 * Single-flight: identical calls in progress share one answer. A stream's late joiners get all of it from the start. Each caller leaves by itself; the
 * work stops when the last has left. JSON answers are frozen, bytes are copied for each caller. Calls with `cache: 'no-store'` pass by; tenants never share.
 *
 * @example stack(ask, dedupe(), retry())
 * @see https://pkg.go.dev/golang.org/x/sync/singleflight
 */
export function dedupe<const Name extends string = 'dedupe'>(options: DedupeOptions<Name> = {}): Layer<Name, DedupeStats> {
  const { name } = check('dedupe', options, { name: rules.layerName<Name>('dedupe') })
  const stats = { joined: 0, inFlight: 0, unkeyed: 0 }

  return defineLayer({
    name,
    kind: 'dedupe',
    outside: {
      queue: 'every caller who joins holds a slot while he waits for the first; put dedupe outside.',
      pool: 'every caller who joins holds a connection while he waits for the first; put dedupe outside.',
    },
    wrap: (next) => {
      // Of each stack its own: the same request to another base is another call.
      const flights = new Map<string, Flight>()

      const begin = (key: string, request: unknown, context: Context) => {
        const work = context.detach()
        // Before it begins: the work must know its deadline.
        const leave = work.join(context)
        let over = false
        const land = () => {
          if (over) return
          over = true
          stats.inFlight--
          work.end()
          unlist()
        }
        const unlist = () => {
          if (flights.get(key) === flight) flights.delete(key)
        }
        const fly = async (): Promise<Shared | Broadcast> => {
          const answer = await next(request, work.context)
          const stream = streamOf(answer)
          if (stream === undefined) return share(answer)
          stream.obey(work.context.cancel)
          stream.onEnd(land)
          flight.broadcast = new Broadcast(stream, unlist)
          return flight.broadcast
        }
        const flight: Flight = { work, broadcast: undefined, answer: fly() }
        stats.inFlight++
        flights.set(key, flight)
        work.context.cancel.add({ abort: unlist })
        flight.answer.then((answer) => answer instanceof Broadcast || land(), land)
        return { flight, leave }
      }

      /** What a caller who has joined gets. */
      const attend = ({ work, answer, broadcast }: Flight, context: Context, leave: (reason?: unknown) => void): Promise<unknown> =>
        new Promise((resolve, reject) => {
          const take = (shared: Shared | Broadcast) => {
            work.tell(context)
            if (!(shared instanceof Broadcast)) return resolve(shared.take())
            resolve(
              shared.reader(context, (reason) => {
                // A last reader who simply stops reading leaves the source as a reader, not as one who aborts.
                if (reason === undefined && work.callers === 1) shared.leaveSource()
                leave(reason)
              }),
            )
          }
          // At once: by the next turn the start of the stream may be gone.
          if (broadcast !== undefined) return take(broadcast)
          const onAbort: AbortListener = {
            abort(reason) {
              leave(reason)
              reject(reason)
            },
          }
          context.cancel.add(onAbort)
          answer.then(
            (shared) => {
              context.cancel.remove(onAbort)
              if (!context.cancel.aborted) take(shared)
            },
            (error) => {
              context.cancel.remove(onAbort)
              work.tell(context)
              reject(error)
            },
          )
        })

      return async (request, context) => {
        if (context.cache === 'no-store') return next(request, context)
        const identity = identify(request, context)
        if (identity === undefined) {
          stats.unkeyed++
          return next(request, context)
        }
        const { tenant } = context
        const key = `${context.cache} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${identity}`
        const flight = flights.get(key)
        if (flight === undefined) {
          const begun = begin(key, request, context)
          return attend(begun.flight, context, begun.leave)
        }
        stats.joined++
        context.meta.set(name, { joined: true })
        return attend(flight, context, flight.work.join(context))
      }
    },
    stats: () => ({ ...stats }),
  })
}

/** What the base says of the request; nothing when it throws, or says something other than a string. */
function identify(request: unknown, context: Context): string | undefined {
  try {
    const identity: unknown = context.base.key(request, 'dedupe')
    return typeof identity === 'string' ? identity : undefined
  } catch (error) {
    hookFailed('dedupe: key()', error)
    return undefined
  }
}
