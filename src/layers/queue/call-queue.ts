import {
  type Context,
  deadlines,
  type Expiring,
  follow,
  type Handler,
  type MaybePromise,
  NOT_WAITING,
  now,
  QueueFullError,
  RateLimitError,
  type StreamEnd,
} from '../../core/index.js'
import { WaitingRoom } from '../waiting-room.js'
import { HoldTimes } from './hold-times.js'
import type { RateWindow } from './rate-window.js'
import type { ServiceTime } from './service-time.js'

export interface CallQueueOptions {
  name: string
  concurrency: number
  maxWaiting: number
  maxWaitMs: number | undefined
}

/** The calls of one `queue()`: who runs, who waits, and when the next may begin. */
export class CallQueue implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #name: string
  readonly #concurrency: number
  readonly #rate: RateWindow | undefined
  readonly #room: WaitingRoom
  readonly #times: HoldTimes
  #running = 0
  #completed = 0
  #failed = 0
  #rejected = 0

  constructor(
    { name, concurrency, maxWaiting, maxWaitMs }: CallQueueOptions,
    rate: RateWindow | undefined,
  ) {
    this.#name = name
    this.#concurrency = concurrency
    this.#rate = rate
    this.#room = new WaitingRoom({ layer: name, maxWaiting, maxWaitMs })
    this.#times = new HoldTimes(name, concurrency)
  }

  /** Runs the call, at once or when its turn has come. */
  run<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    if (this.#room.waiting > 0 || !this.#mayBegin()) return this.#runLater(next, request, context)
    this.#begin()
    return follow(next, request, context, this.#slot(request, context))
  }

  /** Not `async`: what that keeps of a waiting call would be half of its memory. */
  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): Promise<Answer> {
    if (context.optional) throw this.#refusal()
    const since = now()
    this.#admit(request, context, since)
    const turn = this.#room.wait(context, since)
    // It may be there already: the rate may have opened since anybody looked.
    this.#callWaiting()
    return turn.then(
      () => {
        this.#hasWaited(context, since)
        this.#lookAgain(request, context)
        return follow(next, request, context, this.#slot(request, context))
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
  #admit(request: unknown, context: Context, since: number): void {
    try {
      this.#room.admit(this.#times.untilFree(this.#room.waiting))
      const ahead = this.#room.ahead(context.priority)
      this.#times.admit(request, context, ahead)
      this.#admitByRate(context, since, ahead)
    } catch (error) {
      this.#rejected++
      throw error
    }
  }

  #admitByRate(context: Context, since: number, ahead: number): void {
    const opensAt = this.#rate?.opensAt(ahead) ?? 0
    if (opensAt <= since || opensAt < this.#room.limit(context, since)) return
    const delayMs = opensAt - since
    const sentence = `The rate allows the call to begin in ${Math.ceil(delayMs)} ms, too late for it; try again then.`
    throw new RateLimitError(sentence, { layer: this.#name, refused: true, retryAfter: delayMs })
  }

  /** At the head of the queue, as an estimate may have been wrong. */
  #lookAgain(request: unknown, context: Context): void {
    // A start that the rate has counted is not thrown away.
    if (this.#rate !== undefined) return
    try {
      this.#times.admitAtHead(request, context)
    } catch (error) {
      this.#rejected++
      this.#running--
      this.#callWaiting()
      throw error
    }
  }

  #mayBegin(): boolean {
    if (this.#running >= this.#concurrency) return false
    return this.#rate === undefined || this.#rate.opensAt() <= now()
  }

  #begin(): void {
    this.#running++
    this.#rate?.take()
  }

  /** Lets waiting calls begin as far as slots and the rate allow. */
  #callWaiting(): void {
    while (this.#room.waiting > 0 && this.#running < this.#concurrency) {
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

  #slot(request: unknown, context: Context): Slot {
    return new Slot(this, this.#times.of(request, context))
  }

  /** @internal */
  ended(outcome: StreamEnd['outcome'], heldMs: number, kind: ServiceTime): void {
    this.#times.add(heldMs, kind)
    this.#running--
    if (outcome === 'failed') this.#failed++
    else this.#completed++
    if (this.#room.waiting > 0) this.#callWaiting()
  }

  stats() {
    return {
      concurrency: this.#concurrency,
      running: this.#running,
      waiting: this.#room.waiting,
      completed: this.#completed,
      failed: this.#failed,
      rejected: this.#rejected,
    }
  }
}

/** What a running call holds, to the end of its answer. */
class Slot {
  readonly #queue: CallQueue
  readonly #kind: ServiceTime
  readonly #since = now()

  constructor(queue: CallQueue, kind: ServiceTime) {
    this.#queue = queue
    this.#kind = kind
  }

  ended({ outcome }: StreamEnd): void {
    this.#queue.ended(outcome, now() - this.#since, this.#kind)
  }
}
