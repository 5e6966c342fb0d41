import { LRUCache } from 'lru-cache'
import { type Context, deadlines, type Expiring, NOT_WAITING } from '../../core/index.js'
import { Gate } from '../gate.js'
import { type Waiter, WaitingRoom } from '../waiting-room.js'
import type { QueuedCall } from './queued-call.js'

/** How many models' gates are kept. */
const MODELS_KEPT = 1_000

/**
 * The gate of one model, with the calls that wait at it. Elsewhere in the queue they would block
 * others.
 */
export class ModelGate extends Gate implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #room: WaitingRoom<QueuedCall>

  constructor(layer: string, maxWaitMs: number | undefined) {
    super()
    this.#room = new WaitingRoom({ layer, maxWaiting: Number.POSITIVE_INFINITY, maxWaitMs })
  }

  get waiting(): number {
    return this.#room.waiting
  }

  /** Whether the call may continue immediately. */
  lets(call: QueuedCall): boolean {
    if (this.#room.waiting > 0 || !this.isOpen) return false
    call.pass = this.begin()
    return true
  }

  /** Resolves when the call may continue. Rejects like `WaitingRoom.wait()`. */
  wait(call: QueuedCall): Promise<void> {
    const turn = this.#room.wait(call.context, call.arrivedAt, call)
    this.callWaiting()
    return turn
  }

  /** Lets waiting calls continue as far as the gate allows. */
  callWaiting(): void {
    while (this.isOpen) {
      const waiter = this.#room.next()
      if (waiter === undefined) break
      const call = waiter.ticket as QueuedCall
      call.pass = this.begin()
      waiter.call()
    }
    if (this.#room.waiting > 0 && this.isShut) deadlines.set(this, this.opensAt)
    else deadlines.clear(this)
  }

  /** The gate opens. */
  expire(): void {
    this.callWaiting()
  }

  all(): readonly Waiter<QueuedCall>[] {
    return this.#room.all()
  }
}

/** One gate per model. */
export class ModelGates {
  readonly #layer: string
  readonly #maxWaitMs: number | undefined
  readonly #byModel = new LRUCache<string, ModelGate>({ max: MODELS_KEPT })

  constructor(layer: string, maxWaitMs: number | undefined) {
    this.#layer = layer
    this.#maxWaitMs = maxWaitMs
  }

  of(request: unknown, { base }: Context): ModelGate {
    const model = base.model?.(request) ?? ''
    let gate = this.#byModel.get(model)
    if (gate === undefined) {
      gate = new ModelGate(this.#layer, this.#maxWaitMs)
      this.#byModel.set(model, gate)
    }
    return gate
  }

  get waiting(): number {
    let waiting = 0
    for (const gate of this.#byModel.values()) waiting += gate.waiting
    return waiting
  }
}
