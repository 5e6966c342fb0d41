import type { Trace } from '../events/trace.js'
import { Cancel } from '../time/cancel.js'
import type {
  BaseFacts,
  CacheMode,
  Context,
  ContextPatch,
  SharedWork,
  Transport,
} from '../types.js'
import { type Running, Work } from './running.js'

/** What all contexts of one call share. */
export class Call {
  readonly base: BaseFacts
  readonly closing: Cancel
  readonly running: Running
  /** Of shared work it moves as callers come and go; of a caller's own call it stays. */
  deadline: number
  /** Set when somebody listens. Shared work goes on under the name of the call that began it. */
  trace: Trace | undefined = undefined
  #meta: Map<string, unknown> | undefined
  #identity: { readonly of: unknown; readonly key: string | undefined } | undefined

  constructor(
    base: BaseFacts,
    closing: Cancel,
    running: Running,
    deadline: number,
    meta: Map<string, unknown> | undefined,
  ) {
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

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    // A base that has told its own key may tell the uses apart, and knows best what to remember.
    if (this.base.scope === '') return this.base.key(request, use)
    if (this.#identity === undefined || this.#identity.of !== request)
      this.#identity = { of: request, key: this.base.key(request, use) }
    return this.#identity.key
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

  get trace(): Trace | undefined {
    return this.call.trace
  }

  get base(): BaseFacts {
    return this.call.base
  }

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    return this.call.keyOf(request, use)
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
    const { base, closing, running, trace } = this.call
    const call = new Call(base, closing, running, Number.POSITIVE_INFINITY, undefined)
    call.trace = trace
    const cancel = new Cancel()
    const context = new CallContext(
      call,
      cancel,
      Number.POSITIVE_INFINITY,
      this.priority,
      this.tenant,
      this.cache,
      this.transport,
    )
    const work = new DetachedWork(context, call)
    running.add(work)
    return work
  }
}

class DetachedWork extends Work implements SharedWork {
  readonly context: CallContext
  readonly #call: Call
  // Most work has one caller ever, who needs no collection. Places, not contexts: one call may ask
  // for the same work twice.
  #first: Place | undefined
  #more: Set<Place> | undefined
  #over = false

  constructor(context: CallContext, call: Call) {
    super()
    this.context = context
    this.#call = call
  }

  get callers(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#more?.size ?? 0)
  }

  join(caller: Context): (reason?: unknown) => void {
    const place: Place = { caller }
    if (this.#first === undefined) this.#first = place
    else {
      this.#more ??= new Set()
      this.#more.add(place)
    }
    this.#settleDeadline()
    return (reason) => this.#leave(place, reason)
  }

  #leave(place: Place, reason: unknown): void {
    if (this.#over) return
    if (this.#first === place) this.#first = undefined
    else if (!this.#more?.delete(place)) return
    if (this.callers > 0) return this.#settleDeadline()
    this.abort(
      reason ?? new DOMException('Everybody who waited for this work has left.', 'AbortError'),
    )
  }

  abort(reason: unknown): void {
    this.context.cancel.abort(reason)
  }

  #settleDeadline(): void {
    let latest = this.#first?.caller.deadline ?? 0
    if (this.#more) for (const { caller } of this.#more) latest = Math.max(latest, caller.deadline)
    this.#call.deadline = latest
  }

  tell(caller: Context): void {
    const notes = this.#call.notes
    if (notes) for (const [name, note] of notes) caller.meta.set(name, note)
  }

  end(): void {
    this.#over = true
    this.#call.running.delete(this)
  }
}

interface Place {
  readonly caller: Context
}
