import {
  ANSWERED_BY,
  type Context,
  ELSEWHERE,
  type Follower,
  isOfOwnKey,
  isRecord,
  now,
  type StreamEnd,
  TimeoutError,
} from '../../core/index.js'
import { type Gate, refusalIn } from '../gate.js'
import type { Member } from './member.js'

/** What the pool remembers of one call, in its `meta`. */
interface Note {
  readonly member: number
  readonly failed: Set<number>
}

/** The pool that a lease belongs to. */
interface LeaseOwner {
  readonly name: string
  /** Upstream has accepted the call. */
  succeeded(): void
  /** A member is paused for longer than before. */
  paused(lease: Lease): void
  /** Whether another attempt of the call would go to a member that has not failed it yet. */
  hasOther(lease: Lease): boolean
  release(member: Member): void
}

interface LeaseOptions {
  model: string
  /** Whether the pool has several members. */
  hasOthers: boolean
  conversation: string | undefined
}

/** One call's use of a connection, from its arrival to the end of its answer. */
export class Lease implements Follower {
  readonly context: Context
  /** Selects the gate, if each model has its own. */
  readonly model: string
  /** Whether the call brings its own API key, so that no gate applies. */
  readonly isOfOwnKey: boolean
  /** Members that have failed this call. Undefined when there is only one member. */
  readonly failed: Set<number> | undefined
  /** Identifies the call's conversation, if affinity applies. */
  readonly conversation: string | undefined
  readonly arrivedAt: number
  readonly #pool: LeaseOwner
  readonly #request: unknown
  #member: Member | undefined
  #gate: Gate | undefined
  #pass = 0

  constructor(
    pool: LeaseOwner,
    request: unknown,
    context: Context,
    { model, hasOthers, conversation }: LeaseOptions,
  ) {
    this.#pool = pool
    this.#request = request
    this.context = context
    this.model = model
    this.conversation = conversation
    this.isOfOwnKey = context.base.ownKey(request) === true
    this.failed = hasOthers ? failedIn(context.meta.get(pool.name)) : undefined
    this.arrivedAt = now()
  }

  /** Whether the call may use this member and its gate is open. */
  mayGoTo(member: Member): boolean {
    if (this.context.elsewhere.includes(member.index)) return false
    return this.isOfOwnKey || member.gateOf(this.model).isOpen
  }

  /** Uses a connection of this member. */
  take(member: Member): void {
    this.#member = member
    member.active++
    if (this.isOfOwnKey) return
    this.#gate = member.gateOf(this.model)
    this.#pass = this.#gate.begin()
  }

  /** The context for inner layers. */
  get inward(): Context {
    const { index, transport } = this.#member as Member
    const { context, failed } = this
    if (failed) this.#note(index, failed)
    return context.derive({ transport })
  }

  #note(member: number, failed: Set<number>): void {
    const { meta } = this.context
    meta.set(this.#pool.name, { member, failed } satisfies Note)
    const by = meta.get(ANSWERED_BY)
    meta.set(ANSWERED_BY, { ...(isRecord(by) && by), member })
  }

  answered<Answer>(answer: Answer): Answer {
    this.#gate?.succeeded(this.#pass)
    this.#pool.succeeded()
    return answer
  }

  ended({ outcome, error }: StreamEnd): void {
    const member = this.#member as Member
    try {
      if (outcome === 'failed') this.#fail(member, error)
      else if (outcome === 'complete') member.succeeded()
    } finally {
      // An error from outside may be a proxy that throws when read.
      this.#gate?.ended(this.#pass)
      this.#pool.release(member)
    }
  }

  #fail(member: Member, error: unknown): void {
    const { cancel, meta } = this.context
    if (cancel.aborted && !(cancel.reason instanceof TimeoutError)) return
    if (isOfOwnKey(error, this.#request, this.context)) {
      // Another member would send the same key, so the requested wait applies to the next attempt
      // too.
      meta.set(ELSEWHERE, false)
      return
    }
    this.failed?.add(member.index)
    const refusal = refusalIn(error)
    if (refusal === undefined) member.failed(error)
    else this.#pause(refusal.retryAfter)
    // Tells outer layers that the pool itself pauses the member.
    if (refusal !== undefined || this.failed) meta.set(ELSEWHERE, this.#pool.hasOther(this))
  }

  #pause(retryAfter: number | undefined): void {
    const isLonger = this.#gate?.refused(this.#pass, retryAfter, !this.context.adapts)
    if (isLonger) this.#pool.paused(this)
  }
}

/** Members that have failed this call. The map may be the caller's own and contain anything. */
function failedIn(note: unknown): Set<number> {
  const failed = (note as Partial<Note> | null | undefined)?.failed
  return failed instanceof Set ? failed : new Set()
}
