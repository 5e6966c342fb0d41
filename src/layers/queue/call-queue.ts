import {
  type Context,
  ELSEWHERE,
  follow,
  type Handler,
  type MaybePromise,
  now,
  type SharedSlots,
  type StreamEnd,
} from '../../core/index.js'
import { Gate, refusalIn } from '../gate.js'
import { Admission } from './admission.js'
import { type Concurrency, isOverload } from './concurrency/index.js'
import { Fairness, type QueueTenant } from './fairness/index.js'
import { HoldTimes } from './hold-times.js'
import { ModelGate, ModelGates } from './model-gates.js'
import { QueuedCall } from './queued-call.js'
import type { SharedTurns } from './shared-turns.js'
import { Turns } from './turns.js'

export interface CallQueueOptions {
  name: string
  concurrency: Concurrency
  maxWaiting: number
  maxWaitMs: number | undefined
  fairness: boolean
  weights: ReadonlyMap<string, number>
  gate: 'member' | 'model'
  shared: SharedSlots | undefined
}

/** The calls of one `queue()`: who runs, who waits, and how they end. */
export class CallQueue {
  readonly #name: string
  readonly #turns: Turns
  readonly #shares: Fairness | undefined
  readonly #times: HoldTimes
  readonly #admission: Admission
  readonly #modelGates: ModelGates | undefined
  /** The gate for calls with their own API key, which never closes. */
  readonly #ownKeys = new Gate()
  #completed = 0
  #failed = 0
  #rejected = 0

  constructor(options: CallQueueOptions) {
    const { name, concurrency, maxWaiting, maxWaitMs, fairness, weights, gate, shared } = options
    this.#name = name
    const shares = fairness ? new Fairness({ maxWaiting, weights }) : undefined
    const bandOf = shares && ((priority: number) => shares.bandOf(priority))
    const turns = new Turns({ layer: name, maxWaiting, maxWaitMs, bandOf, concurrency, shared })
    const times = new HoldTimes(name, () => turns.share)
    const waiting = () => this.#waiting
    if (gate === 'model') this.#modelGates = new ModelGates(name, maxWaitMs)
    this.#admission = new Admission({ ...options, room: turns.room, times, shares, waiting })
    this.#turns = turns
    this.#shares = shares
    this.#times = times
  }

  /** Runs a call, immediately or when its turn comes. */
  run<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    const claim = this.#shares?.claim(request, context)
    const call = new QueuedCall(this, request, context, claim, this.#gateOf(request, context))
    return call.gate instanceof ModelGate && !call.gate.lets(call)
      ? this.#runBehindGate(next, request, call)
      : this.#enter(next, request, call)
  }

  #gateOf(request: unknown, context: Context): Gate {
    if (context.base.ownKey(request) === true) return this.#ownKeys
    return this.#modelGates?.of(request, context) ?? this.#turns.gate
  }

  #enter<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): MaybePromise<Answer> {
    const turns = this.#turns
    if (!turns.mayBegin(call)) return this.#runLater(next, request, call)
    if (turns.shared !== undefined) return this.#runAsking(next, request, call, turns.shared)
    turns.pass(call)
    return this.#go(next, request, call)
  }

  #go<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): MaybePromise<Answer> {
    const { context } = call
    const inward = this.#turns.limit.isAdaptive ? context.derive({ adapts: true }) : context
    return follow(next, request, inward, call)
  }

  /** Not `async`, because that would nearly double the memory of a waiting call. */
  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): Promise<Answer> {
    this.#admit(call)
    return this.#turns.wait(call).then(
      () => {
        this.#hasWaited(call)
        // Its gate closed while it was waiting here.
        if (call.pass === undefined) return this.#runBehindGate(next, request, call)
        this.#lookAgain(call)
        call.start()
        return this.#go(next, request, call)
      },
      (error) => this.#reject(call, error),
    )
  }

  /** Asks first, because other processes may have taken all slots. */
  #runAsking<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
    shared: SharedTurns,
  ): Promise<Answer> {
    return shared.ask(call).then(
      () => {
        this.#hasWaited(call)
        if (call.slot === undefined) return this.#runLater(next, request, call)
        call.start()
        return this.#go(next, request, call)
      },
      (error) => this.#reject(call, error),
    )
  }

  #runBehindGate<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): Promise<Answer> {
    this.#admit(call)
    const gate = call.gate as ModelGate
    return gate.wait(call).then(
      () => {
        this.#hasWaited(call)
        call.start()
        return this.#enter(next, request, call)
      },
      (error) => {
        gate.callWaiting()
        return this.#reject(call, error)
      },
    )
  }

  #reject(call: QueuedCall, error: unknown): never {
    this.#hasWaited(call)
    return this.#refuse(call, error)
  }

  #refuse(call: QueuedCall, error: unknown): never {
    this.#rejected++
    call.leaveGate()
    this.#callOthers(call.gate)
    throw error
  }

  #hasWaited({ context, arrivedAt, slot }: QueuedCall): void {
    const { meta, trace } = context
    const waitedMs = now() - arrivedAt
    meta.set(this.#name, slot?.isAlone ? { waitedMs, alone: true } : { waitedMs })
    if (slot?.isAlone) trace?.alone(this.#name)
    this.#turns.left()
  }

  /** Number of waiting calls, here or at their model's gate. */
  get #waiting(): number {
    return this.#turns.waiting + (this.#modelGates?.waiting ?? 0)
  }

  #admit(call: QueuedCall): void {
    // It was admitted before and then sent back.
    if (call.isAdmitted) return
    try {
      this.#admission.admit(call)
    } catch (error) {
      this.#refuse(call, error)
    }
  }

  /**
   * Checks the deadline again when the call's turn comes, because the first estimate may have been
   * wrong.
   */
  #lookAgain(call: QueuedCall): void {
    try {
      this.#times.admitAtHead(call.request, call.context)
    } catch (error) {
      this.#turns.free(call)
      call.claim?.cancel()
      this.#refuse(call, error)
    }
  }

  setConcurrency(concurrency: Concurrency): void {
    this.#turns.setConcurrency(concurrency)
  }

  /** @internal */
  answered(call: QueuedCall): void {
    const { request, context, startedAt, gate, pass } = call
    gate.succeeded(pass as number)
    const { limit, running } = this.#turns
    if (limit.isAdaptive) {
      const { base } = context
      const model = base.model?.(request) ?? ''
      // Building a string for each call would cost more than the rest of this.
      const kind = base.streams?.(request) === true ? `stream ${model}` : model
      limit.answered({ beganAt: startedAt, ms: call.heldMs, kind }, running)
    }
    this.#callOthers(gate)
  }

  /** @internal */
  ended(call: QueuedCall, { outcome, error }: StreamEnd): void {
    this.#times.add(call.heldMs, this.#times.of(call.request, call.context))
    if (outcome === 'failed') {
      this.#failed++
      this.#judge(call, error)
    } else this.#completed++
    this.#turns.free(call)
    call.leaveGate()
    this.#callOthers(call.gate)
  }

  #callOthers(gate: Gate): void {
    if (gate instanceof ModelGate && gate.waiting > 0) gate.callWaiting()
    if (this.#turns.waiting > 0) this.#turns.callWaiting()
  }

  /**
   * Reads from a failure what it shows about upstream. A rejection of a call's own API key affects
   * no other call.
   */
  #judge({ context, hasAnswer, gate, pass }: QueuedCall, error: unknown): void {
    const refusal = refusalIn(error)
    if (refusal !== undefined && gate === this.#ownKeys) return
    const { limit, running } = this.#turns
    const { isAdaptive } = limit
    if (isAdaptive && !context.cancel.aborted && isOverload(error, hasAnswer))
      limit.overloaded(running)
    // An inner pool has gates of its own, one per member.
    if (refusal === undefined || context.meta.get(ELSEWHERE) !== undefined) return
    // An adaptive concurrency itself determines how many calls may start afterwards.
    const isLonger = gate.refused(pass as number, refusal.retryAfter, !isAdaptive)
    if (isLonger) this.#admission.refuseLate(gate)
  }

  stats() {
    return {
      concurrency: this.#turns.concurrency,
      running: this.#turns.running,
      waiting: this.#waiting + (this.#turns.shared?.asking ?? 0),
      completed: this.#completed,
      failed: this.#failed,
      rejected: this.#rejected,
      ...(this.#shares?.stats() ?? { tenants: 0, fairnessIndex: 1 }),
    }
  }

  tenants(count: number): readonly QueueTenant[] {
    return this.#shares?.busiest(count) ?? []
  }
}
