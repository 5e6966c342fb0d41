import { type Labels, numberText, type Sample } from './families.js'

/**
 * Upper bounds of the buckets, in seconds: from a cache hit to long calls.
 */
const BOUNDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 300]

/** A histogram of durations. */
export class Histogram {
  /** Count of each bucket, not cumulative; the last bucket has no bound. */
  readonly #counts = new Array<number>(BOUNDS.length + 1).fill(0)
  #sum = 0

  observe(ms: number): void {
    const seconds = ms / 1_000
    let bucket = 0
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] as number)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#sum += seconds
  }

  samples(labels: Labels): Sample[] {
    let count = 0
    const buckets = this.#counts.map((own, i): Sample => {
      count += own
      const le = numberText(BOUNDS[i] ?? Number.POSITIVE_INFINITY)
      return { suffix: '_bucket', labels: { ...labels, le }, value: count }
    })
    if (count === 0) return []
    return [
      ...buckets,
      { suffix: '_sum', labels, value: this.#sum },
      { suffix: '_count', labels, value: count },
    ]
  }
}
