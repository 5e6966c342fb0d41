import { now } from '../../src/core/index.js'
import type { Amounts, Limits } from '../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../src/layers/rate-limit/memory-store.js'
import type { LimitStore, Refusal, Reservation } from '../../src/layers/rate-limit/store.js'
import { MINUTE } from './sliding-minute.js'

const NO_LIMITS: Limits = { requests: undefined, tokens: undefined, cost: undefined }

/** Counts by the minutes of the clock, for all keys together, as many limiters do. */
export class FixedWindow implements LimitStore {
  readonly keys = 1
  readonly #inner = new MemoryStore()
  #window = Number.NaN
  #requests = 0
  #tokens = 0

  reserve(key: string, { requests, tokens }: Amounts, of: Limits): Reservation | Refusal {
    const window = Math.floor(now() / MINUTE)
    if (window !== this.#window) this.#requests = this.#tokens = 0
    this.#window = window
    const hasRequests = of.requests === undefined || this.#requests + requests <= of.requests.limit
    const hasTokens = of.tokens === undefined || this.#tokens + tokens <= of.tokens.limit
    if (!hasRequests || !hasTokens) {
      const unit = hasRequests ? 'tokens' : 'requests'
      const retryAfterMs = (window + 1) * MINUTE - now()
      return { granted: false, unit, rate: of[unit], retryAfterMs }
    }
    this.#requests += requests
    this.#tokens += tokens
    const nothing = { requests: 0, tokens: 0, cost: 0 }
    return this.#inner.reserve(key, nothing, NO_LIMITS, nothing)
  }

  settle(): undefined {}

  levels(): readonly [] {
    return []
  }
}
