import {
  atOnce,
  Cancel,
  ConfigError,
  type Context,
  check,
  deadlines,
  defineLayer,
  type Expiring,
  type Handler,
  type Layer,
  NOT_WAITING,
  now,
  proceed,
  rules,
  type Stream,
  streamOf,
  TimeoutError,
  type TimeoutPhase,
  Timer,
} from '../core/index.js'

/** Options of `timeout()`. */
export interface TimeoutOptions<Name extends string = 'timeout'> {
  /**
   * Longest time from the call to the end of its answer. Milliseconds, at least 1; a function
   * returns it for each request (`Infinity`: no limit), and a call for which it returns anything
   * else fails with `CONFIG`.
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
 * Ends a call whose answer is not complete in time, and aborts its work. The caller's own abort is
 * passed on unchanged. One limit is enough, and it may be any of them.
 *
 * `ms` or `streamMs` is chosen by the base's `streams` trait. Without it the longer of the two holds
 * until the answer shows its form; then the right one counts, from the call's start.
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
  const checked = check('timeout', options, {
    ms: rules.either(rules.duration(undefined), rules.callback<(request: unknown) => number>()),
    streamMs: rules.duration(undefined),
    firstTokenMs: rules.duration(undefined),
    idleMs: rules.duration(undefined),
    name: rules.layerName<Name>('timeout'),
  })
  const { ms, streamMs, firstTokenMs, idleMs, name } = checked
  if ([ms, streamMs, firstTokenMs, idleMs].every((limit) => limit === undefined))
    throw new ConfigError('timeout: one of ms, streamMs, firstTokenMs or idleMs is required.', {
      layer: 'timeout',
    })
  const limits = new Limits(name, ms, streamMs, firstTokenMs, idleMs)
  return defineLayer({
    name,
    kind: 'timeout',
    wrap: (next) => (request, context) =>
      new Promise((resolve, reject) => {
        const call = new TimedCall(limits, context, request, resolve as Resolve, reject)
        call.run(next as Handler, request)
      }),
    stats: () => ({ fired: limits.fired }),
  })
}

/** What the option `ms` may return. */
const RETURNED = { 'ms()': rules.required(rules.duration<undefined>(undefined)) }

/** What the layer allows. */
class Limits {
  readonly layer: string
  readonly firstTokenMs: number | undefined
  readonly idleMs: number | undefined
  /** Whether an answer's limits depend on whether it is a stream. */
  readonly goByForm: boolean
  fired = 0
  readonly #ms: number | ((request: unknown) => number)
  readonly #streamMs: number | undefined

  constructor(
    layer: string,
    ms: number | ((request: unknown) => number) | undefined,
    streamMs: number | undefined,
    firstTokenMs: number | undefined,
    idleMs: number | undefined,
  ) {
    this.layer = layer
    this.#ms = ms ?? Number.POSITIVE_INFINITY
    this.#streamMs = streamMs
    this.firstTokenMs = firstTokenMs
    this.idleMs = idleMs
    this.goByForm = streamMs !== undefined || firstTokenMs !== undefined
  }

  /** For an answer that is no stream. */
  plainMs(request: unknown): number {
    if (typeof this.#ms === 'number') return this.#ms
    const ms = atOnce(this.#ms(request))
    if (ms === Number.POSITIVE_INFINITY) return ms
    return check('timeout', { 'ms()': ms }, RETURNED)['ms()']
  }

  streamMs(plainMs: number): number {
    return this.#streamMs ?? plainMs
  }
}

type Resolve = (answer: unknown) => void

/** One call and its limits: a cancellation below its caller's. */
class TimedCall extends Cancel implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #limits: Limits
  readonly #context: Context
  readonly #resolve: Resolve
  readonly #reject: (error: unknown) => void
  readonly #start = now()
  readonly #plainMs: number
  /** Whether the request asks for a stream; undefined when the base does not know. */
  readonly #streams: boolean | undefined
  /** The limit on the whole answer that is in force. */
  #totalMs: number
  /** Until the first token, and then between tokens. */
  #partial: Timer | undefined

  constructor(
    limits: Limits,
    context: Context,
    request: unknown,
    resolve: Resolve,
    reject: (error: unknown) => void,
  ) {
    super()
    this.#limits = limits
    this.#context = context
    this.#resolve = resolve
    this.#reject = reject
    this.#plainMs = limits.plainMs(request)
    this.#streams = context.base.streams?.(request)
    this.#totalMs =
      this.#streams === undefined
        ? Math.max(this.#plainMs, this.#streamMs)
        : this.#streams
          ? this.#streamMs
          : this.#plainMs
  }

  get #streamMs(): number {
    return this.#limits.streamMs(this.#plainMs)
  }

  run(next: Handler, request: unknown): void {
    const context = this.#context
    context.cancel.add(this)
    if (this.aborted) return
    this.#setTotal()
    const { firstTokenMs } = this.#limits
    if (this.#streams && firstTokenMs !== undefined)
      this.#partial = new Timer(firstTokenMs, () => this.#fire('first-token', firstTokenMs))
    const inside = context.derive({ cancel: this, deadline: this.#start + this.#totalMs })
    try {
      void proceed(
        next(request, inside),
        (answer) => this.#answered(answer),
        (error) => this.#failed(error),
      )
    } catch (error) {
      this.#failed(error)
    }
  }

  /** @internal The time for the whole answer is over. */
  expire(): void {
    this.#fire('total', this.#totalMs)
  }

  /** The answer is not waited for any longer, whether or not the work stops. */
  override abort(reason: unknown): void {
    super.abort(reason)
    this.ended()
    this.#reject(reason)
  }

  /** The answer has ended. */
  ended(): void {
    deadlines.clear(this)
    this.#partial?.stop()
    this.#context.cancel.remove(this)
  }

  #setTotal(): void {
    if (this.#totalMs !== Number.POSITIVE_INFINITY) deadlines.set(this, this.#start + this.#totalMs)
  }

  #fire(phase: TimeoutPhase, ms: number): void {
    const { layer } = this.#limits
    this.#limits.fired++
    this.#context.trace?.timeout(layer, phase, ms)
    this.abort(new TimeoutError(ms, { phase, layer }))
  }

  #failed(error: unknown): void {
    this.ended()
    this.#reject(error)
  }

  #answered(answer: unknown): void {
    let stream: Stream<unknown> | undefined
    try {
      stream = streamOf(answer)
    } catch (error) {
      return this.#failed(error)
    }
    stream?.abortWith(this)
    if (this.aborted || this.#isTooLate(stream !== undefined)) return
    if (stream === undefined) this.ended()
    else this.#watch(stream)
    this.#resolve(stream ?? answer)
  }

  /**
   * What only the form of the answer could decide is judged now: an answer that came later than its
   * own limit is too late.
   */
  #isTooLate(isStream: boolean): boolean {
    if (this.#streams !== undefined || !this.#limits.goByForm) return false
    const tookMs = now() - this.#start
    const totalMs = isStream ? this.#streamMs : this.#plainMs
    const { firstTokenMs = totalMs } = this.#limits
    if (isStream && firstTokenMs < totalMs && tookMs > firstTokenMs)
      this.#fire('first-token', firstTokenMs)
    else if (tookMs > totalMs) this.#fire('total', totalMs)
    return this.aborted
  }

  /** The stream has begun. */
  #watch(stream: Stream<unknown>): void {
    this.#partial?.stop()
    if (this.#totalMs !== this.#streamMs) {
      this.#totalMs = this.#streamMs
      deadlines.clear(this)
      this.#setTotal()
    }
    const { idleMs } = this.#limits
    if (idleMs !== undefined) this.#watchSilence(stream, idleMs, idleMs)
    stream.onEnd(this)
  }

  #watchSilence(stream: Stream<unknown>, idleMs: number, afterMs: number): void {
    this.#partial = new Timer(afterMs, () => {
      const { waitingSince } = stream
      const waitedMs = waitingSince === 0 ? 0 : now() - waitingSince
      if (waitedMs >= idleMs) this.#fire('idle', idleMs)
      else this.#watchSilence(stream, idleMs, idleMs - waitedMs)
    })
  }
}
