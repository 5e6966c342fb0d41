import { LastValues } from '../last-values.js'

/** So many are remembered, the last ones. */
const KEPT = 100
/** Fewer say nothing. */
const NEEDED = 20

/** How long the last successes took. */
export class Samples {
  readonly #times = new LastValues(KEPT)

  add(ms: number): void {
    this.#times.add(ms)
  }

  /** The time that this share of them took at most; undefined while there are too few. */
  quantile(share: number): number | undefined {
    return this.#times.count < NEEDED ? undefined : this.#times.quantile(share)
  }
}
