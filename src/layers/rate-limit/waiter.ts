import { WaitingCall } from '../waiting-call.js'
import type { LimitedCall } from './limited-call.js'
import { waitedTooLong } from './refusals.js'
import type { Refusal, Reservation } from './store.js'

/** What a waiting call needs from its line. */
export interface Line {
  /** Name of the layer. */
  readonly layer: string
  /** Maximum wait. Milliseconds. */
  readonly maxWaitMs: number
  /** Why, and for how much longer, the first call waits. */
  readonly refusal: Refusal
  /** Returns whether the next call must ask, because the first one has left. */
  leave(waiter: Waiter): boolean
  serve(): void
}

/** One call while it waits in a `WaitingLine`. */
export class Waiter extends WaitingCall {
  readonly call: LimitedCall
  readonly #line: Line
  readonly #resolve: (reservation: Reservation) => void
  readonly #reject: (reason: unknown) => void

  constructor(
    line: Line,
    call: LimitedCall,
    since: number,
    resolve: (reservation: Reservation) => void,
    reject: (reason: unknown) => void,
  ) {
    super(call.context, since)
    this.#line = line
    this.call = call
    this.#resolve = resolve
    this.#reject = reject
  }

  protected get layer(): string {
    return this.#line.layer
  }

  protected get maxWaitMs(): number {
    return this.#line.maxWaitMs
  }

  protected timeUp(waitedMs: number, cause: unknown): Error {
    return waitedTooLong(this.#line.refusal, this.layer, waitedMs, cause)
  }

  /** Its turn has come. */
  admit(reservation: Reservation): void {
    this.#leave()
    this.#resolve(reservation)
  }

  /** Leaves the line without a turn. Returns whether the next call must ask. */
  fail(reason: unknown): boolean {
    const next = this.#leave()
    this.#reject(reason)
    return next
  }

  /** Leaves on its own. The next call may need less, so the line is served. */
  refuse(reason: unknown): void {
    if (this.fail(reason)) this.#line.serve()
  }

  #leave(): boolean {
    const next = this.#line.leave(this)
    this.left()
    return next
  }
}
