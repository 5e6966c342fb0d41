import type { Attempt } from '../events/attempt.js'
import type { Trace } from '../events/trace.js'
import type { Linked } from '../linked-list.js'
import { Cancel } from '../time/cancel.js'
import type { BaseFacts } from '../traits.js'
import type {
  CacheMode,
  Context,
  ContextPatch,
  Place,
  RetryAllowance,
  SharedWork,
  Transport,
} from '../types.js'
import { Places } from './places.js'
import type { Work } from './running.js'
import { type Branch, type CallSettings, type StackScope, settingsOf } from './settings.js'

/**
 * One call, or one piece of work that several calls share. A single object holds its context, its
 * cancellation, its notes and its place in the list of running work.
 */
export abstract class CallContext extends Cancel implements Context, Linked, Work {
  list: object | undefined = undefined
  before: Linked | undefined = undefined
  after: Linked | undefined = undefined
  readonly stack: StackScope
  /** Read it each time: the deadline of shared work moves as callers join and leave. */
  abstract readonly deadline: number
  readonly settings: CallSettings
  /** Set while somebody listens. Shared work uses the trace of the call that started it. */
  trace: Trace | undefined = undefined
  attempts = 0
  waitedMs = 0
  #meta: Map<string, unknown> | undefined
  #asked: unknown
  #key: string | undefined

  constructor(stack: StackScope, settings: CallSettings, meta: Map<string, unknown> | undefined) {
    super()
    this.stack = stack
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
    return this.settings.optional
  }

  get via(): string {
    return this.settings.via
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

  get attempt(): Attempt | undefined {
    return undefined
  }

  addWait(ms: number): void {
    this.waitedMs += ms
  }

  get meta(): Map<string, unknown> {
    this.#meta ??= new Map()
    return this.#meta
  }

  get notes(): ReadonlyMap<string, unknown> | undefined {
    return this.#meta
  }

  countAttempt(): void {
    this.attempts++
  }

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    const { base } = this.stack
    // A base with its own `key` may return different keys for the two uses, so ask it each time.
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

/** A context for inner layers: a patch on top of the call it belongs to. */
class DerivedContext implements Context {
  readonly #call: CallContext
  readonly cancel: Cancel
  readonly #limit: number
  readonly #branch: Branch | undefined
  readonly priority: number
  readonly transport: Transport | undefined
  readonly optional: boolean
  readonly elsewhere: readonly number[]
  readonly retryBudget: RetryAllowance | undefined
  readonly via: string
  readonly adapts: boolean
  readonly attempt: Attempt | undefined

  constructor(
    call: CallContext,
    outer: Context,
    patch: ContextPatch,
    limit = Number.POSITIVE_INFINITY,
    branch?: Branch,
  ) {
    const { cancel, deadline, priority, transport, meta } = patch
    this.#call = call
    this.cancel = cancel ?? outer.cancel
    this.#limit = deadline === undefined || deadline > limit ? limit : deadline
    this.#branch = meta === undefined ? branch : { meta, attempts: 0, outer: branch }
    this.priority = priority ?? outer.priority
    this.transport = transport ?? outer.transport
    this.optional = patch.optional ?? outer.optional
    this.elsewhere = patch.elsewhere ?? outer.elsewhere
    this.retryBudget = patch.retryBudget ?? outer.retryBudget
    this.via = patch.via ?? outer.via
    this.adapts = patch.adapts ?? outer.adapts
    this.attempt = patch.attempt ?? outer.attempt
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
    return this.#branch?.meta ?? this.#call.meta
  }

  get notes(): ReadonlyMap<string, unknown> | undefined {
    return this.#branch?.meta ?? this.#call.notes
  }

  get attempts(): number {
    return this.#branch?.attempts ?? this.#call.attempts
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

  countAttempt(): void {
    for (let branch = this.#branch; branch !== undefined; branch = branch.outer) branch.attempts++
    this.#call.countAttempt()
  }

  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined {
    return this.#call.keyOf(request, use)
  }

  derive(patch: ContextPatch): Context {
    return new DerivedContext(this.#call, this, patch, this.#limit, this.#branch)
  }

  detach(): SharedWork {
    return detached(this.#call, this)
  }
}

function detached(call: CallContext, context: Context): SharedWork {
  const settings = context === call ? call.settings : settingsOf(context)
  const work = new SharedCallWork(call, settings)
  work.trace = call.trace
  return work
}

/** Work that several callers share. It runs until the latest of their deadlines. */
class SharedCallWork extends CallContext implements SharedWork {
  readonly #places = new Places()
  /** `Infinity` before the first caller joins; the last known deadline after the last one left. */
  #deadline = Number.POSITIVE_INFINITY
  #isOver = false
  readonly #begunBy: CallContext

  constructor(begunBy: CallContext, settings: CallSettings) {
    super(begunBy.stack, settings, undefined)
    this.#begunBy = begunBy
  }

  get context(): Context {
    return this
  }

  /** Counts against the call that started the work, whoever has joined since. */
  override countAttempt(): void {
    super.countAttempt()
    this.#begunBy.countAttempt()
  }

  get callers(): number {
    return this.#places.count
  }

  get deadline(): number {
    return this.callers > 0 ? this.#places.latestDeadline : this.#deadline
  }

  join(place: Place): void {
    this.#places.add(place)
  }

  leave(place: Place, reason?: unknown): void {
    if (this.callers === 1) this.#deadline = this.deadline
    if (this.#isOver || !this.#places.remove(place)) return
    if (this.callers === 0) this.abort(reason ?? new DOMException(ABANDONED, 'AbortError'))
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

const ABANDONED = 'Aborted: every caller sharing this request has gone.'
