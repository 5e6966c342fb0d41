import { deadlines, type Expiring, NOT_WAITING, now, type SharedSlots } from '../../core/index.js'
import { Gate } from '../gate.js'
import { type Waiter, WaitingRoom, type WaitingRoomOptions } from '../waiting-room.js'
import { type Concurrency, type Limit, limitOf } from './concurrency/index.js'
import type { Ticket } from './fairness/index.js'
import type { QueuedCall } from './queued-call.js'
import { SharedTurns, type TurnsOwner } from './shared-turns.js'

export interface TurnsOptions extends WaitingRoomOptions<Ticket> {
  concurrency: Concurrency
  /** Undefined: the slots are of this process alone. */
  shared: SharedSlots | undefined
}

/** The slots of a queue, and the calls that wait for them: when the next may begin. */
export class Turns implements Expiring, TurnsOwner {
  deadlineSlot = NOT_WAITING
  limit: Limit
  /** Its tickets are calls of the queue. */
  readonly room: WaitingRoom<Ticket>
  /** For all calls; never shut when there is one for each model. */
  readonly gate = new Gate()
  /** Calls in progress. */
  running = 0
  /** Undefined when the slots are of this process alone. */
  readonly shared: SharedTurns | undefined

  constructor({ shared, concurrency, ...room }: TurnsOptions) {
    this.limit = limitOf(concurrency)
    this.room = new WaitingRoom(room)
    if (shared !== undefined) this.shared = new SharedTurns(shared, this, room)
  }

  get concurrency(): number {
    return this.limit.current
  }

  /** Slots that calls of this process come to while they wait. */
  get share(): number {
    return this.shared?.share ?? this.limit.current
  }

  get waiting(): number {
    return this.room.waiting
  }

  /** Whether a call that has just come may begin, as far as this process knows. */
  mayBegin({ gate }: QueuedCall): boolean {
    return (
      this.room.waiting === 0 &&
      this.running < this.limit.current &&
      (gate !== this.gate || gate.isOpen)
    )
  }

  pass(call: QueuedCall): void {
    this.#begin(call)
    call.claim?.pass()
  }

  #begin(call: QueuedCall): void {
    this.running++
    call.slot = this.shared?.use(call)
    call.pass ??= call.gate.begin()
  }

  /** The call holds its slot no more. */
  free({ slot }: QueuedCall): void {
    this.running--
    if (slot !== undefined) this.shared?.giveBack(slot)
  }

  /** Resolves when its turn has come. Rejects like `WaitingRoom.wait()`. */
  wait(call: QueuedCall): Promise<void> {
    const turn = this.room.wait(call.context, call.arrivedAt, call)
    // It may be there already: the gate may have opened since anybody looked.
    this.callWaiting()
    return turn
  }

  /** A call waits no more. */
  left(): void {
    // Nobody is left to whom the gate could give a turn.
    if (this.room.waiting > 0) return
    deadlines.clear(this)
    this.shared?.rest()
  }

  /** Lets waiting calls begin as far as slots and the gate allow. */
  callWaiting(): void {
    while (this.#isNext) {
      if (this.shared?.hasSlot === false) return this.shared.want()
      this.#callNext()
    }
    this.shared?.rest()
  }

  /** Whether a call waits that may begin when there is a slot. */
  get #isNext(): boolean {
    if (this.room.waiting === 0) deadlines.clear(this)
    if (this.room.waiting === 0 || this.running >= this.limit.current) return false
    const { opensAt } = this.gate
    if (opensAt > now()) deadlines.set(this, opensAt)
    // Those that have begun since it was shut let more through as they succeed.
    return opensAt <= now() && this.gate.isOpen
  }

  #callNext(): void {
    const waiter = this.room.next() as Waiter<Ticket>
    const call = waiter.ticket as QueuedCall
    if (call.pass === undefined || call.gate.accepts(call.pass)) this.#begin(call)
    else call.giveBack()
    waiter.call()
  }

  /** The gate lets another call begin. */
  expire(): void {
    this.callWaiting()
  }

  /** How many calls may be in progress from now on. Those that are stay. */
  setConcurrency(concurrency: Concurrency): void {
    this.limit = limitOf(concurrency)
    this.callWaiting()
  }
}
