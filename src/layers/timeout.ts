import {
  type Alarm,
  type AlarmListener,
  Alarms,
  atOnce,
  Cancel,
  ConfigError,
  type Context,
  check,
  defineLayer,
  type Layer,
  rules,
  streamOf,
  TimeoutError,
  type TimeoutPhase,
  Timer,
} from '../core/index.js'

/** Options of `timeout()`. */
export interface TimeoutOptions<Name extends string = 'timeout'> {
  /**
   * Longest time from the call to the end of its answer. Milliseconds, at least 1; a function
   * returns it for each request.
   * @default none
   */
  ms?: number | ((request: unknown) => number) | undefined
  /** The same for an answer that is a stream, to its last chunk. Milliseconds. @default `ms` */
  streamMs?: number | undefined
  /**
   * Longest time from the call to a stream's first token (its commit). Milliseconds. @default none
   */
  firstTokenMs?: number | undefined
  /**
   * Longest silence of a stream while its reader waits; heartbeats are silence, a slow reader is
   * not. Milliseconds.
   * @default none
   */
  idleMs?: number | undefined
  /** Key in `stats()`. @default 'timeout' */
  name?: Name | undefined
}

/** What `timeout()` has counted. */
export interface TimeoutStats {
  /** Calls cut short since creation. */
  readonly fired: number
}

/**
 * Cuts off an answer that is not complete in time, and aborts its work. The caller's own abort
 * passes through as it is. Any one of the limits is enough.
 *
 * `ms` or `streamMs` is chosen by what the base says of the request (`streams`). When it says
 * nothing the longer of the two holds until the answer shows its form; then the right one counts,
 * from the call's start.
 *
 * @throws ConfigError without any limit
 * @throws TimeoutError code `TIMEOUT`, status 504, with `phase` and `ms`; a stream already being
 * read fails with it
 * @example timeout({ ms: 30_000, firstTokenMs: 10_000, idleMs: 20_000 })
 * @see https://www.pollydocs.org/strategies/timeout the caller's cancellation is never relabelled
 */
export function timeout<const Name extends string = 'timeout'>(
  options: TimeoutOptions<Name>,
): Layer<Name, TimeoutStats> {
  const { streamMs, firstTokenMs, idleMs, name, ...checked } = check('timeout', options, {
    ms: rules.either(rules.duration(undefined), rules.callback<(request: unknown) => number>()),
    streamMs: rules.duration(undefined),
    firstTokenMs: rules.duration(undefined),
    idleMs: rules.duration(undefined),
    name: rules.layerName<Name>('timeout'),
  })
  if ([checked.ms, streamMs, firstTokenMs, idleMs].every((limit) => limit === undefined))
    throw new ConfigError('timeout: one of ms, streamMs, firstTokenMs or idleMs is required.', {
      layer: 'timeout',
    })
  const msOf = typeof checked.ms === 'function' ? checked.ms : undefined
  const fixedMs = typeof checked.ms === 'number' ? checked.ms : Number.POSITIVE_INFINITY
  let fired = 0

  const alarms = new Alarms()

  const onFire = (phase: TimeoutPhase, after: number, { trace }: Context): TimeoutError => {
    fired++
    trace?.timeout(name, phase, after)
    return new TimeoutError(after, { phase, layer: name })
  }

  return defineLayer({
    name,
    kind: 'timeout',
    wrap: (next) => (request, context) =>
      new Promise((resolve, reject) => {
        const start = performance.now()
        const ms = msOf === undefined ? fixedMs : Math.max(1, Number(atOnce(msOf(request))) || 1)
        const wholeStreamMs = streamMs ?? ms
        const streams = context.base.streams?.(request)
        const limit =
          streams === undefined ? Math.max(ms, wholeStreamMs) : streams ? wholeStreamMs : ms
        const call = new TimedCall(context, limit, reject, onFire)
        context.cancel.add(call)
        if (call.aborted) return
        if (limit !== Number.POSITIVE_INFINITY) call.total = alarms.set(limit, call)
        if (streams && firstTokenMs !== undefined) {
          call.partial = alarms.set(firstTokenMs, {
            ring: () => call.fire('first-token', firstTokenMs),
          })
        }
        const begun = (answer: Awaited<ReturnType<typeof next>>) => {
          const stream = streamOf(answer)
          stream?.obey(call)
          if (call.aborted) return
          if (streams === undefined) {
            // What only the form could tell is judged now: an answer that came later than its own
            // limit is too late.
            const took = performance.now() - start
            const total = stream === undefined ? ms : wholeStreamMs
            if (
              stream !== undefined &&
              firstTokenMs !== undefined &&
              firstTokenMs < total &&
              took > firstTokenMs
            ) {
              return call.fire('first-token', firstTokenMs)
            }
            if (took > total) return call.fire('total', total)
          }
          if (stream === undefined) {
            call.finish()
            return resolve(answer)
          }
          call.partial?.stop()
          call.partial = undefined
          if (limit !== wholeStreamMs) {
            call.total?.stop()
            call.total = new Timer(start + wholeStreamMs - performance.now(), () =>
              call.fire('total', wholeStreamMs),
            )
          }
          if (idleMs !== undefined) {
            const watch = () => {
              const waited = stream.waitingSince === 0 ? 0 : performance.now() - stream.waitingSince
              if (waited >= idleMs) call.fire('idle', idleMs)
              else call.partial = new Timer(idleMs - waited, watch)
            }
            call.partial = new Timer(idleMs, watch)
          }
          stream.onEnd(() => call.finish())
          resolve(stream as typeof answer)
        }
        const failed = (error: unknown) => {
          call.finish()
          reject(error)
        }
        try {
          // A plain layer may answer without a promise.
          Promise.resolve(
            next(request, context.derive({ cancel: call, deadline: start + limit })),
          ).then((answer) => {
            try {
              begun(answer)
            } catch (error) {
              failed(error)
            }
          }, failed)
        } catch (error) {
          failed(error)
        }
      }),
    stats: () => ({ fired }),
  })
}

/** The cancellation of one call, below its caller's, and its alarms. */
class TimedCall extends Cancel implements AlarmListener {
  total: Alarm | undefined = undefined
  /** Until the first token, and then between tokens. */
  partial: Alarm | undefined = undefined
  readonly #context: Context
  readonly #limit: number
  readonly #reject: (error: unknown) => void
  readonly #onFire: (phase: TimeoutPhase, after: number, context: Context) => TimeoutError

  constructor(
    context: Context,
    limit: number,
    reject: (error: unknown) => void,
    onFire: (phase: TimeoutPhase, after: number, context: Context) => TimeoutError,
  ) {
    super()
    this.#context = context
    this.#limit = limit
    this.#reject = reject
    this.#onFire = onFire
  }

  /** Its whole time is over. */
  ring(): void {
    this.fire('total', this.#limit)
  }

  fire(phase: TimeoutPhase, after: number): void {
    this.abort(this.#onFire(phase, after, this.#context))
  }

  /** The answer is not waited for any longer, whether or not the work heeds the abort. */
  override abort(reason: unknown): void {
    super.abort(reason)
    this.finish()
    this.#reject(reason)
  }

  finish(): void {
    this.total?.stop()
    this.partial?.stop()
    this.#context.cancel.remove(this)
  }
}
