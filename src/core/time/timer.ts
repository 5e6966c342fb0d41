import { now } from './clock.js'
import { type Expiring, NOT_WAITING } from './deadline-heap.js'
import { backgroundDeadlines, deadlines } from './deadlines.js'

/** A one-shot timer of any length. */
export class Timer implements Expiring {
  /** @internal */
  deadlineSlot = NOT_WAITING
  readonly #run: () => void
  readonly #due: number
  #set = deadlines

  constructor(ms: number, run: () => void) {
    this.#run = run
    this.#due = now() + ms
    deadlines.set(this, this.#due)
  }

  /** @internal */
  expire(): void {
    this.#run()
  }

  stop(): void {
    this.#set.clear(this)
  }

  /** Lets the process exit although the timer is still set. */
  unref(): this {
    if (this.deadlineSlot === NOT_WAITING || this.#set === backgroundDeadlines) return this
    this.#set.clear(this)
    this.#set = backgroundDeadlines
    backgroundDeadlines.set(this, this.#due)
    return this
  }
}
