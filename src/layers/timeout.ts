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
   * Limits the time from the call to the end of its answer. Milliseconds, at least 1. A function
   * returns the limit for each request (`Infinity` for none); if it returns anything else, the call
   * fails with `CONFIG`.
   * @default none
   */
  ms?: number | ((request: unknown) => number) | undefined
  /**
   * The same limit for answers that are streams, until their last chunk. Milliseconds. @default
   * `ms`
   */
  streamMs?: number | undefined
  /**
   * Limits the time from the call to the first token of a stream (its commit). Milliseconds.
   * @default none
   */
  firstTokenMs?: number | undefined
  /**
   * Limits the silence of a stream while its reader waits. Heartbeats count as silence; a slow
   * reader does not. Milliseconds.
   * @default none
   */
  idleMs?: number | undefined
  /** The layer's name and its key in `stats()`. @default 'timeout' */
  name?: Name | undefined
}

/** Counters of `timeout()`. */
export interface TimeoutStats {
  /** Calls ended by a time limit. */
  readonly fired: number
}

/**
 * Ends a call whose answer is not complete in time, and aborts its work. At least one limit is
 * required. An abort by the caller passes through unchanged.
 *
 * The base's `streams` trait decides between `ms` and `streamMs`. Without that trait, the longer
 * limit applies until the form of the answer is known; then the right one applies, measured from
 * the call's start.
 *
 * @throws ConfigError (`CONFIG`) when no limit is given
 * @throws TimeoutError (`TIMEOUT`, status 504), with `phase` and `ms`. A stream that is being read
 * fails with it.
 * @example timeout({ ms: 30_000, firstTokenMs: 10_000, idleMs: 20_000 })
 * @see https://www.pollydocs.org/strategies/timeout which also passes the caller's cancellation on
 * unchanged
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
    throw new ConfigError(
      'timeout: give at least one of the options "ms", "streamMs", "firstTokenMs" and "idleMs".',
      {
        layer: 'timeout',
      },
    )
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

/** The rule for what the function `ms` returns. */
const RETURNED = { 'ms()': rules.required(rules.duration<undefined>(undefined)) }

/** The limits of one `timeout()`. */
class Limits {
  readonly layer: string
  readonly firstTokenMs: number | undefined
  readonly idleMs: number | undefined
  /** Whether limits depend on the form of the answer. */
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

  /** The limit for an answer that is not a stream. */
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

/** One call and its limits: a cancellation that follows the caller's. */
class TimedCall extends Cancel implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #limits: Limits
  readonly #context: Context
  readonly #resolve: Resolve
  readonly #reject: (error: unknown) => void
  readonly #start = now()
  readonly #plainMs: number
  /** Whether the request asks for a stream; undefined when unknown. */
  readonly #streams: boolean | undefined
  /** The current limit on the whole answer. */
  #totalMs: number
  /** The timer for the first token, and then for the gaps. */
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

  /** The time for the whole answer is over. @internal */
  expire(): void {
    this.#fire('total', this.#totalMs)
  }

  /** Rejects the call immediately, whether or not the work stops. */
  override abort(reason: unknown): void {
    super.abort(reason)
    this.ended()
    this.#reject(reason)
  }

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

  /** Checks an answer whose limits depend on its form, now that the form is known. */
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

  /** The stream has started. */
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
