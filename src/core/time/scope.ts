import { type AbortListener, Cancel } from './cancel.js'

/**
 * A child cancellation: aborted together with its parent, or on its own. Call `dispose()` when the
 * work has ended, to remove it from the parent.
 */
export class Scope extends Cancel {
  readonly #parent: Cancel

  constructor(parent: Cancel) {
    super()
    this.#parent = parent
    parent.add(this)
  }

  /** Removes the scope from its parent. */
  dispose(): void {
    this.#parent.remove(this)
  }

  /**
   * Settles as `work` does. Rejects with the reason as soon as the scope is aborted, even if the
   * work does not stop.
   */
  race<T>(work: T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const listener: AbortListener = { abort: reject }
      this.add(listener)
      // A plain function used as a layer may answer without a promise.
      Promise.resolve(work).then(
        (value) => {
          this.remove(listener)
          resolve(value)
        },
        (error) => {
          this.remove(listener)
          reject(error)
        },
      )
    })
  }
}

/**
 * Creates a child cancellation of `context`. Derive a context with `{ cancel: scope }` for work
 * that it should be able to abort.
 */
export function abortScope(context: { readonly cancel: Cancel }): Scope {
  return new Scope(context.cancel)
}
