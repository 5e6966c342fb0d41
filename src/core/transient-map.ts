/** Entries that are gone may take this many places, however few are there. */
const GONE = 64

/**
 * A map whose entries come and go all the time. A `Map` that grows or shrinks leaves its old table
 * behind, chained to the new one with all that was in it, until the next full garbage collection:
 * with a call for an entry, calls that have long been answered are dragged along, and a call costs
 * twice as much. So entries only empty their places here, and those that are left move to a new map
 * now and then.
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

  /** Takes the entry away if it is this value. */
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
