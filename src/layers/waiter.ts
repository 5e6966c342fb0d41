import {
  type AbortListener,
  ClosedError,
  type Context,
  deadlines,
  type Expiring,
  Link,
  NOT_WAITING,
  now,
  TimeoutError,
} from '../core/index.js'

/**
 * A call whose turn comes in the last moment before its deadline is refused: who watches the deadline
 * further out cannot tell that it never ran. Node's timers have a grain of 1 ms at each end.
 */
const TOO_LATE_MS = 2

/** Where a call waits. */
interface Room<Ticket> {
  readonly layer: string
  /** Longest wait. Milliseconds. */
  readonly maxWaitMs: number
  leave(waiter: Waiter<Ticket>, priority: number): void
}

/** The moment at which a call gives up that has waited since `since`. */
export function giveUpAt(context: Context, since: number, maxWaitMs: number): number {
  return Math.min(context.deadline - TOO_LATE_MS, since + maxWaitMs)
}

/** One call while it waits. */
export class Waiter<Ticket = undefined> extends Link implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly ticket: Ticket | undefined
  readonly #room: Room<Ticket>
  readonly #context: Context
  readonly #resolve: () => void
  readonly #reject: (reason: unknown) => void
  readonly #since: number
  #limit = Number.POSITIVE_INFINITY

  constructor(
    room: Room<Ticket>,
    context: Context,
    since: number,
    ticket: Ticket | undefined,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    super()
    this.#room = room
    this.#context = context
    this.#since = since
    this.ticket = ticket
    this.#resolve = resolve
    this.#reject = reject
  }

  /** From now on it leaves by itself when it must. */
  watch(): void {
    const { closing, cancel } = this.#context
    closing.add(this)
    if (this.#isWaiting) cancel.add(this)
    if (this.#isWaiting) this.#waitUntil(this.limit)
  }

  /** Its turn has come. */
  call(): void {
    this.#leave()
    this.#resolve()
  }

  /** Its caller has aborted it, or its stack closes. */
  abort(): void {
    const { cancel } = this.#context
    if (!cancel.aborted) {
      const sentence = 'The stack was closed while the call waited for its turn.'
      this.refuse(new ClosedError(sentence, { layer: this.#room.layer }))
    } else if (cancel.reason instanceof TimeoutError) this.#tooLate(cancel.reason)
    else this.refuse(cancel.reason)
  }

  expire(): void {
    const { limit } = this
    if (limit > this.#limit) this.#waitUntil(limit)
    else this.#tooLate()
  }

  /** The moment at which it gives up. The deadline of shared work moves when callers join it. */
  get limit(): number {
    return giveUpAt(this.#context, this.#since, this.#room.maxWaitMs)
  }

  get #isWaiting(): boolean {
    return this.list !== undefined
  }

  #waitUntil(limit: number): void {
    this.#limit = limit
    if (limit === Number.POSITIVE_INFINITY) return
    if (limit > now()) deadlines.set(this, limit)
    else this.#tooLate()
  }

  #tooLate(cause?: unknown): void {
    const { layer } = this.#room
    this.refuse(new TimeoutError(now() - this.#since, { phase: 'queue', layer, cause }))
  }

  /** It goes without its turn, and rejects with the reason. */
  refuse(reason: unknown): void {
    this.#leave()
    this.#reject(reason)
  }

  #leave(): void {
    const context = this.#context
    this.#room.leave(this, context.priority)
    deadlines.clear(this)
    context.closing.remove(this)
    context.cancel.remove(this)
    const waitedMs = now() - this.#since
    context.addWait(waitedMs)
    context.trace?.queued(this.#room.layer, waitedMs)
  }
}
