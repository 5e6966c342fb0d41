import type { Limits } from './limits.js'
import type { LimitLevel, LimitStore } from './store.js'

/** The note of `rateLimit()` in a call's `meta`, under the layer's name. */
export interface RateLimitNote {
  /** How long the call waited for its turn. Milliseconds. */
  readonly waitedMs: number
  /** What is left of the limits on requests and tokens, at the time of reading. */
  readonly limits: readonly LimitLevel[]
  /** Set when the shared state could not be reached, so that this process decided alone. */
  readonly alone?: true | undefined
}

/** Computes what is left only when it is read. */
export class Note implements RateLimitNote {
  waitedMs = 0
  alone?: true
  readonly #store: LimitStore
  readonly #key: string
  readonly #limits: Limits

  constructor(store: LimitStore, key: string, limits: Limits) {
    this.#store = store
    this.#key = key
    this.#limits = limits
  }

  get limits(): readonly LimitLevel[] {
    return this.#store.levels(this.#key, this.#limits)
  }
}
