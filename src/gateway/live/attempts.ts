import { now } from '../../core/index.js'

const WINDOW_MS = 60_000
/** So many wrong tokens an address may try within the window. */
const MOST_WRONG = 9
/** Above it the address that tried first is forgotten. */
const MOST_ADDRESSES = 1_000

/** Slows down who guesses the token. Frameworks that tell no address count as one. */
export class Attempts {
  readonly #wrongAt = new Map<string, readonly number[]>()

  /** How long an address has to wait before it may try. Milliseconds; 0: it may. */
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
