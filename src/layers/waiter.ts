import { type Context, TimeoutError } from '../core/index.js'
import { WaitingCall } from './waiting-call.js'

/** Where a call waits. */
interface Room<Ticket> {
  readonly layer: string
  /** Maximum wait. Milliseconds. */
  readonly maxWaitMs: number
  leave(waiter: Waiter<Ticket>, priority: number): void
}

/** One call while it waits in a `WaitingRoom`. */
export class Waiter<Ticket = undefined> extends WaitingCall {
  readonly ticket: Ticket | undefined
  readonly #room: Room<Ticket>
  readonly #resolve: () => void
  readonly #reject: (reason: unknown) => void

  constructor(
    room: Room<Ticket>,
    context: Context,
    since: number,
    ticket: Ticket | undefined,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    super(context, since)
    this.#room = room
    this.ticket = ticket
    this.#resolve = resolve
    this.#reject = reject
  }

  protected get layer(): string {
    return this.#room.layer
  }

  protected get maxWaitMs(): number {
    return this.#room.maxWaitMs
  }

  protected timeUp(waitedMs: number, cause: unknown): Error {
    return new TimeoutError(waitedMs, { phase: 'queue', layer: this.layer, cause })
  }

  /** Its turn has come. */
  call(): void {
    this.#leave()
    this.#resolve()
  }

  refuse(reason: unknown): void {
    this.#leave()
    this.#reject(reason)
  }

  #leave(): void {
    this.#room.leave(this, this.context.priority)
    this.left()
  }
}
