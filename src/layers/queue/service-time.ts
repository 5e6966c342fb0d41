/** Answers that must have ended before an estimate is worth refusing calls for. */
const ENOUGH = 10
/**
 * What is remembered: enough for a quantile, and soon forgotten when upstream gets slower or
 * faster.
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

  /** 0 while unknown. Milliseconds. */
  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#kept.length
  }

  /** The time within which this share of the calls was done. Milliseconds. */
  within(share: number): number {
    this.#sorted ??= this.#kept.toSorted((a, b) => a - b)
    return this.#sorted[Math.floor(share * (this.#sorted.length - 1))] ?? 0
  }
}
