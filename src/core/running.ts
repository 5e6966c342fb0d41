import { type AbortListener, Timer } from './abort.js'

/** The work that `close()` waits for, and cuts when it takes too long. */
export class Running {
  readonly #all = new Set<AbortListener>()
  #onEmpty: (() => void) | undefined

  add(cancel: AbortListener): void {
    this.#all.add(cancel)
  }

  /** Whether it was still running. */
  delete(cancel: AbortListener): boolean {
    const was = this.#all.delete(cancel)
    if (was && this.#all.size === 0) this.#onEmpty?.()
    return was
  }

  /** Resolves with true when nothing runs any more, with false after `ms`. */
  emptied(ms: number): Promise<boolean> {
    if (this.#all.size === 0) return Promise.resolve(true)
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
    for (const cancel of [...this.#all]) cancel.abort(reason)
  }
}
