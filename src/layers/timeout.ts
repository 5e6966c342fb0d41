import { abortScope, check, defineLayer, type Layer, rules, streamOf, TimeoutError, type TimeoutPhase, Timer } from '../core/index.js'

export interface TimeoutOptions<Name extends string = 'timeout'> {
  /** Longest time from the call to the end of its answer. Milliseconds, at least 1; a function tells it for each request. */
  ms: number | ((request: unknown) => number)
  /** The same for an answer that is a stream, to its last chunk. Milliseconds. @default `ms` */
  streamMs?: number | undefined
  /** Longest time from the call to a stream's first token (its commit). Milliseconds. @default none */
  firstTokenMs?: number | undefined
  /** Longest silence of a stream while its reader waits; heartbeats are silence, a slow reader is not. Milliseconds. @default none */
  idleMs?: number | undefined
  /** Key in `stats()`. @default 'timeout' */
  name?: Name | undefined
}

export interface TimeoutStats {
  /** Calls cut short since creation. */
  readonly fired: number
}

/**
 * Cuts off an answer that is not complete in time, and aborts its work. The caller's own abort passes through as it is.
 *
 * `ms` or `streamMs` is chosen by what the base says of the request (`streams`). When it says nothing the longer of the two holds until the
 * answer shows its form; then the right one counts, from the call's start.
 *
 * @throws TimeoutError code `TIMEOUT`, status 504, with `phase` and `ms`; a stream already being read fails with it
 * @example timeout({ ms: 30_000, firstTokenMs: 10_000, idleMs: 20_000 })
 * @see https://www.pollydocs.org/strategies/timeout the caller's cancellation is never relabelled
 */
export function timeout<const Name extends string = 'timeout'>(options: TimeoutOptions<Name>): Layer<Name, TimeoutStats> {
  const { streamMs, firstTokenMs, idleMs, name, ...checked } = check('timeout', options, {
    ms: rules.required(rules.either(rules.duration(undefined), rules.callback<(request: unknown) => number>())),
    streamMs: rules.duration(undefined),
    firstTokenMs: rules.duration(undefined),
    idleMs: rules.duration(undefined),
    name: rules.layerName<Name>('timeout'),
  })
  const msOf = typeof checked.ms === 'function' ? checked.ms : undefined
  const fixedMs = typeof checked.ms === 'number' ? checked.ms : 0
  let fired = 0

  return defineLayer({
    name,
    kind: 'timeout',
    wrap: (next) => async (request, context) => {
      const start = performance.now()
      const ms = msOf === undefined ? fixedMs : Math.max(1, Number(msOf(request)) || 1)
      const wholeStreamMs = streamMs ?? ms
      const streams = context.base.streams?.(request)
      const limit = streams === undefined ? Math.max(ms, wholeStreamMs) : streams ? wholeStreamMs : ms
      const scope = abortScope(context)
      const fire = (phase: TimeoutPhase, after: number) => {
        fired++
        scope.abort(new TimeoutError(after, { phase, layer: name }))
      }
      const wholeTimer = (after: number) => new Timer(start + after - performance.now(), () => fire('total', after))

      let whole = wholeTimer(limit)
      let first = streams && firstTokenMs !== undefined ? new Timer(firstTokenMs, () => fire('first-token', firstTokenMs)) : undefined
      let idle: Timer | undefined
      const finish = () => {
        whole.stop()
        first?.stop()
        idle?.stop()
        scope.dispose()
      }
      try {
        const answer = await scope.race(next(request, context.derive({ cancel: scope, deadline: start + limit })))
        const stream = streamOf(answer)
        stream?.obey(scope)
        if (streams === undefined) {
          // What only the form could tell is judged now: an answer that came later than its own limit is too late.
          const took = performance.now() - start
          const total = stream === undefined ? ms : wholeStreamMs
          if (stream !== undefined && firstTokenMs !== undefined && firstTokenMs < total && took > firstTokenMs) {
            fire('first-token', firstTokenMs)
          } else if (took > total) fire('total', total)
        }
        scope.throwIfAborted()
        if (stream === undefined) {
          finish()
          return answer
        }
        first?.stop()
        first = undefined
        if (limit !== wholeStreamMs) {
          whole.stop()
          whole = wholeTimer(wholeStreamMs)
        }
        if (idleMs !== undefined) {
          const watch = () => {
            const waited = stream.waitingSince === 0 ? 0 : performance.now() - stream.waitingSince
            if (waited >= idleMs) fire('idle', idleMs)
            else idle = new Timer(idleMs - waited, watch)
          }
          idle = new Timer(idleMs, watch)
        }
        stream.onEnd(finish)
        return stream as typeof answer
      } catch (error) {
        finish()
        throw error
      }
    },
    stats: () => ({ fired }),
  })
}
