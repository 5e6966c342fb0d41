import { LRUCache } from 'lru-cache'
import { LastValues } from '../last-values.js'

/** Answers that are remembered of a model. */
const KEPT = 100
/** Answers that must be known before they count. */
const ENOUGH = 20
/** Tokens, until enough is known. */
const UNKNOWN = 256
/** Three of four answers are no longer than the estimate. */
const SHARE = 0.75
/** Models that are remembered: their names come from callers. */
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

/** How long the answers of each model will probably be, by those that were. */
export class OutputEstimates {
  readonly #byModel = new LRUCache<string, RecentOutputs>({ max: MODELS_KEPT })

  /** Tokens. */
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
