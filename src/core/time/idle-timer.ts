import { now } from './clock.js'
import { type Expiring, NOT_WAITING } from './deadline-heap.js'
import { backgroundDeadlines } from './deadlines.js'

/**
 * Calls `run` each time that nothing has happened for a while, until it is stopped. `restart()`
 * only reads the clock, so it may be called for every chunk. It does not keep the process alive.
 */
export class IdleTimer implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #ms: number
  readonly #run: () => void
  #since = now()
  #isStopped = false

  constructor(ms: number, run: () => void) {
    this.#ms = ms
    this.#run = run
    backgroundDeadlines.set(this, this.#since + ms)
  }

  /** Something has happened. */
  restart(): void {
    this.#since = now()
  }

  stop(): void {
    this.#isStopped = true
    backgroundDeadlines.clear(this)
  }

  /** @internal */
  expire(): void {
    if (now() - this.#since >= this.#ms) {
      this.restart()
      this.#run()
    }
    if (!this.#isStopped) backgroundDeadlines.set(this, this.#since + this.#ms)
  }
}
