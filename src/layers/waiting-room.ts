// p-queue's `PriorityQueue` keeps the bands in order, one band for each priority in use. The calls
// of a band are ours, in a linked list: p-queue walks through all who wait to take one out, and its
// place in the line costs a promise, a closure and an abort signal. When somebody is called is for
// the layer to say: `PQueue` itself would call as soon as its own count of running tasks allows.

import { PriorityQueue } from 'p-queue'
import {
  type AbortListener,
  ClosedError,
  type Context,
  deadlines,
  type Expiring,
  Link,
  LinkedList,
  NOT_WAITING,
  now,
  QueueFullError,
  TimeoutError,
} from '../core/index.js'

/**
 * A call whose turn comes in the last moment before its deadline could not be done in time, so it
 * is refused then: whoever watches the deadline further out only knows that it took too long, not
 * that it never ran. Two milliseconds, as Node's timers have a grain of one at each end.
 */
const TOO_LATE_MS = 2

/** Options of a `WaitingRoom`. */
export interface WaitingRoomOptions {
  /** Name of the layer, for its errors and events. */
  layer: string
  /** Calls that may wait. */
  maxWaiting: number
  /** Longest wait. Milliseconds. @default none */
  maxWaitMs?: number | undefined
}

/**
 * Where calls wait for their turn: larger priority first, in order of arrival within one. Coming,
 * being called and leaving cost the same however many wait.
 */
export class WaitingRoom {
  readonly layer: string
  readonly #maxWaiting: number
  readonly #maxWaitMs: number
  /** By priority. None of them is empty. */
  readonly #bands = new Map<number, Band>()
  /** The band of the largest priority. */
  #first: Band | undefined
  readonly #others = new PriorityQueue() as unknown as BandQueue
  #waiting = 0

  constructor({ layer, maxWaiting, maxWaitMs }: WaitingRoomOptions) {
    this.layer = layer
    this.#maxWaiting = maxWaiting
    this.#maxWaitMs = maxWaitMs ?? Number.POSITIVE_INFINITY
  }

  get waiting(): number {
    return this.#waiting
  }

  /** How many of those who wait go before a newcomer of this priority. */
  ahead(priority: number): number {
    let ahead = 0
    for (const band of this.#bands.values()) if (band.priority >= priority) ahead += band.size
    return ahead
  }

  /** The moment at which a call gives up that has waited since `since`. */
  limit(context: Context, since: number): number {
    return Math.min(context.deadline - TOO_LATE_MS, since + this.#maxWaitMs)
  }

  /** Throws when the room is full. */
  admit(retryAfter?: number): void {
    if (this.#waiting >= this.#maxWaiting)
      throw new QueueFullError(this.#maxWaiting, { layer: this.layer, retryAfter })
  }

  /**
   * Resolves when the call's turn has come. Rejects, and leaves the room at once, when it is
   * aborted, when its deadline or `maxWaitMs` passes (`TimeoutError`, phase `queue`), or when its
   * stack closes (`ClosedError`). `since`: when it came.
   */
  wait(context: Context, since = now()): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(this, context, since, resolve, reject)
      this.#enter(waiter, context.priority)
      waiter.watch()
    })
  }

  /** Lets the first one go, before it returns. False when nobody waits. */
  callNext(): boolean {
    if (this.#first === undefined) return false
    this.#first.next().call()
    return true
  }

  #enter(waiter: Waiter, priority: number): void {
    let band = this.#bands.get(priority)
    if (band === undefined) {
      band = new Band(priority)
      this.#bands.set(priority, band)
      this.#line(band)
    }
    band.add(waiter)
    this.#waiting++
  }

  /** Puts a new band in its place among the others. */
  #line(band: Band): void {
    const first = this.#first
    if (first !== undefined && first.priority >= band.priority)
      return this.#others.enqueue(band, band)
    this.#first = band
    if (first !== undefined) this.#others.enqueue(first, first)
  }

  /** @internal */
  leave(waiter: Waiter, priority: number): void {
    this.#waiting--
    const band = this.#bands.get(priority) as Band
    band.remove(waiter)
    if (band.size > 0) return
    this.#bands.delete(priority)
    if (band === this.#first) this.#first = this.#others.dequeue()
    else this.#others.remove(band)
  }
}

/** What is used of p-queue's `PriorityQueue`, which is typed for functions and holds anything. */
interface BandQueue {
  enqueue(band: Band, at: { readonly priority: number }): void
  dequeue(): Band | undefined
  remove(band: Band): void
}

/** The calls of one priority. Who of them goes first is decided here: who came first. */
class Band {
  readonly priority: number
  size = 0
  readonly #line = new LinkedList<Waiter>()

  constructor(priority: number) {
    this.priority = priority
  }

  add(waiter: Waiter): void {
    this.#line.add(waiter)
    this.size++
  }

  remove(waiter: Waiter): void {
    this.#line.remove(waiter)
    this.size--
  }

  next(): Waiter {
    return this.#line.first as Waiter
  }
}

/** One call while it waits. */
class Waiter extends Link implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly #room: WaitingRoom
  readonly #context: Context
  readonly #resolve: () => void
  readonly #reject: (reason: unknown) => void
  readonly #since: number
  #limit = Number.POSITIVE_INFINITY

  constructor(
    room: WaitingRoom,
    context: Context,
    since: number,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    super()
    this.#room = room
    this.#context = context
    this.#since = since
    this.#resolve = resolve
    this.#reject = reject
  }

  /** From now on it leaves by itself when it must. */
  watch(): void {
    const { closing, cancel } = this.#context
    closing.add(this)
    if (this.#isWaiting) cancel.add(this)
    if (this.#isWaiting) this.#waitUntil(this.#room.limit(this.#context, this.#since))
  }

  /** Its turn has come. */
  call(): void {
    this.#leave()
    this.#resolve()
  }

  /** Its caller has aborted it, or its stack closes. */
  abort(): void {
    const { cancel } = this.#context
    if (!cancel.aborted) {
      const sentence = 'The stack was closed while the call waited for its turn.'
      this.#fail(new ClosedError(sentence, { layer: this.#room.layer }))
    } else if (cancel.reason instanceof TimeoutError) this.#tooLate(cancel.reason)
    else this.#fail(cancel.reason)
  }

  expire(): void {
    // The deadline of shared work moves when callers join it.
    const limit = this.#room.limit(this.#context, this.#since)
    if (limit > this.#limit) this.#waitUntil(limit)
    else this.#tooLate()
  }

  get #isWaiting(): boolean {
    return this.list !== undefined
  }

  #waitUntil(limit: number): void {
    this.#limit = limit
    if (limit === Number.POSITIVE_INFINITY) return
    if (limit > now()) deadlines.set(this, limit)
    else this.#tooLate()
  }

  #tooLate(cause?: unknown): void {
    const { layer } = this.#room
    this.#fail(new TimeoutError(now() - this.#since, { phase: 'queue', layer, cause }))
  }

  #fail(reason: unknown): void {
    this.#leave()
    this.#reject(reason)
  }

  #leave(): void {
    const { closing, cancel, priority, trace } = this.#context
    this.#room.leave(this, priority)
    deadlines.clear(this)
    closing.remove(this)
    cancel.remove(this)
    trace?.queued(this.#room.layer, now() - this.#since)
  }
}
