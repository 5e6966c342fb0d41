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
 * A call whose turn comes this close to its deadline is rejected. Otherwise an outer timeout could
 * end it without knowing that it never ran. Node's timers are accurate to 1 ms at each end.
 * Milliseconds.
 */
const TOO_LATE_MS = 2

/** When a call that has waited since `since` gives up. */
export function giveUpAt(context: Context, since: number, maxWaitMs: number): number {
  return Math.min(context.deadline - TOO_LATE_MS, since + maxWaitMs)
}

/**
 * One call while it waits in a list. It leaves without its turn when it has waited too long, when
 * its caller aborts, or when its stack closes.
 */
export abstract class WaitingCall extends Link implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly context: Context
  readonly #since: number
  #limit = Number.POSITIVE_INFINITY

  constructor(context: Context, since: number) {
    super()
    this.context = context
    this.#since = since
  }

  protected abstract readonly layer: string
  /** Maximum wait. Milliseconds. */
  protected abstract readonly maxWaitMs: number
  /** The error after waiting too long. `cause` is the outer time limit that passed, if any. */
  protected abstract timeUp(waitedMs: number, cause: unknown): Error
  /** Leaves without a turn, and rejects with the reason. */
  abstract refuse(reason: unknown): void

  /** Starts to watch for the limit, the abort and the close. */
  watch(): void {
    const { closing, cancel } = this.context
    closing.add(this)
    if (this.isWaiting) cancel.add(this)
    if (this.isWaiting) this.#waitUntil(this.limit)
  }

  get isWaiting(): boolean {
    return this.list !== undefined
  }

  /** When it gives up. The deadline of shared work moves as callers join. */
  get limit(): number {
    return giveUpAt(this.context, this.#since, this.maxWaitMs)
  }

  /** The caller has aborted, or the stack closes. */
  abort(): void {
    const { cancel } = this.context
    if (!cancel.aborted) {
      const sentence = 'Rejected: the stack was closed while the call was waiting for its turn.'
      this.refuse(new ClosedError(sentence, { layer: this.layer }))
    } else if (cancel.reason instanceof TimeoutError) this.#tooLate(cancel.reason)
    else this.refuse(cancel.reason)
  }

  expire(): void {
    const { limit } = this
    if (limit > this.#limit) this.#waitUntil(limit)
    else this.#tooLate()
  }

  #waitUntil(limit: number): void {
    this.#limit = limit
    if (limit === Number.POSITIVE_INFINITY) return
    if (limit > now()) deadlines.set(this, limit)
    else this.#tooLate()
  }

  #tooLate(cause?: unknown): void {
    this.refuse(this.timeUp(now() - this.#since, cause))
  }

  /** Called after leaving the list. */
  protected left(): void {
    const { closing, cancel, trace } = this.context
    deadlines.clear(this)
    closing.remove(this)
    cancel.remove(this)
    const waitedMs = now() - this.#since
    this.context.addWait(waitedMs)
    trace?.queued(this.layer, waitedMs)
  }
}
