/**
 * What waits for a moment: any object with these two members, so that a layer's record of a call
 * can wait without a further object.
 */
export interface Expiring {
  /** Its slot, which only the set of deadlines writes. Begin with `NOT_WAITING`. */
  deadlineSlot: number
  /** The moment has come. */
  expire(): void
}

/** The `deadlineSlot` of what does not wait. */
export const NOT_WAITING = -1

/** Up to this many slots are kept when nobody waits, and left empty before the heap is tidied. */
const SPARE_SLOTS = 64

/**
 * Who waits for which moment, in a binary heap of slots; equal moments keep the order in which they
 * were set.
 *
 * Who leaves gives up the slot but not its place in the heap, which is tidied when half of it is
 * empty: with many calls of one duration that is five times as fast as taking the place out, and
 * nothing of the call is kept.
 */
export class DeadlineHeap {
  /** How many wait. */
  size = 0
  /** By slot; undefined where somebody has left. */
  #entries: (Expiring | undefined)[] = []
  #moments: number[] = []
  #orders: number[] = []
  #slots = 0
  #order = 0
  /** Slots that are not in the heap. */
  #free: number[] = []
  #freeCount = 0
  /** Slots, the earliest first. */
  #heap: number[] = []
  #heapSize = 0
  /** Slots that are neither free nor in the heap. */
  #taken = 0

  add(entry: Expiring, moment: number): void {
    const slot = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#slots++
    this.#entries[slot] = entry
    this.#moments[slot] = moment
    this.#orders[slot] = ++this.#order
    entry.deadlineSlot = slot
    this.size++
    this.#raise(this.#heapSize++, slot)
  }

  /** Takes out one that waits. */
  remove(entry: Expiring): void {
    this.#release(entry)
    this.#shrink()
  }

  /** The earliest moment that somebody waits for, or `Infinity`. */
  earliest(): number {
    while (this.#heapSize > 0) {
      const slot = this.#heap[0] as number
      if (this.#entries[slot] !== undefined) return this.#moments[slot] as number
      this.#free[this.#freeCount++] = this.#removeFirst()
    }
    return Number.POSITIVE_INFINITY
  }

  /** Takes out the one with the earliest moment; undefined when nobody waits. */
  takeFirst(): Expiring | undefined {
    while (this.#heapSize > 0) {
      const slot = this.#removeFirst()
      const entry = this.#entries[slot]
      this.#free[this.#freeCount++] = slot
      if (entry === undefined) continue
      this.#release(entry)
      this.#shrink()
      return entry
    }
    return undefined
  }

  /**
   * Takes out the slots whose moment is `moment` or before, in order. Each is to be given to
   * `expire()`; who waits there can still be removed before.
   */
  takeUntil(moment: number): number[] {
    const taken: number[] = []
    while (this.earliest() <= moment) taken.push(this.#removeFirst())
    this.#taken += taken.length
    return taken
  }

  /** Lets the one expire who waits in a slot that was taken out. */
  expire(slot: number): void {
    const entry = this.#entries[slot]
    if (entry !== undefined) this.#release(entry)
    this.#free[this.#freeCount++] = slot
    this.#taken--
    this.#shrink()
    entry?.expire()
  }

  #release(entry: Expiring): void {
    this.#entries[entry.deadlineSlot] = undefined
    entry.deadlineSlot = NOT_WAITING
    this.size--
  }

  /** After somebody has left. */
  #shrink(): void {
    if (this.#heapSize > 2 * this.size + SPARE_SLOTS) this.#tidy()
    if (this.size > 0 || this.#taken > 0) return
    this.#heapSize = 0
    this.#freeCount = 0
    this.#slots = 0
    if (this.#entries.length <= SPARE_SLOTS) return
    this.#entries = []
    this.#moments = []
    this.#orders = []
    this.#heap = []
    this.#free = []
  }

  /** Takes the empty slots out of the heap, all at once. */
  #tidy(): void {
    let size = 0
    for (let i = 0; i < this.#heapSize; i++) {
      const slot = this.#heap[i] as number
      if (this.#entries[slot] === undefined) this.#free[this.#freeCount++] = slot
      else this.#heap[size++] = slot
    }
    this.#heapSize = size
    for (let i = (size >> 1) - 1; i >= 0; i--) this.#sink(i, this.#heap[i] as number)
  }

  #removeFirst(): number {
    const first = this.#heap[0] as number
    const last = this.#heap[--this.#heapSize] as number
    if (this.#heapSize > 0) this.#sink(0, last)
    return first
  }

  #isBefore(one: number, other: number): boolean {
    const moment = this.#moments[one] as number
    const otherMoment = this.#moments[other] as number
    if (moment !== otherMoment) return moment < otherMoment
    return (this.#orders[one] as number) < (this.#orders[other] as number)
  }

  /** Puts a slot at a place in the heap or, as far as it comes before those there, higher up. */
  #raise(place: number, slot: number): void {
    const heap = this.#heap
    let at = place
    while (at > 0) {
      const above = (at - 1) >> 1
      const other = heap[above] as number
      if (!this.#isBefore(slot, other)) break
      heap[at] = other
      at = above
    }
    heap[at] = slot
  }

  /** Puts a slot at a place in the heap or, as far as those there come before it, lower down. */
  #sink(place: number, slot: number): void {
    const heap = this.#heap
    let at = place
    for (let below = 2 * at + 1; below < this.#heapSize; below = 2 * at + 1) {
      const right = below + 1
      if (right < this.#heapSize && this.#isBefore(heap[right] as number, heap[below] as number))
        below = right
      const other = heap[below] as number
      if (this.#isBefore(slot, other)) break
      heap[at] = other
      at = below
    }
    heap[at] = slot
  }
}
