import { deadlines, type Expiring, NOT_WAITING, now, type SharedSlots } from '../../core/index.js'
import { Gate } from '../gate.js'
import { type Waiter, WaitingRoom, type WaitingRoomOptions } from '../waiting-room.js'
import { type Concurrency, type Limit, limitOf } from './concurrency/index.js'
import type { Ticket } from './fairness/index.js'
import type { QueuedCall } from './queued-call.js'
import { SharedTurns, type TurnsOwner } from './shared-turns.js'

export interface TurnsOptions extends WaitingRoomOptions<Ticket> {
  concurrency: Concurrency
  /** Undefined when the slots belong to this process alone. */
  shared: SharedSlots | undefined
}

/** The slots of a queue and the calls that wait for them. Decides when the next call may start. */
export class Turns implements Expiring, TurnsOwner {
  deadlineSlot = NOT_WAITING
  limit: Limit
  /** Its tickets are calls of the queue. */
  readonly room: WaitingRoom<Ticket>
  /** The gate for all calls. Never closes when each model has its own gate. */
  readonly gate = new Gate()
  /** Number of calls in progress. */
  running = 0
  /** Undefined when the slots belong to this process alone. */
  readonly shared: SharedTurns | undefined

  constructor({ shared, concurrency, ...room }: TurnsOptions) {
    this.limit = limitOf(concurrency)
    this.room = new WaitingRoom(room)
    if (shared !== undefined) this.shared = new SharedTurns(shared, this, room)
  }

  get concurrency(): number {
    return this.limit.current
  }

  /** How many slots calls of this process can count on while they wait. */
  get share(): number {
    return this.shared?.share ?? this.limit.current
  }

  get waiting(): number {
    return this.room.waiting
  }

  /** Whether a new call may start, as far as this process knows. */
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

  /** The call releases its slot. */
  free({ slot }: QueuedCall): void {
    this.running--
    if (slot !== undefined) this.shared?.giveBack(slot)
  }

  /** Resolves when the call's turn comes. Rejects like `WaitingRoom.wait()`. */
  wait(call: QueuedCall): Promise<void> {
    const turn = this.room.wait(call.context, call.arrivedAt, call)
    // Its turn may have come already, because the gate may have opened in the meantime.
    this.callWaiting()
    return turn
  }

  /** A call no longer waits. */
  left(): void {
    // No call is left to wake up when the gate opens.
    if (this.room.waiting > 0) return
    deadlines.clear(this)
    this.shared?.rest()
  }

  /** Starts waiting calls as far as slots and gate allow. */
  callWaiting(): void {
    while (this.#isNext) {
      if (this.shared?.hasSlot === false) return this.shared.want()
      this.#callNext()
    }
    this.shared?.rest()
  }

  /** Whether a waiting call may start if there is a slot. */
  get #isNext(): boolean {
    if (this.room.waiting === 0) deadlines.clear(this)
    if (this.room.waiting === 0 || this.running >= this.limit.current) return false
    const { opensAt } = this.gate
    if (opensAt > now()) deadlines.set(this, opensAt)
    // Calls that started since it closed let more through when they succeed.
    return opensAt <= now() && this.gate.isOpen
  }

  #callNext(): void {
    const waiter = this.room.next() as Waiter<Ticket>
    const call = waiter.ticket as QueuedCall
    if (call.pass === undefined || call.gate.accepts(call.pass)) this.#begin(call)
    else call.giveBack()
    waiter.call()
  }

  /** The gate allows another call to start. */
  expire(): void {
    this.callWaiting()
  }

  /** Changes the limit. Calls in progress beyond it continue. */
  setConcurrency(concurrency: Concurrency): void {
    this.limit = limitOf(concurrency)
    this.callWaiting()
  }
}
