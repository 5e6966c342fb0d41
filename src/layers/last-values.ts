/** The last values of something, sorted. */
export class LastValues {
  /** In order of arrival, starting at `#oldest` when full. */
  readonly #inTurn: Float64Array
  readonly #sorted: Float64Array
  #oldest = 0
  count = 0

  /** @param kept how many values to keep */
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

  /** The value at a position, 0 being the smallest. The position must exist. */
  at(place: number): number {
    return this.#sorted[place] as number
  }

  /** The value that this share of the values does not exceed. There must be at least one value. */
  quantile(share: number): number {
    return this.at(Math.ceil(share * this.count) - 1)
  }

  /** Sorts a value in, replacing the one at `place`. */
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
