import { LRUCache } from 'lru-cache'
import { LastValues } from '../last-values.js'

/** How many answers of a model are remembered. */
const KEPT = 100
/** How many answers must be known before they are used. */
const ENOUGH = 20
/** Estimate until then. Tokens. */
const UNKNOWN = 256
/** The share of answers that are no longer than the estimate. */
const SHARE = 0.75
/** How many models are remembered. Limited, because callers choose the names. */
const MODELS_KEPT = 1_000

/** The lengths of a model's last answers. */
class RecentOutputs {
  readonly #outputs = new LastValues(KEPT)

  add(output: number): void {
    this.#outputs.add(output)
  }

  get estimate(): number {
    return this.#outputs.count < ENOUGH ? UNKNOWN : this.#outputs.quantile(SHARE)
  }
}

/** Estimates the length of answers per model, from past answers. */
export class OutputEstimates {
  readonly #byModel = new LRUCache<string, RecentOutputs>({ max: MODELS_KEPT })

  /** Estimated length for a model. Tokens. */
  of(model: string): number {
    return this.#byModel.get(model)?.estimate ?? UNKNOWN
  }

  add(model: string, output: number): void {
    let outputs = this.#byModel.get(model)
    if (outputs === undefined) {
      outputs = new RecentOutputs()
      this.#byModel.set(model, outputs)
    }
    outputs.add(output)
  }
}
