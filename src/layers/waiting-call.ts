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

/** The moment at which a call gives up that has waited since `since`. */
export function giveUpAt(context: Context, since: number, maxWaitMs: number): number {
  return Math.min(context.deadline - TOO_LATE_MS, since + maxWaitMs)
}

/**
 * One call while it waits in a list. It goes without its turn when it has waited as long as it may,
 * when its caller aborts it, or when its stack closes.
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
  /** Longest wait. Milliseconds. */
  protected abstract readonly maxWaitMs: number
  /** Why it goes when it has waited as long as it may. `cause`: the limit further out that passed. */
  protected abstract timeUp(waitedMs: number, cause: unknown): Error
  /** It goes without its turn, and rejects with the reason. */
  abstract refuse(reason: unknown): void

  /** From now on it leaves by itself when it must. */
  watch(): void {
    const { closing, cancel } = this.context
    closing.add(this)
    if (this.isWaiting) cancel.add(this)
    if (this.isWaiting) this.#waitUntil(this.limit)
  }

  get isWaiting(): boolean {
    return this.list !== undefined
  }

  /** The moment at which it gives up. The deadline of shared work moves when callers join it. */
  get limit(): number {
    return giveUpAt(this.context, this.#since, this.maxWaitMs)
  }

  /** Its caller has aborted it, or its stack closes. */
  abort(): void {
    const { cancel } = this.context
    if (!cancel.aborted) {
      const sentence = 'The stack was closed while the call waited for its turn.'
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

  /** It has left its list. */
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
