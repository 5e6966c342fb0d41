import { TimeoutError } from '../errors.js'
import { isObserved } from '../events/index.js'
import { isNotes, Trace } from '../events/trace.js'
import { proceed } from '../follow.js'
import { COMPLETE, type Stream, type StreamEnd, streamOf } from '../stream/index.js'
import { type Expiring, NOT_WAITING } from '../time/deadline-heap.js'
import { deadlines } from '../time/deadlines.js'
import { type CallOptions, type Handler, TELEMETRY, type TelemetryNote } from '../types.js'
import { runHook } from '../warn.js'
import { CallContext } from './context.js'
import { type CheckedOptions, NO_OPTIONS, readOptions } from './options.js'
import type { StackScope } from './settings.js'

/** Settles the promise of a call. */
export interface Settlers {
  resolve(answer: unknown): void
  reject(error: unknown): void
}

/** One call, from its start to the end of its answer. */
export class Call extends CallContext implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #options: CheckedOptions
  readonly #settlers: Settlers
  /** The deadline that the timer is set to. */
  #due = 0

  private constructor(stack: StackScope, options: CheckedOptions, settlers: Settlers) {
    super(stack, options, options.meta)
    this.#options = options
    this.#settlers = settlers
  }

  /** Starts a call, or rejects if it cannot run. Errors it throws also reject the call. */
  static begin(
    stack: StackScope,
    handler: Handler<never, unknown>,
    request: unknown,
    given: CallOptions | undefined,
    settlers: Settlers,
  ): void {
    if (stack.closing.aborted) return settlers.reject(stack.closing.reason)
    const options = given === undefined ? NO_OPTIONS : readOptions(given)
    const { parent, limitMs } = options
    if (parent?.aborted) return settlers.reject(parent.reason)
    if (limitMs <= 0) return settlers.reject(new TimeoutError(0, { phase: 'queue' }))
    const call = new Call(stack, options, settlers)
    parent?.add(call)
    // An abort may become known only when a listener is added.
    if (call.aborted) return call.ended()
    call.#run(handler as Handler, request)
  }

  get deadline(): number {
    return this.#options.deadline
  }

  /** The caller has aborted, the stack has cut the call, or its deadline has passed. */
  override abort(reason: unknown): void {
    if (this.aborted) return
    super.abort(reason)
    // The work may never react to the abort, so release now what the call holds outside it.
    this.trace?.end({ outcome: 'failed', error: reason }, this)
    this.#release()
    this.#settlers.reject(reason)
  }

  /** The call's own time limit has passed. @internal */
  expire(): void {
    // The deadline moves when the call belongs to another stack's shared work.
    if (this.deadline > this.#due) return this.#waitForDeadline()
    const ms = this.#options.limitMs
    this.trace?.timeout(undefined, 'total', ms)
    this.abort(new TimeoutError(ms))
  }

  ended(end: StreamEnd = COMPLETE): void {
    this.trace?.end(end, this)
    this.#release()
    this.stack.running.delete(this)
  }

  #run(handler: Handler, request: unknown): void {
    this.#waitForDeadline()
    const trace = this.#observe(request)
    try {
      const answer =
        trace === undefined ? handler(request, this) : trace.run(() => handler(request, this))
      void proceed(
        answer,
        (given) => this.#answered(given),
        (error) => this.#failed(error),
      )
    } catch (error) {
      this.#failed(error)
    }
  }

  #waitForDeadline(): void {
    this.#due = this.deadline
    if (this.#due !== Number.POSITIVE_INFINITY) deadlines.set(this, this.#due)
  }

  #observe(request: unknown): Trace | undefined {
    const { trace: parent, attempt, isTimed, meta, tenant } = this.#options
    const { base, listeners } = this.stack
    const onEvent = listeners.current ?? parent?.onEvent
    if (!isTimed && onEvent === undefined && !isObserved()) return undefined
    const timed = isTimed ? meta : undefined
    const trace = new Trace({ base, request, tenant, onEvent, parent, attempt, meta: timed })
    this.trace = trace
    trace.begin()
    const { id, traceId } = trace
    if (traceId !== undefined || (meta !== undefined && isNotes(meta))) {
      const note: TelemetryNote = { call: id, traceId }
      runHook('meta.set()', () => this.meta.set(TELEMETRY, note))
    }
    return trace
  }

  #answered(answer: unknown): void {
    let stream: Stream<unknown> | undefined
    try {
      stream = streamOf(answer)
    } catch (error) {
      return this.#failed(error)
    }
    if (stream === undefined) this.ended()
    else {
      stream.abortWith(this)
      stream.limitUnread(this.stack.base.unreadMs)
      this.trace?.handOut(stream.ended === undefined || stream.buffered > 0)
      stream.onEnd(this)
    }
    this.#settlers.resolve(stream ?? answer)
  }

  #failed(error: unknown): void {
    this.ended({ outcome: 'failed', error })
    this.#settlers.reject(error)
  }

  #release(): void {
    deadlines.clear(this)
    this.#options.parent?.remove(this)
  }
}
