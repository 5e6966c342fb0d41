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
  /** The answer has begun. */
  answered(slot: Slot): void
  ended(slot: Slot, end: StreamEnd): void
}

/** What a running call holds, to the end of its answer. */
export class Slot implements Follower {
  /** Where its time is kept. */
  readonly times: ServiceTime
  readonly request: unknown
  readonly context: Context
  readonly since = now()
  hasAnswer = false
  readonly #queue: SlotOwner
  readonly #claim: Claim | undefined
  readonly #waitedBefore: number
  #usage: TokenUsage | undefined

  constructor(
    queue: SlotOwner,
    times: ServiceTime,
    request: unknown,
    context: Context,
    claim: Claim | undefined,
  ) {
    this.#queue = queue
    this.times = times
    this.request = request
    this.context = context
    this.#claim = claim
    this.#waitedBefore = context.waitedMs
  }

  /** How long it has been held, without what the call has waited for further in. Milliseconds. */
  get heldMs(): number {
    return now() - this.since - (this.context.waitedMs - this.#waitedBefore)
  }

  answered<Answer>(answer: Answer): Answer {
    this.hasAnswer = true
    this.#queue.answered(this)
    const { base } = this.context
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
    this.#queue.ended(this, end)
  }
}
