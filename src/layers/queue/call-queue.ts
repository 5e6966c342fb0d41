import {
  type Context,
  deadlines,
  type Expiring,
  follow,
  type Handler,
  isOfOwnKey,
  type MaybePromise,
  NOT_WAITING,
  now,
  QueueFullError,
  RateLimitError,
  type StreamEnd,
} from '../../core/index.js'
import { type Waiter, WaitingRoom } from '../waiting-room.js'
import { type Concurrency, isOverload, type Limit, limitOf } from './concurrency/index.js'
import { type Claim, Fairness } from './fairness/index.js'
import { HoldTimes } from './hold-times.js'
import type { RateWindow } from './rate-window.js'
import { Slot } from './slot.js'

export interface CallQueueOptions {
  name: string
  concurrency: Concurrency
  maxWaiting: number
  maxWaitMs: number | undefined
  fairness: boolean
  weights: ReadonlyMap<string, number>
}

/** The calls of one `queue()`: who runs, who waits, and when the next may begin. */
export class CallQueue implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #name: string
  #limit: Limit
  readonly #maxWaiting: number
  readonly #rate: RateWindow | undefined
  readonly #fairness: Fairness | undefined
  readonly #room: WaitingRoom<Claim>
  readonly #times: HoldTimes
  #running = 0
  #completed = 0
  #failed = 0
  #rejected = 0

  constructor(
    { name, concurrency, maxWaiting, maxWaitMs, fairness, weights }: CallQueueOptions,
    rate: RateWindow | undefined,
  ) {
    this.#name = name
    this.#limit = limitOf(concurrency)
    this.#maxWaiting = maxWaiting
    this.#rate = rate
    const shares = fairness ? new Fairness({ maxWaiting, weights }) : undefined
    this.#fairness = shares
    const bandOf = shares && ((priority: number) => shares.bandOf(priority))
    this.#room = new WaitingRoom({ layer: name, maxWaiting, maxWaitMs, bandOf })
    this.#times = new HoldTimes(name, () => this.#limit.current)
  }

  /** Runs the call, at once or when its turn has come. */
  run<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    const claim = this.#fairness?.claim(request, context)
    if (this.#room.waiting > 0 || !this.#mayBegin())
      return this.#runLater(next, request, context, claim)
    this.#begin()
    claim?.pass()
    return this.#go(next, request, context, claim)
  }

  #go<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
    claim: Claim | undefined,
  ): MaybePromise<Answer> {
    const slot = new Slot(this, this.#times.of(request, context), request, context, claim)
    return follow(next, request, context, slot)
  }

  /** Not `async`: what that keeps of a waiting call would be half of its memory. */
  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
    claim: Claim | undefined,
  ): Promise<Answer> {
    if (context.optional) throw this.#refusal()
    const since = now()
    this.#admit(request, context, since, claim)
    const turn = this.#room.wait(context, since, claim)
    // It may be there already: the rate may have opened since anybody looked.
    this.#callWaiting()
    return turn.then(
      () => {
        this.#hasWaited(context, since)
        this.#lookAgain(request, context, claim)
        return this.#go(next, request, context, claim)
      },
      (error) => {
        this.#hasWaited(context, since)
        this.#rejected++
        throw error
      },
    )
  }

  /** Of a call that runs only if that is possible at once. */
  #refusal(): QueueFullError {
    this.#rejected++
    const retryAfter = this.#times.untilFree(this.#room.waiting)
    return new QueueFullError(this.#room.waiting, { layer: this.#name, retryAfter })
  }

  #hasWaited(context: Context, since: number): void {
    context.meta.set(this.#name, { waitedMs: now() - since })
    // Nobody is left to whom the rate could give a turn.
    if (this.#room.waiting === 0) deadlines.clear(this)
  }

  /** Refuses at once whose turn would never come, or come too late. */
  #admit(request: unknown, context: Context, since: number, claim: Claim | undefined): void {
    try {
      const retryAfter = this.#times.untilFree(this.#room.waiting)
      const displaced = this.#displaced(claim)
      if (displaced === undefined) this.#room.admit(retryAfter)
      const ahead = this.#room.ahead(context.priority, claim)
      this.#times.admit(request, context, ahead)
      this.#admitByRate(context, since, ahead)
      displaced?.refuse(new QueueFullError(this.#maxWaiting, { layer: this.#name, retryAfter }))
    } catch (error) {
      this.#rejected++
      throw error
    }
  }

  /** Who has to go for a call of a tenant with less than its share of a full room. */
  #displaced(claim: Claim | undefined): Waiter<Claim> | undefined {
    if (claim === undefined || !this.#room.isFull) return undefined
    return this.#fairness?.displacedBy(claim)
  }

  #admitByRate(context: Context, since: number, ahead: number): void {
    const opensAt = this.#rate?.opensAt(ahead) ?? 0
    if (opensAt <= since || opensAt < this.#room.limit(context, since)) return
    const delayMs = opensAt - since
    const sentence = `The rate allows the call to begin in ${Math.ceil(delayMs)} ms, too late for it; try again then.`
    throw new RateLimitError(sentence, { layer: this.#name, refused: true, retryAfter: delayMs })
  }

  /** At the head of the queue, as an estimate may have been wrong. */
  #lookAgain(request: unknown, context: Context, claim: Claim | undefined): void {
    // A start that the rate has counted is not thrown away.
    if (this.#rate !== undefined) return
    try {
      this.#times.admitAtHead(request, context)
    } catch (error) {
      this.#rejected++
      this.#running--
      claim?.cancel()
      this.#callWaiting()
      throw error
    }
  }

  #mayBegin(): boolean {
    if (this.#running >= this.#limit.current) return false
    return this.#rate === undefined || this.#rate.opensAt() <= now()
  }

  #begin(): void {
    this.#running++
    this.#rate?.take()
  }

  /** Lets waiting calls begin as far as slots and the rate allow. */
  #callWaiting(): void {
    while (this.#room.waiting > 0 && this.#running < this.#limit.current) {
      const opensAt = this.#rate?.opensAt()
      if (opensAt !== undefined && opensAt > now()) return deadlines.set(this, opensAt)
      this.#begin()
      this.#room.callNext()
    }
    if (this.#room.waiting === 0) deadlines.clear(this)
  }

  /** The rate allows another call to begin. */
  expire(): void {
    this.#callWaiting()
  }

  /** How many calls may be in progress from now on. Those that are stay. */
  setConcurrency(concurrency: Concurrency): void {
    this.#limit = limitOf(concurrency)
    this.#callWaiting()
  }

  /** @internal */
  answered(slot: Slot): void {
    if (!this.#limit.isAdaptive) return
    const { request, context, since, heldMs } = slot
    const { base } = context
    const kind = `${base.streams?.(request) === true ? 'stream' : 'plain'} ${base.model?.(request)}`
    this.#limit.answered({ beganAt: since, ms: heldMs, kind }, this.#running)
    if (this.#room.waiting > 0) this.#callWaiting()
  }

  /** @internal */
  ended(slot: Slot, { outcome, error }: StreamEnd): void {
    this.#times.add(slot.heldMs, slot.times)
    if (outcome === 'failed') {
      this.#failed++
      this.#judge(slot, error)
    } else this.#completed++
    this.#running--
    if (this.#room.waiting > 0) this.#callWaiting()
  }

  /** What a failure says of upstream. An abort from outside says nothing, nor does a key refused. */
  #judge({ request, context, hasAnswer }: Slot, error: unknown): void {
    if (!this.#limit.isAdaptive || context.cancel.aborted) return
    if (isOverload(error, hasAnswer) && !isOfOwnKey(error, request, context))
      this.#limit.overloaded(this.#running)
  }

  stats() {
    return {
      concurrency: this.#limit.current,
      running: this.#running,
      waiting: this.#room.waiting,
      completed: this.#completed,
      failed: this.#failed,
      rejected: this.#rejected,
      ...(this.#fairness?.stats() ?? { tenants: 0, fairnessIndex: 1 }),
    }
  }
}
