/** Calls that started before this many answers had arrived count as first calls. */
const FIRST = 4
/** How many durations the mean covers. */
const LONG = 200

/** The usual duration of calls of one kind. */
export class Baseline {
  #answers = 0
  #firstUntil = Number.POSITIVE_INFINITY
  #count = 0
  #mean = 0
  #variance = 0

  /**
   * Records an answer. Returns whether its call is one of the first. (Taking the first answers
   * instead would select the shortest calls.)
   */
  takes(beganAt: number, at: number): boolean {
    if (++this.#answers === FIRST) this.#firstUntil = at
    return beganAt < this.#firstUntil
  }

  learn(ms: number): void {
    const share = 1 / Math.min(++this.#count, LONG)
    const distance = ms - this.#mean
    this.#mean += share * distance
    this.#variance = (1 - share) * (this.#variance + share * distance * distance)
  }

  /**
   * The mean plus half of its standard error, because a mean of few, widely spread values may be
   * too low.
   */
  get ms(): number {
    return Math.max(1, this.#mean + Math.sqrt(this.#variance / Math.max(1, this.#count)) / 2)
  }

  scale(by: number): void {
    this.#mean *= by
    this.#variance *= by * by
  }
}
