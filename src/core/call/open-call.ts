import { TimeoutError } from '../errors.js'
import { isObserved } from '../events/index.js'
import { Trace } from '../events/trace.js'
import { COMPLETE, type StreamEnd } from '../stream/index.js'
import type { Alarm, AlarmListener, Alarms } from '../time/alarms.js'
import { Cancel } from '../time/cancel.js'
import { Scope } from '../time/scope.js'
import { Timer } from '../time/timer.js'
import type { BaseFacts, CallOptions } from '../types.js'
import { Call, CallContext } from './context.js'
import { NO_OPTIONS, readOptions } from './options.js'
import { type Running, Work } from './running.js'

/**
 * Opens a call: whom it obeys, its deadline's timer, its place among the running. Rejects and gives
 * undefined when it cannot run.
 */
export function openCall(
  facts: BaseFacts,
  closing: Cancel,
  running: Running,
  alarms: Alarms,
  options: CallOptions | undefined,
  reject: (error: unknown) => void,
): OpenCall | undefined {
  const checked = options === undefined ? NO_OPTIONS : readOptions(options)
  const { parent, deadline, asked, priority, tenant, cache, meta, transport } = checked
  if (parent?.aborted) {
    reject(parent.reason)
    return undefined
  }
  let left = Number.POSITIVE_INFINITY
  if (deadline !== left) {
    left = deadline - performance.now()
    if (left <= 0) {
      reject(new TimeoutError(0, { phase: 'queue' }))
      return undefined
    }
  }
  const cancel = parent === undefined ? new Cancel() : new Scope(parent)
  const call = new Call(facts, closing, running, deadline, meta)
  const context = new CallContext(
    call,
    cancel,
    Number.POSITIVE_INFINITY,
    priority,
    tenant,
    cache,
    transport,
  )
  const open = new OpenCall(context, reject)
  running.add(open)
  cancel.add(open)
  // A signal may tell of its abort only when it is listened to.
  if (cancel.aborted) {
    open.end()
    return undefined
  }
  // A duration is most often the same for all calls, and what is left until a moment never is.
  if (asked !== undefined) open.alarm = alarms.set(asked, new Deadline(open, asked))
  else if (deadline !== Number.POSITIVE_INFINITY)
    open.alarm = new Timer(left, () => open.expire(left))
  const onEvent = facts.onEvent ?? checked.trace?.onEvent
  if (checked.isTimed || onEvent !== undefined || isObserved()) {
    call.trace = new Trace({
      stack: facts.name,
      onEvent,
      parent: checked.trace,
      meta: checked.isTimed ? meta : undefined,
    })
    call.trace.begin()
  }
  return open
}

/** A call from its beginning to the end of its answer. */
class OpenCall extends Work {
  readonly context: CallContext
  alarm: Alarm | undefined = undefined
  readonly #reject: (error: unknown) => void

  constructor(context: CallContext, reject: (error: unknown) => void) {
    super()
    this.context = context
    this.#reject = reject
  }

  /**
   * From `close()`, and from the call's own cancellation. The work may ignore it for ever; what the
   * call holds outside is given back now.
   */
  abort(reason: unknown): void {
    const { cancel } = this.context
    if (!cancel.aborted) return cancel.abort(reason)
    this.trace?.end({ outcome: 'failed', error: reason }, cancel)
    this.#release()
    this.#reject(reason)
  }

  /** Its own limit has passed. */
  expire(ms: number): void {
    const { cancel } = this.context
    if (!cancel.aborted) this.trace?.timeout(undefined, 'total', ms)
    cancel.abort(new TimeoutError(ms))
  }

  end(end: StreamEnd = COMPLETE): void {
    this.trace?.end(end, this.context.cancel)
    this.#release()
    this.context.call.running.delete(this)
  }

  get trace(): Trace | undefined {
    return this.context.call.trace
  }

  #release(): void {
    this.alarm?.stop()
    const { cancel } = this.context
    if (cancel instanceof Scope) cancel.dispose()
  }
}

class Deadline implements AlarmListener {
  readonly #call: OpenCall
  readonly #ms: number

  constructor(call: OpenCall, ms: number) {
    this.#call = call
    this.#ms = ms
  }

  ring(): void {
    this.#call.expire(this.#ms)
  }
}
