import { now } from '../../core/index.js'

const WINDOW_MS = 60_000
/** Number of wrong tokens that an address may send within the window. */
const MOST_WRONG = 9
/** Maximum number of remembered addresses; the oldest is dropped first. */
const MOST_ADDRESSES = 1_000

/** Slows down guessing of the token. Requests without a known address count as one address. */
export class Attempts {
  readonly #wrongAt = new Map<string, readonly number[]>()

  /** Milliseconds until an address may try again; 0 if it may now. */
  waitOf(address: string): number {
    const recent = this.#recent(address)
    const [oldest] = recent
    return oldest === undefined || recent.length < MOST_WRONG ? 0 : oldest + WINDOW_MS - now()
  }

  wrong(address: string): void {
    const recent = this.#recent(address)
    this.#wrongAt.delete(address)
    this.#wrongAt.set(address, [...recent, now()])
    const [first] = this.#wrongAt.keys()
    if (first !== undefined && this.#wrongAt.size > MOST_ADDRESSES) this.#wrongAt.delete(first)
  }

  #recent(address: string): readonly number[] {
    const since = now() - WINDOW_MS
    return (this.#wrongAt.get(address) ?? []).filter((at) => at > since)
  }
}
