import { LastValues } from '../last-values.js'

/** How many durations are kept, the latest ones. */
const KEPT = 100
/** Fewer are not enough for an estimate. */
const NEEDED = 20

/** The durations of the last successful calls. */
export class Samples {
  readonly #times = new LastValues(KEPT)

  add(ms: number): void {
    this.#times.add(ms)
  }

  /** The duration that this share of calls did not exceed; undefined when there are too few. */
  quantile(share: number): number | undefined {
    return this.#times.count < NEEDED ? undefined : this.#times.quantile(share)
  }
}
