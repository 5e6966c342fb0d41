import {
  type Context,
  type Follower,
  isStream,
  now,
  type StreamEnd,
  type TokenUsage,
  tap,
} from '../../core/index.js'
import type { Claim } from './fairness/index.js'
import type { ServiceTime } from './service-time.js'

/** Who gets the slot back. */
interface SlotOwner {
  ended(slot: Slot, end: StreamEnd, heldMs: number): void
}

/** What a running call holds, to the end of its answer. */
export class Slot implements Follower {
  readonly kind: ServiceTime
  readonly #queue: SlotOwner
  readonly #context: Context
  readonly #claim: Claim | undefined
  readonly #since = now()
  #usage: TokenUsage | undefined

  constructor(queue: SlotOwner, kind: ServiceTime, context: Context, claim: Claim | undefined) {
    this.#queue = queue
    this.kind = kind
    this.#context = context
    this.#claim = claim
  }

  answered<Answer>(answer: Answer): Answer {
    const { base } = this.#context
    if (this.#claim === undefined || !base.countsTokens) return answer
    if (isStream(answer)) return tap(answer, (chunk) => this.#see(base.usage(chunk)))
    this.#see(base.usage(answer))
    return answer
  }

  /** The last usage that is reported counts. */
  #see(usage: TokenUsage | undefined): void {
    if (usage !== undefined) this.#usage = usage
  }

  ended(end: StreamEnd): void {
    this.#claim?.end(this.#usage)
    this.#queue.ended(this, end, now() - this.#since)
  }
}
