import { type SharedSlot, type SharedSlots, Timer } from '../../core/index.js'
import { WaitingRoom, type WaitingRoomOptions } from '../waiting-room.js'
import type { QueuedCall } from './queued-call.js'

/** While calls wait, the others are asked at least so often. Milliseconds. */
const POLL_MS = 250

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

/** A slot of all processes together, and the call that has it. */
export class Slot implements SharedSlot {
  call: QueuedCall | undefined
  /** The others could not be asked: this process has decided alone. */
  isAlone = false

  constructor(call?: QueuedCall) {
    this.call = call
  }

  get deadline(): number {
    return this.call?.context.deadline ?? 0
  }
}

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
  /** Whether the others could not be asked when it was last tried. */
  #isAlone = false

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
    slot.call = call
    return slot
  }

  giveBack(slot: Slot): void {
    this.#slots.giveBack(slot)
    // Nobody tells those who wait here, so they are not kept from asking.
    if (this.#isAlone) this.#stopPoll()
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
    const slot = new Slot(call)
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
    if (!this.#isAsking && this.#poll === undefined) void this.#askForWaiting()
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
    if (!this.#receive(slot, reply) && !this.#mustAskAgain)
      this.#poll = new Timer(POLL_MS, () => this.#askAgain())
    this.#owner.callWaiting()
    this.#putBack()
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
    if (!this.#isInLine || this.#isAsking) return
    this.#isInLine = false
    this.#slots.leave()
  }

  /** Whether there is a slot now for whoever is next. */
  #receive(slot: Slot, reply: boolean | null): boolean {
    this.#isAlone = reply === null
    slot.isAlone = reply === null && this.#mayDecide
    if (reply === true || slot.isAlone) this.#inHand = slot
    else if (reply === null) this.#slots.giveBack(slot)
    return this.hasSlot
  }

  /** Whether one more may begin without the others: each process has its part. */
  get #mayDecide(): boolean {
    const { running, concurrency } = this.#owner
    return running < Math.max(1, Math.floor(concurrency / this.#slots.processes))
  }

  /** Nobody has begun with it. */
  #putBack(): void {
    if (this.#inHand !== undefined) this.#slots.giveBack(this.#inHand)
    this.#inHand = undefined
  }
}
