import { Cancel } from './abort.js'
import type { Running } from './running.js'
import type { BaseFacts, CacheMode, Context, ContextPatch, SharedWork, Transport } from './types.js'

/** What all contexts of one call share. */
export class Call {
  readonly base: BaseFacts
  readonly closing: Cancel
  readonly running: Running
  /** Of shared work it moves as callers come and go; of a caller's own call it stays. */
  deadline: number
  #meta: Map<string, unknown> | undefined

  constructor(base: BaseFacts, closing: Cancel, running: Running, deadline: number, meta: Map<string, unknown> | undefined) {
    this.base = base
    this.closing = closing
    this.running = running
    this.deadline = deadline
    this.#meta = meta
  }

  get meta(): Map<string, unknown> {
    this.#meta ??= new Map()
    return this.#meta
  }

  /** The notes, if there are any. */
  get notes(): ReadonlyMap<string, unknown> | undefined {
    return this.#meta
  }
}

export class CallContext implements Context {
  readonly call: Call
  readonly cancel: Cancel
  readonly #limit: number
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined

  constructor(
    call: Call,
    cancel: Cancel,
    limit: number,
    priority: number,
    tenant: string | undefined,
    cache: CacheMode,
    transport: Transport | undefined,
  ) {
    this.call = call
    this.cancel = cancel
    this.#limit = limit
    this.priority = priority
    this.tenant = tenant
    this.cache = cache
    this.transport = transport
  }

  get signal(): AbortSignal {
    return this.cancel.signal
  }

  get closing(): Cancel {
    return this.call.closing
  }

  get deadline(): number {
    return Math.min(this.#limit, this.call.deadline)
  }

  get meta(): Map<string, unknown> {
    return this.call.meta
  }

  get base(): BaseFacts {
    return this.call.base
  }

  derive(patch: ContextPatch): CallContext {
    return new CallContext(
      this.call,
      patch.cancel ?? this.cancel,
      patch.deadline === undefined ? this.#limit : Math.min(this.#limit, patch.deadline),
      patch.priority ?? this.priority,
      this.tenant,
      this.cache,
      patch.transport ?? this.transport,
    )
  }

  detach(): SharedWork {
    const { base, closing, running } = this.call
    const call = new Call(base, closing, running, Number.POSITIVE_INFINITY, undefined)
    const cancel = new Cancel()
    running.add(cancel)
    const context = new CallContext(call, cancel, Number.POSITIVE_INFINITY, this.priority, this.tenant, this.cache, this.transport)
    return new DetachedWork(context, call)
  }
}

class DetachedWork implements SharedWork {
  readonly context: CallContext
  readonly #call: Call
  /** Places, not contexts: one call may ask for the same work twice. */
  readonly #callers = new Set<{ readonly caller: Context }>()
  #over = false

  constructor(context: CallContext, call: Call) {
    this.context = context
    this.#call = call
  }

  get callers(): number {
    return this.#callers.size
  }

  join(caller: Context): (reason?: unknown) => void {
    const place = { caller }
    this.#callers.add(place)
    this.#settleDeadline()
    return (reason) => {
      if (this.#over || !this.#callers.delete(place)) return
      if (this.#callers.size > 0) return this.#settleDeadline()
      this.context.cancel.abort(reason ?? new DOMException('Everybody who waited for this work has left.', 'AbortError'))
    }
  }

  #settleDeadline(): void {
    let latest = 0
    for (const { caller } of this.#callers) latest = Math.max(latest, caller.deadline)
    this.#call.deadline = latest
  }

  tell(caller: Context): void {
    const notes = this.#call.notes
    if (notes) for (const [name, note] of notes) caller.meta.set(name, note)
  }

  end(): void {
    this.#over = true
    this.#call.running.delete(this.context.cancel)
  }
}
