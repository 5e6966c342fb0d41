import type { Trace } from '../events/trace.js'
import type { Linked } from '../linked-list.js'
import { Cancel } from '../time/cancel.js'
import type { BaseFacts } from '../traits.js'
import type {
  CacheMode,
  Context,
  ContextPatch,
  RetryAllowance,
  SharedWork,
  Transport,
} from '../types.js'
import type { Running, Work } from './running.js'

/** What all calls of a stack have in common. */
export interface StackScope {
  readonly base: BaseFacts
  /** Aborted when the stack begins to close. */
  readonly closing: Cancel
  readonly running: Running
}

/** What a caller has asked for beside the request. */
export interface CallSettings {
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined
}

/**
 * One call, or one piece of work that several calls share: its context, its cancellation, its
 * notes and its place among the running, as one object.
 */
export abstract class CallContext extends Cancel implements Context, Linked, Work {
  list: object | undefined = undefined
  before: Linked | undefined = undefined
  after: Linked | undefined = undefined
  readonly stack: StackScope
  /** Of shared work it moves as callers come and go; of a caller's own call it stays. */
  deadline: number
  readonly settings: CallSettings
  /** Set when somebody listens. Shared work goes on under the name of the call that began it. */
  trace: Trace | undefined = undefined
  waitedMs = 0
  #meta: Map<string, unknown> | undefined
  #asked: unknown
  #key: string | undefined

  constructor(
    stack: StackScope,
    deadline: number,
    settings: CallSettings,
    meta: Map<string, unknown> | undefined,
  ) {
    super()
    this.stack = stack
    this.deadline = deadline
    this.settings = settings
    this.#meta = meta
    stack.running.add(this)
  }

  get cancel(): Cancel {
    return this
  }

  get closing(): Cancel {
    return this.stack.closing
  }

  get base(): BaseFacts {
    return this.stack.base
  }

  get priority(): number {
    return this.settings.priority
  }

  get tenant(): string | undefined {
    return this.settings.tenant
  }

  get cache(): CacheMode {
    return this.settings.cache
  }

  get transport(): Transport | undefined {
    return this.settings.transport
  }

  get optional(): boolean {
    return false
  }

  get elsewhere(): readonly number[] {
    return NO_MEMBERS
  }

  get retryBudget(): RetryAllowance | undefined {
    return undefined
  }

  get adapts(): boolean {
    return false
  }

  addWait(ms: number): void {
    this.waitedMs += ms
  }

  get meta(): Map<string, unknown> {
    this.#meta ??= new Map()
    return this.#meta
  }

  /** The notes, if there are any. */
  get notes(): ReadonlyMap<string, unknown> | undefined {
    return this.#meta
  }

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    const { base } = this.stack
    // A base with a `key` of its own may distinguish the uses, and knows best what to remember.
    if (base.scope === '') return base.key(request, use)
    if (this.#asked !== request || request === undefined) {
      this.#asked = request
      this.#key = base.key(request, use)
    }
    return this.#key
  }

  derive(patch: ContextPatch): Context {
    return new DerivedContext(this, this, patch)
  }

  detach(): SharedWork {
    return detached(this, this)
  }
}

const NO_MEMBERS: readonly number[] = []

/** A context for the layers inside: what was changed, above the call that it belongs to. */
class DerivedContext implements Context {
  readonly #call: CallContext
  readonly cancel: Cancel
  readonly #limit: number
  readonly priority: number
  readonly transport: Transport | undefined
  readonly optional: boolean
  readonly elsewhere: readonly number[]
  readonly retryBudget: RetryAllowance | undefined
  readonly adapts: boolean

  constructor(
    call: CallContext,
    outer: Context,
    patch: ContextPatch,
    limit = Number.POSITIVE_INFINITY,
  ) {
    const { cancel, deadline, priority, transport } = patch
    this.#call = call
    this.cancel = cancel ?? outer.cancel
    this.#limit = deadline === undefined || deadline > limit ? limit : deadline
    this.priority = priority ?? outer.priority
    this.transport = transport ?? outer.transport
    this.optional = patch.optional ?? outer.optional
    this.elsewhere = patch.elsewhere ?? outer.elsewhere
    this.retryBudget = patch.retryBudget ?? outer.retryBudget
    this.adapts = patch.adapts ?? outer.adapts
  }

  get signal(): AbortSignal {
    return this.cancel.signal
  }

  get closing(): Cancel {
    return this.#call.closing
  }

  get deadline(): number {
    return Math.min(this.#limit, this.#call.deadline)
  }

  get meta(): Map<string, unknown> {
    return this.#call.meta
  }

  get base(): BaseFacts {
    return this.#call.base
  }

  get tenant(): string | undefined {
    return this.#call.tenant
  }

  get cache(): CacheMode {
    return this.#call.cache
  }

  get waitedMs(): number {
    return this.#call.waitedMs
  }

  addWait(ms: number): void {
    this.#call.addWait(ms)
  }

  get trace(): Trace | undefined {
    return this.#call.trace
  }

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    return this.#call.keyOf(request, use)
  }

  derive(patch: ContextPatch): Context {
    return new DerivedContext(this.#call, this, patch, this.#limit)
  }

  detach(): SharedWork {
    return detached(this.#call, this)
  }
}

function detached(call: CallContext, { priority, tenant, cache, transport }: Context): SharedWork {
  const work = new SharedCallWork(call.stack, { priority, tenant, cache, transport })
  work.trace = call.trace
  return work
}

/** Work that several callers share: a call of its own, with the latest of their deadlines. */
class SharedCallWork extends CallContext implements SharedWork {
  // Most work has one caller ever, who needs no collection. Places, not contexts: one call may ask
  // for the same work twice.
  #first: Place | undefined
  #more: Set<Place> | undefined
  #isOver = false

  constructor(stack: StackScope, settings: CallSettings) {
    super(stack, Number.POSITIVE_INFINITY, settings, undefined)
  }

  get context(): Context {
    return this
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
    if (this.#isOver) return
    if (this.#first === place) this.#first = undefined
    else if (!this.#more?.delete(place)) return
    if (this.callers > 0) return this.#settleDeadline()
    this.abort(reason ?? new DOMException(ABANDONED, 'AbortError'))
  }

  #settleDeadline(): void {
    let latest = this.#first?.caller.deadline ?? 0
    if (this.#more) for (const { caller } of this.#more) latest = Math.max(latest, caller.deadline)
    this.deadline = latest
  }

  tell(caller: Context): void {
    const { notes } = this
    if (notes) for (const [name, note] of notes) caller.meta.set(name, note)
  }

  end(): void {
    this.#isOver = true
    this.stack.running.delete(this)
  }
}

interface Place {
  readonly caller: Context
}

const ABANDONED = 'Aborted: every caller sharing this request has gone.'
