/** The last values of something, in order of size. */
export class LastValues {
  /** In the order in which they came, from `#oldest` on when there are as many as are kept. */
  readonly #inTurn: Float64Array
  readonly #sorted: Float64Array
  #oldest = 0
  count = 0

  /** @param kept how many are remembered */
  constructor(kept: number) {
    this.#inTurn = new Float64Array(kept)
    this.#sorted = new Float64Array(kept)
  }

  add(value: number): void {
    const kept = this.#inTurn.length
    const place =
      this.count < kept ? this.count++ : this.#placeOf(this.#inTurn[this.#oldest] as number)
    this.#put(value, place)
    this.#inTurn[this.#oldest] = value
    this.#oldest = (this.#oldest + 1) % kept
  }

  clear(): void {
    this.count = 0
    this.#oldest = 0
  }

  /** The value at a place, from 0 for the smallest; there must be so many. */
  at(place: number): number {
    return this.#sorted[place] as number
  }

  /** The value that this share of them is at most; there must be one. */
  quantile(share: number): number {
    return this.at(Math.ceil(share * this.count) - 1)
  }

  /** Puts a value into the order, for the one that is at `place`. */
  #put(value: number, place: number): void {
    const sorted = this.#sorted
    let at = place
    while (at > 0 && (sorted[at - 1] as number) > value) {
      sorted[at] = sorted[at - 1] as number
      at--
    }
    while (at + 1 < this.count && (sorted[at + 1] as number) < value) {
      sorted[at] = sorted[at + 1] as number
      at++
    }
    sorted[at] = value
  }

  #placeOf(value: number): number {
    let low = 0
    let high = this.count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle] as number) < value) low = middle + 1
      else high = middle
    }
    return low
  }
}
