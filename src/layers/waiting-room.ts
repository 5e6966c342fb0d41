// p-queue's `PriorityQueue` keeps the bands in order (one band per priority in use) and the tenants
// within a band. The calls themselves are in our own linked lists: p-queue searches all waiting
// calls to remove one, and each costs a promise, a closure and an abort signal there. The layer
// decides when to start the next call; `PQueue` would do so as soon as its own count allows.

import { PriorityQueue } from 'p-queue'
import { type Context, LinkedList, now, QueueFullError } from '../core/index.js'
import { Waiter } from './waiter.js'
import { giveUpAt } from './waiting-call.js'

export type { Waiter } from './waiter.js'

/** Options of a `WaitingRoom`. */
export interface WaitingRoomOptions<Ticket = undefined> {
  /** Name of the layer, for errors and events. */
  layer: string
  /** Number of calls that may wait. */
  maxWaiting: number
  /** Maximum wait. Milliseconds. @default no limit */
  maxWaitMs?: number | undefined
  /** Creates the band for a new priority. @default a band in order of arrival */
  bandOf?: ((priority: number) => Band<Ticket>) | undefined
}

/** The waiting calls of one priority. Decides which goes next. */
export interface Band<Ticket> {
  readonly priority: number
  readonly size: number
  /** How many of them go before a new call. */
  ahead(ticket: Ticket | undefined): number
  add(waiter: Waiter<Ticket>): void
  remove(waiter: Waiter<Ticket>): void
  /** Selects the next call, which is then called immediately. */
  next(): Waiter<Ticket>
  /** All waiting calls. */
  all(): readonly Waiter<Ticket>[]
}

/**
 * Where calls wait for their turn: higher priority first; within a priority, the band decides.
 * Arriving, being called and leaving take constant time.
 */
export class WaitingRoom<Ticket = undefined> {
  readonly layer: string
  readonly #maxWaiting: number
  readonly maxWaitMs: number
  readonly #bandOf: (priority: number) => Band<Ticket>
  /** By priority. No band is empty. */
  readonly #bands = new Map<number, Band<Ticket>>()
  readonly #order = new Ranking<Band<Ticket>>()
  #waiting = 0

  constructor({ layer, maxWaiting, maxWaitMs, bandOf }: WaitingRoomOptions<Ticket>) {
    this.layer = layer
    this.#maxWaiting = maxWaiting
    this.maxWaitMs = maxWaitMs ?? Number.POSITIVE_INFINITY
    this.#bandOf = bandOf ?? ((priority) => new ArrivalBand(priority))
  }

  get waiting(): number {
    return this.#waiting
  }

  get isFull(): boolean {
    return this.#waiting >= this.#maxWaiting
  }

  /** How many waiting calls go before a new call of this priority. */
  ahead(priority: number, ticket?: Ticket): number {
    let ahead = 0
    for (const band of this.#bands.values()) {
      if (band.priority > priority) ahead += band.size
      else if (band.priority === priority) ahead += band.ahead(ticket)
    }
    return ahead
  }

  /** When a call that has waited since `since` gives up. */
  limit(context: Context, since: number): number {
    return giveUpAt(context, since, this.maxWaitMs)
  }

  /** Throws when the room is full. */
  admit(retryAfter?: number): void {
    if (!this.isFull) return
    throw new QueueFullError(this.#maxWaiting, { layer: this.layer, retryAfter })
  }

  /**
   * Resolves when the call's turn has come. Rejects, and leaves the room, when the call is aborted,
   * when its deadline or `maxWaitMs` passes (`TimeoutError`, phase `queue`), or when its stack
   * closes (`ClosedError`).
   * @param since when the call arrived
   * @param ticket what the band uses to order calls
   */
  wait(context: Context, since = now(), ticket?: Ticket): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(this, context, since, ticket, resolve, reject)
      this.#enter(waiter, context.priority)
      waiter.watch()
    })
  }

  /**
   * Selects the next call, which the caller of this method must then call. Undefined when none
   * waits.
   */
  next(): Waiter<Ticket> | undefined {
    return this.#order.first?.next()
  }

  /** Calls the next waiting call synchronously. False when none waits. */
  callNext(): boolean {
    const waiter = this.next()
    waiter?.call()
    return waiter !== undefined
  }

  /** All waiting calls. */
  all(): Waiter<Ticket>[] {
    return [...this.#bands.values()].flatMap((band) => band.all())
  }

  #enter(waiter: Waiter<Ticket>, priority: number): void {
    this.#waiting++
    const known = this.#bands.get(priority)
    if (known !== undefined) return known.add(waiter)
    const band = this.#bandOf(priority)
    this.#bands.set(priority, band)
    this.#order.add(band)
    band.add(waiter)
  }

  /** @internal */
  leave(waiter: Waiter<Ticket>, priority: number): void {
    this.#waiting--
    const band = this.#bands.get(priority) as Band<Ticket>
    band.remove(waiter)
    if (band.size > 0) return
    this.#bands.delete(priority)
    this.#order.remove(band)
  }
}

/** p-queue types its `PriorityQueue` for functions, but it holds any item. */
interface AnyPriorityQueue<Item> {
  enqueue(item: Item, at: { readonly priority: number }): void
  dequeue(): Item | undefined
  remove(item: Item): void
}

/**
 * Items ordered by priority, highest first. The first is kept separately, because p-queue cannot
 * show it without removing it. An item's priority must not change while it is in the ranking.
 */
export class Ranking<Item extends { readonly priority: number }> {
  #first: Item | undefined
  readonly #others = new PriorityQueue() as unknown as AnyPriorityQueue<Item>

  get first(): Item | undefined {
    return this.#first
  }

  add(item: Item): void {
    const first = this.#first
    if (first !== undefined && first.priority >= item.priority)
      return this.#others.enqueue(item, item)
    this.#first = item
    if (first !== undefined) this.#others.enqueue(first, first)
  }

  removeFirst(): void {
    this.#first = this.#others.dequeue()
  }

  /** Removes an item. Searches all items, unless it is the first. */
  remove(item: Item): void {
    if (item === this.#first) this.removeFirst()
    else this.#others.remove(item)
  }
}

/** Calls in order of arrival. */
class ArrivalBand<Ticket> implements Band<Ticket> {
  readonly priority: number
  size = 0
  readonly #line = new LinkedList<Waiter<Ticket>>()

  constructor(priority: number) {
    this.priority = priority
  }

  ahead(): number {
    return this.size
  }

  add(waiter: Waiter<Ticket>): void {
    this.#line.add(waiter)
    this.size++
  }

  remove(waiter: Waiter<Ticket>): void {
    this.#line.remove(waiter)
    this.size--
  }

  next(): Waiter<Ticket> {
    return this.#line.first as Waiter<Ticket>
  }

  all(): readonly Waiter<Ticket>[] {
    return this.#line.all()
  }
}
