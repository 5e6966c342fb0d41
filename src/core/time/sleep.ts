import type { AbortListener, Cancel } from './cancel.js'
import { now } from './clock.js'
import { type Expiring, NOT_WAITING } from './deadline-heap.js'
import { deadlines } from './deadlines.js'

/** Waits `ms` milliseconds. Rejects with the reason as soon as one of `cancels` is aborted. */
export function sleep(ms: number, ...cancels: Cancel[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const sleeper = new Sleeper(cancels, resolve, reject)
    deadlines.set(sleeper, now() + ms)
    for (const cancel of cancels) {
      cancel.add(sleeper)
      if (cancel.aborted) return
    }
  })
}

class Sleeper implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly #cancels: readonly Cancel[]
  readonly #resolve: () => void
  readonly #reject: (reason: unknown) => void

  constructor(cancels: readonly Cancel[], resolve: () => void, reject: (reason: unknown) => void) {
    this.#cancels = cancels
    this.#resolve = resolve
    this.#reject = reject
  }

  expire(): void {
    this.#leave()
    this.#resolve()
  }

  abort(reason: unknown): void {
    this.#leave()
    this.#reject(reason)
  }

  #leave(): void {
    deadlines.clear(this)
    for (const cancel of this.#cancels) cancel.remove(this)
  }
}
