import { type Cancel, Timer } from './abort.js'

/** The work that `close()` waits for, and cuts when it takes too long. */
export class Running {
  readonly #all = new Set<Cancel>()
  #onEmpty: (() => void) | undefined

  add(cancel: Cancel): void {
    this.#all.add(cancel)
  }

  delete(cancel: Cancel): void {
    if (this.#all.delete(cancel) && this.#all.size === 0) this.#onEmpty?.()
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
