/** So many are remembered, the last ones. */
const KEPT = 100
/** Fewer say nothing. */
const NEEDED = 20

/** How long the last successes took. */
export class Samples {
  /** In the order in which they came, from `#oldest` on when there are as many as are kept. */
  readonly #inTurn = new Float64Array(KEPT)
  readonly #sorted = new Float64Array(KEPT)
  #count = 0
  #oldest = 0

  add(ms: number): void {
    if (this.#count < KEPT) this.#insert(ms, this.#count++)
    else this.#insert(ms, this.#placeOf(this.#inTurn[this.#oldest] as number))
    this.#inTurn[this.#oldest] = ms
    this.#oldest = (this.#oldest + 1) % KEPT
  }

  /** The time that this share of them took at most; undefined while there are too few. */
  quantile(share: number): number | undefined {
    if (this.#count < NEEDED) return undefined
    return this.#sorted[Math.ceil(share * this.#count) - 1]
  }

  /** Puts a value into the order, in place of the one at `place`. */
  #insert(ms: number, place: number): void {
    const sorted = this.#sorted
    let at = place
    while (at > 0 && (sorted[at - 1] as number) > ms) {
      sorted[at] = sorted[at - 1] as number
      at--
    }
    while (at + 1 < this.#count && (sorted[at + 1] as number) < ms) {
      sorted[at] = sorted[at + 1] as number
      at++
    }
    sorted[at] = ms
  }

  #placeOf(ms: number): number {
    let low = 0
    let high = this.#count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle] as number) < ms) low = middle + 1
      else high = middle
    }
    return low
  }
}
