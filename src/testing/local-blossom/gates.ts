import { now } from '../../core/index.js'
import { Refusal } from './errors.js'
import type { Exchange } from './exchange.js'
import type { Settings } from './options.js'

/**
 * The rules that a request must pass before anything is generated: API key, rate and concurrency.
 * @internal
 */
export class Gates {
  #running = 0
  #recent: number[] = []
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Throws a 401 for a missing or unknown key. */
  checkKey(key: string | undefined): void {
    const { keys } = this.#settings
    if (keys === undefined || (key !== undefined && keys.has(key))) return
    throw new Refusal(401, key === undefined ? 'An API key is required.' : 'Unknown API key.')
  }

  /** Throws a 429 when `limit` requests have come within the last `intervalMs`. */
  checkRate(): void {
    const { rate } = this.#settings
    if (rate === undefined) return
    const at = now()
    this.#recent = this.#recent.filter((before) => before > at - rate.intervalMs)
    const oldest = this.#recent[0]
    if (oldest !== undefined && this.#recent.length >= rate.limit) {
      const retryAfterSeconds = Math.max(0.001, Math.round(oldest + rate.intervalMs - at) / 1000)
      throw new Refusal(429, 'Rate limit exceeded', {
        headers: { 'retry-after': String(Math.ceil(retryAfterSeconds)) },
        body: {
          error: 'Rate limit exceeded',
          message: 'Too many requests in a short time.',
          retryAfterSeconds,
        },
      })
    }
    this.#recent.push(at)
  }

  /** Takes a place for one generation until its answer ends. Throws a 429 when there is none. */
  takePlace(exchange: Exchange): void {
    const { concurrency } = this.#settings
    if (this.#running >= concurrency) {
      throw new Refusal(429, 'Too many generations at a time.', {
        headers: { 'retry-after': '1' },
        body: {
          error: 'concurrency_limit_exceeded',
          message: `Only ${concurrency} generation(s) may run at a time.`,
        },
      })
    }
    this.#running++
    exchange.atEnd(() => {
      this.#running--
    })
  }

  /** Resets the rate. Places in use are still released one by one. */
  reset(): void {
    this.#recent = []
  }
}
