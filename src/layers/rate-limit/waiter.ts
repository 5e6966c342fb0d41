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
} from '../../core/index.js'
import type { LimitedCall } from './limited-call.js'
import { waitedInVain } from './refusals.js'
import type { Refusal, Reservation } from './store.js'

/** What a waiting call needs of its line. */
export interface Line {
  /** Name of the layer. */
  readonly layer: string
  /** Why, and how much longer, the first one waits. */
  readonly refusal: Refusal
  /** The moment at which a call gives up that has waited since `since`. */
  limitOf(context: Context, since: number): number
  /** Returns whether the next one must ask, as the first one has left. */
  leave(waiter: Waiter): boolean
  serve(): void
}

/** One call while it waits. */
export class Waiter extends Link implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly call: LimitedCall
  readonly priority: number
  readonly #line: Line
  readonly #since: number
  readonly #resolve: (reservation: Reservation) => void
  readonly #reject: (reason: unknown) => void
  #limit = Number.POSITIVE_INFINITY

  constructor(
    line: Line,
    call: LimitedCall,
    since: number,
    resolve: (reservation: Reservation) => void,
    reject: (reason: unknown) => void,
  ) {
    super()
    this.#line = line
    this.call = call
    this.priority = call.context.priority
    this.#since = since
    this.#resolve = resolve
    this.#reject = reject
  }

  /** From now on it leaves by itself when it must. */
  watch(): void {
    const { closing, cancel } = this.call.context
    closing.add(this)
    if (this.isWaiting) cancel.add(this)
    if (this.isWaiting) this.#waitUntil(this.#line.limitOf(this.call.context, this.#since))
  }

  get isWaiting(): boolean {
    return this.list !== undefined
  }

  /** Its turn has come. */
  admit(reservation: Reservation): void {
    this.#leave()
    this.#resolve(reservation)
  }

  /** It leaves without its turn. Returns whether the next one must ask. */
  fail(reason: unknown): boolean {
    const next = this.#leave()
    this.#reject(reason)
    return next
  }

  /** Its caller has aborted it, or its stack closes. */
  abort(): void {
    const { cancel } = this.call.context
    if (!cancel.aborted) {
      const sentence = 'The stack was closed while the call waited for its limit.'
      this.#give(new ClosedError(sentence, { layer: this.#line.layer }))
    } else if (cancel.reason instanceof TimeoutError) this.#tooLate(cancel.reason)
    else this.#give(cancel.reason)
  }

  expire(): void {
    // The deadline of shared work moves when callers join it.
    const limit = this.#line.limitOf(this.call.context, this.#since)
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
    const { layer, refusal } = this.#line
    this.#give(waitedInVain(refusal, layer, now() - this.#since, cause))
  }

  /** By itself: the next one may take less. */
  #give(reason: unknown): void {
    if (this.fail(reason)) this.#line.serve()
  }

  #leave(): boolean {
    const { closing, cancel, trace } = this.call.context
    const next = this.#line.leave(this)
    deadlines.clear(this)
    closing.remove(this)
    cancel.remove(this)
    trace?.queued(this.#line.layer, now() - this.#since)
    return next
  }
}
