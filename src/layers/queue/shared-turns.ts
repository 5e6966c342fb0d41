import { now, type SharedSlots, Timer } from '../../core/index.js'
import { WaitingRoom, type WaitingRoomOptions } from '../waiting-room.js'
import type { QueuedCall } from './queued-call.js'
import { Slot } from './slot.js'

/** While calls wait, the shared state is asked at least this often. Milliseconds. */
const POLL_MS = 250

/**
 * After `OUTAGE` unanswered requests in a row, processes have started calls that the others do not
 * know of. For `SETTLE_MS` after that, each process keeps to its own part, until all of them are
 * known again. Milliseconds.
 */
const OUTAGE = 3
const SETTLE_MS = 6_000

/** What the shared turns need from their queue. */
export interface TurnsOwner {
  /** Number of calls in progress in this process. */
  readonly running: number
  /** Maximum number of calls in progress in all processes together. */
  readonly concurrency: number
  /** Number of waiting calls. */
  readonly waiting: number
  /** Starts waiting calls as far as possible. */
  callWaiting(): void
  /** Whether a new call may start if it gets a slot. */
  mayBegin(call: QueuedCall): boolean
  /** Starts a call. */
  pass(call: QueuedCall): void
}

type RoomOptions = Pick<WaitingRoomOptions, 'layer' | 'maxWaitMs'>

/**
 * Slots that a queue shares with those of other processes. The queue decides which call is next;
 * this class decides whether one may start. A slot that arrives goes to whichever call is next by
 * then, or back.
 */
export class SharedTurns {
  readonly #slots: SharedSlots
  readonly #owner: TurnsOwner
  /** New calls, while the shared state is asked for them. */
  readonly #arrivals: WaitingRoom<QueuedCall>
  /** A slot for the call that starts next. A method that receives one uses it or puts it back. */
  #received: Slot | undefined
  /** Whether a request for a waiting call is in progress. */
  #isAsking = false
  #mustAskAgain = false
  /** Whether the shared state may hold a place in line for this process. */
  #isInLine = false
  #poll: Timer | undefined
  /** Unanswered requests in a row. */
  #unanswered = 0
  #settlesAt = 0

  constructor(slots: SharedSlots, owner: TurnsOwner, { layer, maxWaitMs }: RoomOptions) {
    this.#slots = slots
    this.#owner = owner
    this.#arrivals = new WaitingRoom({ layer, maxWaiting: Number.POSITIVE_INFINITY, maxWaitMs })
    slots.watch(() => this.#askAgain())
  }

  /** Number of new calls. */
  get asking(): number {
    return this.#arrivals.waiting
  }

  /** How many slots this process can count on while calls wait. */
  get share(): number {
    const { running, concurrency } = this.#owner
    return Math.max(running, concurrency / this.#slots.processes)
  }

  get hasSlot(): boolean {
    return this.#received !== undefined
  }

  /** Starts a call with the received slot. */
  use(call: QueuedCall): Slot {
    const slot = this.#received as Slot
    this.#received = undefined
    slot.context = call.context
    return slot
  }

  giveBack(slot: Slot): void {
    this.#slots.giveBack(slot)
    // While the shared state is unreachable it reports no free slots, so ask without delay.
    if (this.#unanswered > 0 || this.#isSettling) this.#stopPoll()
  }

  /**
   * Requests a slot for a new call. Resolves when the reply is there; if a slot was free, the call
   * has started. Rejects like `WaitingRoom.wait()`.
   */
  ask(call: QueuedCall): Promise<void> {
    const known = this.#arrivals.wait(call.context, call.arrivedAt, call)
    void this.#askFor(call)
    return known
  }

  async #askFor(call: QueuedCall): Promise<void> {
    const slot = new Slot(call.context)
    this.#receive(slot, await this.#slots.take(slot, this.#owner.concurrency, 0))
    // Calls waiting by now came earlier.
    this.#owner.callWaiting()
    // The call may have left; then its slot goes to the next one.
    const waiter = this.#arrivals.next()
    if (waiter !== undefined) {
      const first = waiter.ticket as QueuedCall
      if (this.hasSlot && this.#owner.mayBegin(first)) this.#owner.pass(first)
      waiter.call()
    }
    this.#putBack()
  }

  /** Requests slots for waiting calls. */
  want(): void {
    if (this.#isAsking || this.#poll !== undefined) return
    if (!this.#isSettling || this.#hasPart) return void this.#askForWaiting()
    this.#leaveLine()
    this.#pollLater()
  }

  async #askForWaiting(): Promise<void> {
    this.#isAsking = true
    this.#isInLine = true
    this.#mustAskAgain = false
    const { waiting, concurrency } = this.#owner
    const slot = new Slot()
    const reply = await this.#slots.take(slot, concurrency, waiting)
    this.#isAsking = false
    if (reply === true && waiting === 1) this.#isInLine = false
    if (!this.#receive(slot, reply) && !this.#mustAskAgain) this.#pollLater()
    this.#owner.callWaiting()
    this.#putBack()
  }

  #pollLater(): void {
    this.#poll = new Timer(POLL_MS, () => this.#askAgain())
  }

  #askAgain(): void {
    this.#mustAskAgain = true
    this.#stopPoll()
    this.#owner.callWaiting()
  }

  #stopPoll(): void {
    this.#poll?.stop()
    this.#poll = undefined
  }

  /** No waiting call can start. */
  rest(): void {
    this.#stopPoll()
    this.#leaveLine()
  }

  #leaveLine(): void {
    if (!this.#isInLine || this.#isAsking) return
    this.#isInLine = false
    this.#slots.leave()
  }

  /** Stores a received slot. Returns whether a call may start with it. */
  #receive(slot: Slot, reply: boolean | null): boolean {
    if (reply === null) this.#unanswered++
    else {
      if (this.#unanswered >= OUTAGE) this.#settlesAt = now() + SETTLE_MS
      this.#unanswered = 0
    }
    if (reply === false) return false
    slot.isAlone = reply === null
    const mayBegin = (reply === true && !this.#isSettling) || this.#hasPart
    if (mayBegin) this.#received = slot
    else this.#slots.giveBack(slot)
    return mayBegin
  }

  get #isSettling(): boolean {
    return now() < this.#settlesAt
  }

  /** Whether fewer calls run than this process may have without the others. */
  get #hasPart(): boolean {
    const { running, concurrency } = this.#owner
    return running < Math.max(1, Math.floor(concurrency / this.#slots.processes))
  }

  /** Returns the slot if no call has started with it. */
  #putBack(): void {
    if (this.#received !== undefined) this.#slots.giveBack(this.#received)
    this.#received = undefined
  }
}
