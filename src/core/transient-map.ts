/** How many places may be empty, however few entries there are. */
const GONE = 64

/**
 * A map whose entries come and go all the time. When a `Map` grows or shrinks, its old table stays
 * in memory, linked to the new one, with all of its entries until the next full garbage collection.
 * With an entry per call, finished calls stay in memory and a call costs twice as much. So deleting
 * only empties a place here, and from time to time the remaining entries move to a new map.
 */
export class TransientMap<Value extends object> {
  #places = new Map<string, Value | undefined>()
  #gone = 0

  get(key: string): Value | undefined {
    return this.#places.get(key)
  }

  set(key: string, value: Value): void {
    const places = this.#places.size
    const before = this.#places.get(key)
    this.#places.set(key, value)
    if (before === undefined && this.#places.size === places) this.#gone--
  }

  /** Deletes the entry if it has this value. */
  delete(key: string, value: Value): void {
    if (this.#places.get(key) !== value) return
    this.#places.set(key, undefined)
    if (++this.#gone > GONE && this.#gone * 2 > this.#places.size) this.#renew()
  }

  #renew(): void {
    const places = new Map<string, Value>()
    for (const [key, value] of this.#places) if (value !== undefined) places.set(key, value)
    this.#places = places
    this.#gone = 0
  }
}
