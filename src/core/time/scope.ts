import { type AbortListener, Cancel } from './cancel.js'

/**
 * A cancellation below the context's: it is aborted together with its parent, or on its own.
 * `dispose()` removes it from the parent; call it when the work has ended.
 */
export class Scope extends Cancel {
  readonly #parent: Cancel

  constructor(parent: Cancel) {
    super()
    this.#parent = parent
    parent.add(this)
  }

  /** Takes it off its parent. */
  dispose(): void {
    this.#parent.remove(this)
  }

  /**
   * Settles as `work` does, or rejects with the reason as soon as the scope is aborted, whether or
   * not the work stops.
   */
  race<T>(work: T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const listener: AbortListener = { abort: reject }
      this.add(listener)
      // A plain layer may answer without a promise.
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
 * Opens a scope below `context`: derive a context with `{ cancel: scope }` for the work that it may
 * cut short.
 */
export function abortScope(context: { readonly cancel: Cancel }): Scope {
  return new Scope(context.cancel)
}
