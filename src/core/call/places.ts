import type { Place } from '../types.js'

/** The callers of one piece of shared work. */
export class Places {
  // Most work has only one caller, which needs no collection.
  #first: Place | undefined
  #more: Set<Place> | undefined

  get count(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#more?.size ?? 0)
  }

  /** 0 while there are no callers. */
  get latestDeadline(): number {
    let latest = this.#first?.context.deadline ?? 0
    if (this.#more)
      for (const { context } of this.#more) latest = Math.max(latest, context.deadline)
    return latest
  }

  add(place: Place): void {
    if (this.#first === undefined) this.#first = place
    else {
      this.#more ??= new Set()
      this.#more.add(place)
    }
  }

  /** Returns whether the place was there. */
  remove(place: Place): boolean {
    if (this.#first !== place) return this.#more?.delete(place) === true
    this.#first = undefined
    return true
  }
}
