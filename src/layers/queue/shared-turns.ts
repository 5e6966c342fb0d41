import { now, type SharedSlots, Timer } from '../../core/index.js'
import { WaitingRoom, type WaitingRoomOptions } from '../waiting-room.js'
import type { QueuedCall } from './queued-call.js'
import { Slot } from './slot.js'

/** While calls wait, the others are asked at least so often. Milliseconds. */
const POLL_MS = 250

/**
 * So many asks in a row without an answer, and processes have begun calls that the others do not know
 * of. For so long after that each keeps to its part, until all of them are known. Milliseconds.
 */
const OUTAGE = 3
const SETTLE_MS = 6_000

/** What the turns must know of their queue. */
export interface TurnsOwner {
  /** Calls in progress in this process. */
  readonly running: number
  /** How many may be in all processes together. */
  readonly concurrency: number
  /** Calls that wait for their turn. */
  readonly waiting: number
  /** Lets those begin whose turn it is, as far as they may. */
  callWaiting(): void
  /** Whether a call that has just come may begin when there is a slot. */
  mayBegin(call: QueuedCall): boolean
  /** It begins. */
  pass(call: QueuedCall): void
}

type RoomOptions = Pick<WaitingRoomOptions, 'layer' | 'maxWaitMs'>

/**
 * Slots that a queue has together with those of other processes. The queue decides who is next, and
 * this whether one may begin: each slot that is given goes to whoever is next by then, or back.
 */
export class SharedTurns {
  readonly #slots: SharedSlots
  readonly #owner: TurnsOwner
  /** Calls that have just come, until the others have been asked. */
  readonly #door: WaitingRoom<QueuedCall>
  /** For whoever begins next. Nobody leaves it here. */
  #inHand: Slot | undefined
  /** Whether the others are being asked for a call that waits. */
  #isAsking = false
  #mustAskAgain = false
  /** Whether they may keep a place for this process. */
  #isInLine = false
  #poll: Timer | undefined
  /** Asks without an answer, in a row. */
  #unanswered = 0
  #settlesAt = 0

  constructor(slots: SharedSlots, owner: TurnsOwner, { layer, maxWaitMs }: RoomOptions) {
    this.#slots = slots
    this.#owner = owner
    this.#door = new WaitingRoom({ layer, maxWaiting: Number.POSITIVE_INFINITY, maxWaitMs })
    slots.watch(() => this.#askAgain())
  }

  /** Calls that have just come. */
  get asking(): number {
    return this.#door.waiting
  }

  /** How many of the slots this process can count on while calls wait. */
  get share(): number {
    const { running, concurrency } = this.#owner
    return Math.max(running, concurrency / this.#slots.processes)
  }

  get hasSlot(): boolean {
    return this.#inHand !== undefined
  }

  /** The call begins: it has the slot in hand. */
  use(call: QueuedCall): Slot {
    const slot = this.#inHand as Slot
    this.#inHand = undefined
    slot.context = call.context
    return slot
  }

  giveBack(slot: Slot): void {
    this.#slots.giveBack(slot)
    // Nobody tells those who wait here, so they are not kept from asking.
    if (this.#unanswered > 0 || this.#isSettling) this.#stopPoll()
  }

  /**
   * Asks for a slot for a call that has just come. Resolves when that is known: if there was one, it
   * has begun. Rejects like `WaitingRoom.wait()`.
   */
  ask(call: QueuedCall): Promise<void> {
    const known = this.#door.wait(call.context, call.arrivedAt, call)
    void this.#askFor(call)
    return known
  }

  async #askFor(call: QueuedCall): Promise<void> {
    const slot = new Slot(call.context)
    this.#receive(slot, await this.#slots.take(slot, this.#owner.concurrency, 0))
    // Who waits by now has come before.
    this.#owner.callWaiting()
    // It may have left: then the next one is the first to be told.
    const waiter = this.#door.next()
    if (waiter !== undefined) {
      const first = waiter.ticket as QueuedCall
      if (this.hasSlot && this.#owner.mayBegin(first)) this.#owner.pass(first)
      waiter.call()
    }
    this.#putBack()
  }

  /** Calls wait: sees to it that they get slots. */
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

  /** No call can begin that waits. */
  rest(): void {
    this.#stopPoll()
    this.#leaveLine()
  }

  #leaveLine(): void {
    if (!this.#isInLine || this.#isAsking) return
    this.#isInLine = false
    this.#slots.leave()
  }

  /** Whether there is a slot now for whoever is next. */
  #receive(slot: Slot, reply: boolean | null): boolean {
    if (reply === null) this.#unanswered++
    else {
      if (this.#unanswered >= OUTAGE) this.#settlesAt = now() + SETTLE_MS
      this.#unanswered = 0
    }
    if (reply === false) return false
    slot.isAlone = reply === null
    const mayBegin = (reply === true && !this.#isSettling) || this.#hasPart
    if (mayBegin) this.#inHand = slot
    else this.#slots.giveBack(slot)
    return mayBegin
  }

  get #isSettling(): boolean {
    return now() < this.#settlesAt
  }

  /** Whether fewer run than this process may have without the others. */
  get #hasPart(): boolean {
    const { running, concurrency } = this.#owner
    return running < Math.max(1, Math.floor(concurrency / this.#slots.processes))
  }

  /** Nobody has begun with it. */
  #putBack(): void {
    if (this.#inHand !== undefined) this.#slots.giveBack(this.#inHand)
    this.#inHand = undefined
  }
}
