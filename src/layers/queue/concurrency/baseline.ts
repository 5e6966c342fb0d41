/** The calls that began before so many answers had come are the first. */
const FIRST = 4
/** How many times it goes back. */
const LONG = 200

/** What calls of one kind usually take. */
export class Baseline {
  #answers = 0
  #firstUntil = Number.POSITIVE_INFINITY
  #count = 0
  #mean = 0
  #variance = 0

  /**
   * An answer has come. Whether its call is one of the first. (The first answers would be those of
   * the shortest calls.)
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
   * The mean and half of its standard error: where few times are known that differ much, it may
   * well be that much more.
   */
  get ms(): number {
    return Math.max(1, this.#mean + Math.sqrt(this.#variance / Math.max(1, this.#count)) / 2)
  }

  scale(by: number): void {
    this.#mean *= by
    this.#variance *= by * by
  }
}
