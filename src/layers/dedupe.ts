import {
  type AbortListener,
  type Context,
  check,
  defineLayer,
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

      const begin = (key: string, request: unknown, context: Context): Flight => {
        const work = context.detach()
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
          stream.onEnd(land)
          return new Broadcast(stream, unlist)
        }
        const flight: Flight = { work, answer: fly() }
        stats.inFlight++
        flights.set(key, flight)
        work.context.cancel.add({ abort: unlist })
        flight.answer.then((answer) => answer instanceof Broadcast || land(), land)
        return flight
      }

      const join = (flight: Flight, context: Context): Promise<unknown> =>
        new Promise((resolve, reject) => {
          const { work, answer } = flight
          const leave = work.join(context)
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
              if (context.cancel.aborted) return
              work.tell(context)
              if (!(shared instanceof Broadcast)) return resolve(shared.take())
              resolve(
                shared.reader(context, (reason) => {
                  // A last reader who simply stops reading leaves the source as a reader, not as one who aborts.
                  if (reason === undefined && work.callers === 1) shared.leaveSource()
                  leave(reason)
                }),
              )
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
        const identity = context.base.key(request, 'dedupe')
        if (identity === undefined) {
          stats.unkeyed++
          return next(request, context)
        }
        const { tenant } = context
        const key = `${context.cache} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${identity}`
        const flight = flights.get(key)
        if (flight === undefined) return join(begin(key, request, context), context)
        stats.joined++
        context.meta.set(name, { joined: true })
        return join(flight, context)
      }
    },
    stats: () => ({ ...stats }),
  })
}
