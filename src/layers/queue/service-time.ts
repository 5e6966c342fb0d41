/** How many answers must have ended before the estimate is used to reject calls. */
const ENOUGH = 10
/**
 * How many durations are kept: enough for a quantile, and soon replaced when upstream gets slower
 * or faster.
 */
const KEPT = 64

/** How long the last calls held their slot. */
export class ServiceTime {
  readonly #kept: number[] = []
  #count = 0
  #sum = 0
  #sorted: number[] | undefined

  add(ms: number): void {
    const at = this.#count++ % KEPT
    this.#sum += ms - (this.#kept[at] ?? 0)
    this.#kept[at] = ms
    this.#sorted = undefined
  }

  get isKnown(): boolean {
    return this.#count >= ENOUGH
  }

  /** Mean duration; 0 while unknown. Milliseconds. */
  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#kept.length
  }

  /** The duration that this share of calls did not exceed. Milliseconds. */
  within(share: number): number {
    this.#sorted ??= this.#kept.toSorted((a, b) => a - b)
    return this.#sorted[Math.floor(share * (this.#sorted.length - 1))] ?? 0
  }
}
