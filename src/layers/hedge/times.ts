import type { BaseFacts } from '../../core/index.js'
import { Samples } from './samples.js'

/** Limited, because callers choose the names of models. */
const MODELS_KEPT = 1_000

/**
 * The durations of answers by model and form: streams to their first content, others to their end.
 */
export class Times {
  readonly #streams = new Map<string | undefined, Samples>()
  readonly #others = new Map<string | undefined, Samples>()

  /** The durations of answers to requests like this one. */
  of(request: unknown, base: BaseFacts): Samples {
    const byModel = base.streams?.(request) === true ? this.#streams : this.#others
    const model = base.model?.(request)
    let samples = byModel.get(model)
    if (samples === undefined) {
      const [oldest] = byModel.keys()
      if (byModel.size >= MODELS_KEPT) byModel.delete(oldest)
      samples = new Samples()
      byModel.set(model, samples)
    }
    return samples
  }
}
