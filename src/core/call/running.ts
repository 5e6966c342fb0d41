import { type Linked, LinkedList } from '../linked-list.js'
import type { AbortListener } from '../time/cancel.js'
import { Timer } from '../time/timer.js'

/** Work in progress. Cutting it calls `abort()`. */
export interface Work extends Linked, AbortListener {}

/** The work that `close()` waits for, and aborts when it takes too long. */
export class Running {
  readonly #all = new LinkedList<Work>()
  #onEmpty: (() => void) | undefined

  add(work: Work): void {
    this.#all.add(work)
  }

  /** Returns whether the work was still running. */
  delete(work: Work): boolean {
    const was = this.#all.remove(work)
    if (was && this.#all.first === undefined) this.#onEmpty?.()
    return was
  }

  /** Resolves with true when nothing runs any more, or with false after `ms` milliseconds. */
  emptied(ms: number): Promise<boolean> {
    if (this.#all.first === undefined) return Promise.resolve(true)
    return new Promise((resolve) => {
      const settle = (done: boolean) => {
        timer.stop()
        this.#onEmpty = undefined
        resolve(done)
      }
      const timer = new Timer(ms, () => settle(false))
      this.#onEmpty = () => settle(true)
    })
  }

  cut(reason: unknown): void {
    for (const work of this.#all.all()) work.abort(reason)
  }
}
