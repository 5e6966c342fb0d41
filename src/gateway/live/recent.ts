import { now } from '../../core/index.js'

const WINDOW_MS = 60_000
/** Maximum number of stored durations. */
const KEPT = 1_000

/** Median and 95th percentile of the durations. Milliseconds. */
export interface Quantiles {
  readonly p50: number
  readonly p95: number
}

/** The durations of the last minute, at most the newest `KEPT`. */
export class Recent {
  readonly #values = new Float64Array(KEPT)
  readonly #ats = new Float64Array(KEPT)
  #count = 0

  add(ms: number): void {
    const place = this.#count++ % KEPT
    this.#values[place] = ms
    this.#ats[place] = now()
  }

  /** The quantiles; `undefined` if there are no durations. */
  quantiles(): Quantiles | undefined {
    const since = now() - WINDOW_MS
    const kept = Math.min(this.#count, KEPT)
    const values = this.#values
      .subarray(0, kept)
      .filter((_, place) => (this.#ats[place] as number) > since)
      .sort()
    if (values.length === 0) return undefined
    const at = (share: number) => Math.round(values[Math.floor(share * (values.length - 1))] ?? 0)
    return { p50: at(0.5), p95: at(0.95) }
  }
}
