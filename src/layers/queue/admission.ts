import { QueueFullError } from '../../core/index.js'
import { type Gate, shutError } from '../gate.js'
import type { Waiter, WaitingRoom } from '../waiting-room.js'
import type { Fairness, Ticket } from './fairness/index.js'
import type { HoldTimes } from './hold-times.js'
import { ModelGate } from './model-gates.js'
import type { QueuedCall } from './queued-call.js'

export interface AdmissionOptions {
  name: string
  maxWaiting: number
  room: WaitingRoom<Ticket>
  times: HoldTimes
  shares: Fairness | undefined
  /** Calls that wait, at gates as well. */
  waiting(): number
}

/** Who may wait: refuses at once whose turn would never come, or come too late. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Lets the call in to wait, or throws. */
  admit(call: QueuedCall): void {
    const { maxWaiting, room, times, shares } = this.#options
    const { request, context, claim } = call
    const waiting = this.#options.waiting()
    const retryAfter = times.untilFree(waiting)
    // It runs only if that is possible at once.
    if (context.optional)
      throw new QueueFullError(waiting, { layer: this.#options.name, retryAfter })
    const isFull = waiting >= maxWaiting
    // A tenant with less than its share of a full room takes the place of another.
    const displaced = isFull && claim !== undefined ? shares?.displacedBy(claim) : undefined
    // Where nobody may wait it is the pause that keeps the call out.
    if (maxWaiting === 0 && call.gate.isShut) throw shutError(this.#options.name, call.gate.opensAt)
    if (isFull && displaced === undefined) throw this.#fullError(retryAfter)
    times.admit(request, context, room.ahead(context.priority, call))
    this.#admitByGate(call)
    displaced?.refuse(this.#fullError(retryAfter))
    call.isAdmitted = true
  }

  #admitByGate({ gate, context, arrivedAt }: QueuedCall): void {
    if (!gate.isShut || gate.opensAt < this.#options.room.limit(context, arrivedAt)) return
    throw shutError(this.#options.name, gate.opensAt)
  }

  /** Refuses those who wait already and cannot do so until the gate opens. */
  refuseLate(gate: Gate): void {
    const atGate: readonly Waiter<Ticket>[] = gate instanceof ModelGate ? gate.all() : []
    for (const waiter of [...atGate, ...this.#options.room.all()]) {
      const call = waiter.ticket as QueuedCall
      if (call.gate === gate && waiter.limit <= gate.opensAt)
        waiter.refuse(shutError(this.#options.name, gate.opensAt))
    }
  }

  #fullError(retryAfter: number | undefined): QueueFullError {
    const { name, maxWaiting } = this.#options
    return new QueueFullError(maxWaiting, { layer: name, retryAfter })
  }
}
