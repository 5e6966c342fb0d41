/**
 * Something that waits for a point in time: any object with these two members, so that a layer's
 * record of a call can wait without another object.
 */
export interface Expiring {
  /** Its slot, written only by the set of deadlines. Start with `NOT_WAITING`. */
  deadlineSlot: number
  /** Called when the time has come. */
  expire(): void
}

/** The `deadlineSlot` of an entry that is not waiting. */
export const NOT_WAITING = -1

/**
 * How many slots are kept when nobody waits, and how many may be empty before the heap is
 * compacted.
 */
const SPARE_SLOTS = 64

/**
 * Who waits for which time: a binary heap of slots. Entries with equal times keep the order in
 * which they were added.
 *
 * A removed entry empties its slot but leaves the slot in the heap. The heap is compacted when half
 * of it is empty. With many calls of one duration this is five times as fast as removing from the
 * middle of the heap, and nothing of the call is kept in memory.
 */
export class DeadlineHeap {
  /** Number of waiting entries. */
  size = 0
  /** Entries by slot; undefined where the entry has been removed. */
  #entries: (Expiring | undefined)[] = []
  #moments: number[] = []
  #orders: number[] = []
  #slots = 0
  #order = 0
  /** Slots that are not in the heap. */
  #free: number[] = []
  #freeCount = 0
  /** A heap of slots, earliest first. */
  #heap: number[] = []
  #heapSize = 0
  /** Number of slots that `takeUntil()` took and `expire()` has not seen yet. */
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

  /** Removes a waiting entry. */
  remove(entry: Expiring): void {
    this.#release(entry)
    this.#shrink()
  }

  /** The earliest time that an entry waits for, or `Infinity`. */
  earliest(): number {
    while (this.#heapSize > 0) {
      const slot = this.#heap[0] as number
      if (this.#entries[slot] !== undefined) return this.#moments[slot] as number
      this.#free[this.#freeCount++] = this.#removeFirst()
    }
    return Number.POSITIVE_INFINITY
  }

  /** Removes and returns the entry with the earliest time; undefined when there is none. */
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
   * Removes and returns, in order, the slots whose time is `moment` or earlier. Pass each to
   * `expire()`. Until then its entry can still be removed.
   */
  takeUntil(moment: number): number[] {
    const taken: number[] = []
    while (this.earliest() <= moment) taken.push(this.#removeFirst())
    this.#taken += taken.length
    return taken
  }

  /** Expires the entry in a slot returned by `takeUntil()`, unless it has been removed. */
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

  /** Called after a removal. */
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

  /** Removes all empty slots from the heap. */
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

  /** Places a slot at `place` or higher, before the slots it must precede. */
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

  /** Places a slot at `place` or lower, after the slots it must follow. */
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
