// p-queue's `PriorityQueue` keeps the bands in order, one band for each priority in use, and the
// tenants within a band. The calls are ours, in linked lists: p-queue walks through all who wait to
// take one out, and its place in the line costs a promise, a closure and an abort signal. When
// somebody is called is for the layer to decide: `PQueue` would, as soon as its own count allows.

import { PriorityQueue } from 'p-queue'
import { type Context, LinkedList, now, QueueFullError } from '../core/index.js'
import { Waiter } from './waiter.js'
import { giveUpAt } from './waiting-call.js'

export type { Waiter } from './waiter.js'

/** Options of a `WaitingRoom`. */
export interface WaitingRoomOptions<Ticket = undefined> {
  /** Name of the layer, for its errors and events. */
  layer: string
  /** Calls that may wait. */
  maxWaiting: number
  /** Longest wait. Milliseconds. @default none */
  maxWaitMs?: number | undefined
  /** The band for a priority that nobody has who waits. @default one in order of arrival */
  bandOf?: ((priority: number) => Band<Ticket>) | undefined
}

/** The calls of one priority, and which of them goes next. */
export interface Band<Ticket> {
  readonly priority: number
  readonly size: number
  /** How many of them go before a newcomer. */
  ahead(ticket: Ticket | undefined): number
  add(waiter: Waiter<Ticket>): void
  remove(waiter: Waiter<Ticket>): void
  /** Decides whose turn it is; that one is called at once. */
  next(): Waiter<Ticket>
  /** All who wait. */
  all(): readonly Waiter<Ticket>[]
}

/**
 * Where calls wait for their turn: larger priority first, and within one as their band decides.
 * Coming, being called and leaving cost the same however many wait.
 */
export class WaitingRoom<Ticket = undefined> {
  readonly layer: string
  readonly #maxWaiting: number
  readonly maxWaitMs: number
  readonly #bandOf: (priority: number) => Band<Ticket>
  /** By priority. None of them is empty. */
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

  /** How many of those who wait go before a newcomer of this priority. */
  ahead(priority: number, ticket?: Ticket): number {
    let ahead = 0
    for (const band of this.#bands.values()) {
      if (band.priority > priority) ahead += band.size
      else if (band.priority === priority) ahead += band.ahead(ticket)
    }
    return ahead
  }

  /** The moment at which a call gives up that has waited since `since`. */
  limit(context: Context, since: number): number {
    return giveUpAt(context, since, this.maxWaitMs)
  }

  /** Throws when the room is full. */
  admit(retryAfter?: number): void {
    if (!this.isFull) return
    throw new QueueFullError(this.#maxWaiting, { layer: this.layer, retryAfter })
  }

  /**
   * Resolves when the call's turn has come. Rejects, and leaves the room at once, when it is
   * aborted, when its deadline or `maxWaitMs` passes (`TimeoutError`, phase `queue`), or when its
   * stack closes (`ClosedError`). `since`: when it came. `ticket`: what its band goes by.
   */
  wait(context: Context, since = now(), ticket?: Ticket): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(this, context, since, ticket, resolve, reject)
      this.#enter(waiter, context.priority)
      waiter.watch()
    })
  }

  /** Decides whose turn it is: whoever asks calls that one. Undefined when nobody waits. */
  next(): Waiter<Ticket> | undefined {
    return this.#order.first?.next()
  }

  /** Lets the first one go, before it returns. False when nobody waits. */
  callNext(): boolean {
    const waiter = this.next()
    waiter?.call()
    return waiter !== undefined
  }

  /** All who wait. */
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

/** p-queue's `PriorityQueue` is typed for functions and holds anything. */
interface AnyPriorityQueue<Item> {
  enqueue(item: Item, at: { readonly priority: number }): void
  dequeue(): Item | undefined
  remove(item: Item): void
}

/**
 * Items with the largest priority first. The first is kept apart, as p-queue does not show it
 * without taking it out. While an item is in it, its priority must not change.
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

  /** Walks through the items, unless it is the first. */
  remove(item: Item): void {
    if (item === this.#first) this.removeFirst()
    else this.#others.remove(item)
  }
}

/** Who came first goes first. */
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
