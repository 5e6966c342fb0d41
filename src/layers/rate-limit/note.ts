import type { Limits } from './limits.js'
import type { LimitLevel, LimitStore } from './store.js'

/** What a call's `meta` holds under the layer's name. */
export interface RateLimitNote {
  /** How long the call has waited for its turn. Milliseconds. */
  readonly waitedMs: number
  /** What is left of the limits of requests and tokens, as of the reading. */
  readonly limits: readonly LimitLevel[]
  /** The other processes could not be asked: this one has decided alone. */
  readonly alone?: true | undefined
}

/** Looks up what is left only when somebody reads it. */
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
