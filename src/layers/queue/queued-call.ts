import {
  type Context,
  type Follower,
  isStream,
  now,
  type StreamEnd,
  type TokenUsage,
  tap,
} from '../../core/index.js'
import type { Gate } from '../gate.js'
import type { Claim } from './fairness/index.js'
import type { Slot } from './slot.js'

/** The queue that a call belongs to. */
interface CallOwner {
  /** The answer has started. */
  answered(call: QueuedCall): void
  ended(call: QueuedCall, end: StreamEnd): void
}

/** One call, from its arrival to the end of its answer. */
export class QueuedCall implements Follower {
  readonly request: unknown
  readonly context: Context
  readonly arrivedAt: number
  /** The claim of its tenant; undefined while no call has named a tenant. */
  readonly claim: Claim | undefined
  readonly gate: Gate
  /** Its pass for the gate; undefined until it is let through. */
  pass: number | undefined
  /** Its shared slot; undefined while it has none. */
  slot: Slot | undefined
  /** Whether it was admitted to wait. */
  isAdmitted = false
  /** When it got its slot. */
  startedAt: number
  hasAnswer = false
  readonly #queue: CallOwner
  /** How long it had waited when it got its slot. */
  #waitedBefore: number
  #usage: TokenUsage | undefined

  constructor(
    queue: CallOwner,
    request: unknown,
    context: Context,
    claim: Claim | undefined,
    gate: Gate,
  ) {
    this.#queue = queue
    this.request = request
    this.context = context
    this.claim = claim
    this.gate = gate
    this.arrivedAt = now()
    this.startedAt = this.arrivedAt
    this.#waitedBefore = context.waitedMs
  }

  /** The wait is over, and the call continues. */
  start(): void {
    this.startedAt = now()
    this.#waitedBefore = this.context.waitedMs
  }

  /** How long it has held its slot, not counting waits further inward. Milliseconds. */
  get heldMs(): number {
    return now() - this.startedAt - (this.context.waitedMs - this.#waitedBefore)
  }

  answered<Answer>(answer: Answer): Answer {
    this.hasAnswer = true
    this.#queue.answered(this)
    const { base } = this.context
    if (this.claim === undefined || !base.countsTokens) return answer
    if (isStream(answer)) return tap(answer, (chunk) => this.#see(base.usage(chunk)))
    this.#see(base.usage(answer))
    return answer
  }

  /** The last reported usage counts. */
  #see(usage: TokenUsage | undefined): void {
    if (usage !== undefined) this.#usage = usage
  }

  ended(end: StreamEnd): void {
    this.claim?.end(this.#usage)
    this.#queue.ended(this, end)
  }

  /** Its turn came, but it does not run now. */
  giveBack(): void {
    this.claim?.cancel()
    this.leaveGate()
  }

  /** Leaves the gate: it will not run, or has ended. */
  leaveGate(): void {
    if (this.pass !== undefined) this.gate.ended(this.pass)
    this.pass = undefined
  }
}
