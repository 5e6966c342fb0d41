/** A node of a linked list: any object with these members. Only the list writes them. */
export interface Linked {
  list: object | undefined
  before: Linked | undefined
  after: Linked | undefined
}

/** A node of a linked list. Extend it with your own fields. */
export class Link implements Linked {
  list: object | undefined = undefined
  before: Linked | undefined = undefined
  after: Linked | undefined = undefined
}

/**
 * A doubly linked list. Any node can be removed in constant time. (A `Set` that every call fills
 * and empties spends most of its time on growing again.)
 */
export class LinkedList<Place extends Linked> {
  #first: Linked | undefined
  #last: Linked | undefined

  get first(): Place | undefined {
    return this.#first as Place | undefined
  }

  get last(): Place | undefined {
    return this.#last as Place | undefined
  }

  add(place: Place): void {
    place.list = this
    place.before = this.#last
    if (this.#last === undefined) this.#first = place
    else this.#last.after = place
    this.#last = place
  }

  /** Returns whether the node was in the list. */
  remove(place: Place): boolean {
    if (place.list !== this) return false
    const { before, after } = place
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    place.list = undefined
    place.before = undefined
    place.after = undefined
    return true
  }

  /** A snapshot of all nodes. */
  all(): Place[] {
    const places: Place[] = []
    for (let place = this.#first; place !== undefined; place = place.after)
      places.push(place as Place)
    return places
  }
}
