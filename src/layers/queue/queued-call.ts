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

/** Whose calls they are. */
interface CallOwner {
  /** The answer has begun. */
  answered(call: QueuedCall): void
  ended(call: QueuedCall, end: StreamEnd): void
}

/** One call, from its coming to the end of its answer. */
export class QueuedCall implements Follower {
  readonly request: unknown
  readonly context: Context
  readonly arrivedAt: number
  /** Its tenant's; undefined while no call has named one. */
  readonly claim: Claim | undefined
  readonly gate: Gate
  /** For the gate; undefined while it has not been let through. */
  pass: number | undefined
  /** Of those that are shared; undefined while it has none. */
  slot: Slot | undefined
  /** Whether it was let in to wait. */
  isAdmitted = false
  /** When it got its slot. */
  startedAt: number
  hasAnswer = false
  readonly #queue: CallOwner
  /** What it had waited for until then. */
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

  /** It has waited, and goes on. */
  start(): void {
    this.startedAt = now()
    this.#waitedBefore = this.context.waitedMs
  }

  /** How long it has held its slot, without what it has waited for further in. Milliseconds. */
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

  /** The last usage that is reported counts. */
  #see(usage: TokenUsage | undefined): void {
    if (usage !== undefined) this.#usage = usage
  }

  ended(end: StreamEnd): void {
    this.claim?.end(this.#usage)
    this.#queue.ended(this, end)
  }

  /** Its turn has come, and it does not run now. */
  giveBack(): void {
    this.claim?.cancel()
    this.leaveGate()
  }

  /** It does not run, or runs no more. */
  leaveGate(): void {
    if (this.pass !== undefined) this.gate.ended(this.pass)
    this.pass = undefined
  }
}
