import { LRUCache } from 'lru-cache'

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
  /** In the order in which they came, the oldest overwritten first. */
  readonly #came: number[] = []
  readonly #sorted: number[] = []
  #next = 0

  add(output: number): void {
    const oldest = this.#came[this.#next]
    const at = oldest === undefined ? this.#sorted.length : placeOf(oldest, this.#sorted)
    this.#move(at, output)
    this.#came[this.#next] = output
    this.#next = (this.#next + 1) % KEPT
  }

  /** Puts a value in the place of another, or of none, and then where it belongs. */
  #move(from: number, value: number): void {
    const sorted = this.#sorted
    let at = from
    for (; at > 0 && (sorted[at - 1] as number) > value; at--) sorted[at] = sorted[at - 1] as number
    for (; at + 1 < sorted.length && (sorted[at + 1] as number) < value; at++)
      sorted[at] = sorted[at + 1] as number
    sorted[at] = value
  }

  get estimate(): number {
    const { length } = this.#sorted
    return length < ENOUGH ? UNKNOWN : (this.#sorted[Math.ceil(length * SHARE) - 1] as number)
  }
}

/** The first place in a sorted list whose value is not below this one. */
function placeOf(value: number, sorted: readonly number[]): number {
  let from = 0
  let to = sorted.length
  while (from < to) {
    const middle = (from + to) >> 1
    if ((sorted[middle] as number) < value) from = middle + 1
    else to = middle
  }
  return from
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
