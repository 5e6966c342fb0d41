import {
  type Context,
  deadlines,
  ELSEWHERE,
  type Expiring,
  follow,
  type Handler,
  type MaybePromise,
  NOT_WAITING,
  now,
  type StreamEnd,
} from '../../core/index.js'
import { Gate, refusalIn } from '../gate.js'
import { type Waiter, WaitingRoom } from '../waiting-room.js'
import { Admission } from './admission.js'
import { type Concurrency, isOverload, type Limit, limitOf } from './concurrency/index.js'
import { Fairness, type Ticket } from './fairness/index.js'
import { HoldTimes } from './hold-times.js'
import { ModelGate, ModelGates } from './model-gates.js'
import { QueuedCall } from './queued-call.js'

export interface CallQueueOptions {
  name: string
  concurrency: Concurrency
  maxWaiting: number
  maxWaitMs: number | undefined
  fairness: boolean
  weights: ReadonlyMap<string, number>
  gate: 'member' | 'model'
}

/** The calls of one `queue()`: who runs, who waits, and when the next may begin. */
export class CallQueue implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #name: string
  #limit: Limit
  readonly #shares: Fairness | undefined
  /** Its tickets are calls of this queue. */
  readonly #room: WaitingRoom<Ticket>
  readonly #times: HoldTimes
  readonly #admission: Admission
  /** For all calls; never shut when there is one for each model. */
  readonly #gate = new Gate()
  readonly #modelGates: ModelGates | undefined
  /** For calls with a key of their own: never shut. */
  readonly #ownKeys = new Gate()
  #running = 0
  #completed = 0
  #failed = 0
  #rejected = 0

  constructor(options: CallQueueOptions) {
    const { name, concurrency, maxWaiting, maxWaitMs, fairness, weights, gate } = options
    this.#name = name
    this.#limit = limitOf(concurrency)
    const shares = fairness ? new Fairness({ maxWaiting, weights }) : undefined
    const bandOf = shares && ((priority: number) => shares.bandOf(priority))
    const room = new WaitingRoom({ layer: name, maxWaiting, maxWaitMs, bandOf })
    const times = new HoldTimes(name, () => this.#limit.current)
    const waiting = () => this.#waiting
    if (gate === 'model') this.#modelGates = new ModelGates(name, maxWaitMs)
    this.#admission = new Admission({ ...options, room, times, shares, waiting })
    this.#shares = shares
    this.#room = room
    this.#times = times
  }

  /** Runs the call, at once or when its turn has come. */
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
    return this.#modelGates?.of(request, context) ?? this.#gate
  }

  #enter<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): MaybePromise<Answer> {
    if (this.#room.waiting > 0 || !this.#mayBegin(call)) return this.#runLater(next, request, call)
    this.#begin(call)
    call.claim?.pass()
    return this.#go(next, request, call)
  }

  #go<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): MaybePromise<Answer> {
    const { context } = call
    const inward = this.#limit.isAdaptive ? context.derive({ adapts: true }) : context
    return follow(next, request, inward, call)
  }

  /** Not `async`: what that keeps of a waiting call would be half of its memory. */
  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    call: QueuedCall,
  ): Promise<Answer> {
    this.#admit(call)
    const turn = this.#room.wait(call.context, call.arrivedAt, call)
    // It may be there already: the gate may have opened since anybody looked.
    this.#callWaiting()
    return turn.then(
      () => {
        this.#hasWaited(call)
        // Its gate was shut while it waited here.
        if (call.pass === undefined) return this.#runBehindGate(next, request, call)
        this.#lookAgain(call)
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
    this.#rejected++
    call.leaveGate()
    this.#callOthers(call.gate)
    throw error
  }

  #hasWaited({ context, arrivedAt }: QueuedCall): void {
    context.meta.set(this.#name, { waitedMs: now() - arrivedAt })
    // Nobody is left to whom the gate could give a turn.
    if (this.#room.waiting === 0) deadlines.clear(this)
  }

  /** Calls that wait, here or at the gate of their model. */
  get #waiting(): number {
    return this.#room.waiting + (this.#modelGates?.waiting ?? 0)
  }

  #admit(call: QueuedCall): void {
    // It has been let in already, and was sent back.
    if (call.isAdmitted) return
    try {
      this.#admission.admit(call)
    } catch (error) {
      this.#rejected++
      call.leaveGate()
      this.#callOthers(call.gate)
      throw error
    }
  }

  /** At the head of the queue, as an estimate may have been wrong. */
  #lookAgain(call: QueuedCall): void {
    try {
      this.#times.admitAtHead(call.request, call.context)
    } catch (error) {
      this.#rejected++
      this.#running--
      call.giveBack()
      this.#callOthers(call.gate)
      throw error
    }
  }

  #mayBegin({ gate }: QueuedCall): boolean {
    return this.#running < this.#limit.current && (gate !== this.#gate || gate.isOpen)
  }

  #begin(call: QueuedCall): void {
    this.#running++
    call.pass ??= call.gate.begin()
  }

  /** Lets waiting calls begin as far as slots and the gate allow. */
  #callWaiting(): void {
    while (this.#room.waiting > 0 && this.#running < this.#limit.current) {
      const { opensAt } = this.#gate
      if (opensAt > now()) return deadlines.set(this, opensAt)
      // Those that have begun since it was shut let more through as they succeed.
      if (!this.#gate.isOpen) return
      this.#callNext()
    }
    if (this.#room.waiting === 0) deadlines.clear(this)
  }

  #callNext(): void {
    const waiter = this.#room.next() as Waiter<Ticket>
    const call = waiter.ticket as QueuedCall
    if (call.pass === undefined || call.gate.accepts(call.pass)) this.#begin(call)
    else call.giveBack()
    waiter.call()
  }

  /** The gate lets another call begin. */
  expire(): void {
    this.#callWaiting()
  }

  /** How many calls may be in progress from now on. Those that are stay. */
  setConcurrency(concurrency: Concurrency): void {
    this.#limit = limitOf(concurrency)
    this.#callWaiting()
  }

  /** @internal */
  answered(call: QueuedCall): void {
    const { request, context, startedAt, gate, pass } = call
    gate.succeeded(pass as number)
    if (this.#limit.isAdaptive) {
      const { base } = context
      const model = base.model?.(request) ?? ''
      // A text made anew for each call would cost more than the rest of this.
      const kind = base.streams?.(request) === true ? `stream ${model}` : model
      this.#limit.answered({ beganAt: startedAt, ms: call.heldMs, kind }, this.#running)
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
    this.#running--
    call.leaveGate()
    this.#callOthers(call.gate)
  }

  #callOthers(gate: Gate): void {
    if (gate instanceof ModelGate && gate.waiting > 0) gate.callWaiting()
    if (this.#room.waiting > 0) this.#callWaiting()
  }

  /** What a failure shows of upstream. What it says of a call's own key is no matter of others. */
  #judge({ context, hasAnswer, gate, pass }: QueuedCall, error: unknown): void {
    const refusal = refusalIn(error)
    if (refusal !== undefined && gate === this.#ownKeys) return
    const { isAdaptive } = this.#limit
    if (isAdaptive && !context.cancel.aborted && isOverload(error, hasAnswer))
      this.#limit.overloaded(this.#running)
    // A pool further in has gates of its own, one for each member.
    if (refusal === undefined || context.meta.get(ELSEWHERE) !== undefined) return
    // A concurrency that adapts knows how many may begin then.
    const isLonger = gate.refused(pass as number, refusal.retryAfter, !isAdaptive)
    if (isLonger) this.#admission.refuseLate(gate)
  }

  stats() {
    return {
      concurrency: this.#limit.current,
      running: this.#running,
      waiting: this.#waiting,
      completed: this.#completed,
      failed: this.#failed,
      rejected: this.#rejected,
      ...(this.#shares?.stats() ?? { tenants: 0, fairnessIndex: 1 }),
    }
  }
}
