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
  /** Number of waiting calls, including those at gates. */
  waiting(): number
}

/** Decides who may wait. Rejects calls whose turn would never come, or would come too late. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Admits a call to wait, or throws. */
  admit(call: QueuedCall): void {
    const { maxWaiting, room, times, shares } = this.#options
    const { request, context, claim } = call
    const waiting = this.#options.waiting()
    const retryAfter = times.untilFree(waiting)
    // An optional call must not wait.
    if (context.optional)
      throw new QueueFullError(waiting, { layer: this.#options.name, retryAfter })
    const isFull = waiting >= maxWaiting
    // In a full queue, a tenant below its share displaces a call of another tenant.
    const displaced = isFull && claim !== undefined ? shares?.displacedBy(claim) : undefined
    // With `maxWaiting: 0` the pause is the reason for the rejection.
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

  /** Rejects waiting calls that cannot wait until the gate opens. */
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
