import { currentClock } from '../../core/index.js'
import { digest } from './text.js'

const KEPT = 1000

/**
 * Generations shared by identical requests: those in progress and the last 1,000 finished ones. A
 * generation in progress continues without its clients, as in the gateway (Pollinations gateway
 * documentation, 2026-11).
 *
 * @internal
 */
export class SharedGenerations<T> {
  readonly #answers = new Map<string, Promise<T>>()
  /** Functions that stop running timers. */
  readonly #timers = new Set<() => void>()

  /** Identifies a request by its bytes. A digest, because the query may contain an API key. */
  static identity(method: string, path: string, query: string, body: string): string {
    return digest(method, path, query, body).toString('base64')
  }

  find(identity: string): Promise<T> | undefined {
    const answer = this.#answers.get(identity)
    if (answer !== undefined) {
      // Moves it to the end: least recently used entries are dropped first.
      this.#answers.delete(identity)
      this.#answers.set(identity, answer)
    }
    return answer
  }

  /** Starts a generation that takes `ms` milliseconds. */
  begin(identity: string, ms: number, make: () => T): Promise<T> {
    const answer = this.#after(ms).then(make)
    this.#answers.set(identity, answer)
    // A failure goes to those waiting for it and is not kept.
    answer.catch(() => {
      if (this.#answers.get(identity) === answer) this.#answers.delete(identity)
    })
    for (const [oldest] of this.#answers) {
      if (this.#answers.size <= KEPT) break
      this.#answers.delete(oldest)
    }
    return answer
  }

  /** Clears all answers. Those in progress still reach whoever waits for them. */
  clear(): void {
    this.#answers.clear()
  }

  /** Clears everything, including timers. */
  close(): void {
    this.clear()
    for (const stop of this.#timers) stop()
    this.#timers.clear()
  }

  #after(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const run = () => {
        this.#timers.delete(stop)
        resolve()
      }
      const stop = currentClock().startTimer(run, ms, true)
      this.#timers.add(stop)
    })
  }
}
