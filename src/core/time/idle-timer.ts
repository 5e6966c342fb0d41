import { now } from './clock.js'
import { type Expiring, NOT_WAITING } from './deadline-heap.js'
import { backgroundDeadlines } from './deadlines.js'

/**
 * Calls `run` each time nothing has happened for `ms`, until stopped. `restart()` only reads the
 * clock, so it may be called for every chunk. Does not keep the process alive.
 */
export class IdleTimer implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #ms: number
  readonly #run: () => void
  #since = now()
  #wasRestarted = false
  #isStopped = false

  constructor(ms: number, run: () => void) {
    this.#ms = ms
    this.#run = run
    backgroundDeadlines.set(this, this.#since + ms)
  }

  /** Call when something has happened. */
  restart(): void {
    this.#since = now()
    this.#wasRestarted = true
  }

  stop(): void {
    this.#isStopped = true
    backgroundDeadlines.clear(this)
  }

  /** @internal */
  expire(): void {
    // If never restarted, trust the timer alone: a test may mock timers but not the clock.
    if (!this.#wasRestarted || now() - this.#since >= this.#ms) {
      this.#since = now()
      this.#run()
    }
    this.#wasRestarted = false
    if (!this.#isStopped) backgroundDeadlines.set(this, this.#since + this.#ms)
  }
}
