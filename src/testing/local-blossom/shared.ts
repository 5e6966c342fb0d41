import { currentClock } from '../../core/index.js'
import { digest } from './text.js'

const KEPT = 1000

/**
 * Generations that identical requests share: those in progress and the last 1,000 that are done. A
 * generation in progress goes on without its clients, as the gateway's does (Pollinations gateway
 * documentation, 2026-11).
 *
 * @internal
 */
export class SharedGenerations<T> {
  readonly #answers = new Map<string, Promise<T>>()
  /** What stops them. */
  readonly #timers = new Set<() => void>()

  /** Identity of a request: its bytes. A digest, since the query may hold a key. */
  static identity(method: string, path: string, query: string, body: string): string {
    return digest(method, path, query, body).toString('base64')
  }

  find(identity: string): Promise<T> | undefined {
    const answer = this.#answers.get(identity)
    if (answer !== undefined) {
      // Read last, forgotten last.
      this.#answers.delete(identity)
      this.#answers.set(identity, answer)
    }
    return answer
  }

  /** Begins a generation that takes so many milliseconds. */
  begin(identity: string, ms: number, make: () => T): Promise<T> {
    const answer = this.#after(ms).then(make)
    this.#answers.set(identity, answer)
    // A failure is for those who wait for it now; it is not kept.
    answer.catch(() => {
      if (this.#answers.get(identity) === answer) this.#answers.delete(identity)
    })
    for (const [oldest] of this.#answers) {
      if (this.#answers.size <= KEPT) break
      this.#answers.delete(oldest)
    }
    return answer
  }

  /** Forgets all answers; what is in progress still reaches those who wait for it. */
  clear(): void {
    this.#answers.clear()
  }

  /** Forgets everything, timers included: nobody is waiting any more. */
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
