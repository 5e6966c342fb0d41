/** Answers that must have ended before an estimate is worth refusing calls for. */
const ENOUGH = 10

/**
 * How long calls hold their slot: a mean and a deviation, recent calls weighing more, with the weights that TCP uses for its round trips.
 * @see https://www.rfc-editor.org/rfc/rfc6298 section 2
 */
export class ServiceTime {
  /** 0 while unknown. Milliseconds. */
  meanMs = 0
  #deviationMs = 0
  #count = 0

  add(ms: number): void {
    if (this.#count === 0) this.meanMs = ms
    else {
      const error = ms - this.meanMs
      this.#deviationMs += (Math.abs(error) - this.#deviationMs) / 4
      this.meanMs += error / 8
    }
    this.#count++
  }

  get isKnown(): boolean {
    return this.#count >= ENOUGH
  }

  /** A call that gets less time than this is all but lost. Short calls and long ones may go through one queue, so it is a low estimate. Milliseconds. */
  get atLeastMs(): number {
    return Math.max(0, this.meanMs - this.#deviationMs)
  }
}
