import { AsyncResource } from 'node:async_hooks'
import { hookFailed } from '../warn.js'

/** Notified of an abort. `Cancel` implements it too, so that a child can follow its parent. */
export interface AbortListener {
  abort(reason: unknown): void
}

/**
 * A light cancellation for use inside a stack: does what an `AbortController` does at a fraction of
 * the cost. It creates a real `AbortSignal` only when `signal` is read.
 */
export class Cancel implements AbortListener {
  aborted = false
  reason: unknown = undefined
  // Nearly every cancellation has one or two listeners, which need no collection.
  #first: AbortListener | undefined = undefined
  #second: AbortListener | undefined = undefined
  #more: Set<AbortListener> | undefined = undefined
  #standard: StandardSignal | undefined = undefined

  /**
   * Aborts once; later calls do nothing. Calls the listeners synchronously, in the order they were
   * added.
   */
  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const first = this.#first
    this.#first = undefined
    this.#standard?.abort(reason)
    if (first) notify(first, reason)
    // Read only now, because a listener removed by an earlier one must not be called.
    const second = this.#second
    this.#second = undefined
    if (second) notify(second, reason)
    if (this.#more) for (const listener of this.#more) notify(listener, reason)
    this.#more = undefined
  }

  /** Adds a listener. Calls it immediately if the abort has already happened. */
  add(listener: AbortListener): void {
    if (this.aborted) listener.abort(this.reason)
    else if (this.#more !== undefined) this.#more.add(listener)
    else if (this.#first === undefined) this.#first = listener
    else if (this.#second === undefined) this.#second = listener
    else this.#more = new Set([listener])
  }

  remove(listener: AbortListener): void {
    if (this.#first === listener) {
      this.#first = this.#second
      this.#second = undefined
    } else if (this.#second === listener) this.#second = undefined
    else if (this.#more?.delete(listener) && this.#more.size === 0) this.#more = undefined
  }

  /** Whether there are any listeners. */
  get watched(): boolean {
    return this.#first !== undefined || this.#second !== undefined || this.#more !== undefined
  }

  /**
   * Calls `listener` with the reason on abort, in the current async context. Returns a function
   * that removes the listener.
   */
  onAbort(listener: (reason: unknown) => void): () => void {
    const entry = new BoundListener(listener)
    this.add(entry)
    return () => this.remove(entry)
  }

  /** Throws the reason if aborted. */
  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  /**
   * The same cancellation as an `AbortSignal`, created on first access. Its listeners run in the
   * async context of that access.
   */
  get signal(): AbortSignal {
    if (this.#standard === undefined) {
      this.#standard = new StandardSignal()
      if (this.aborted) this.#standard.abort(this.reason)
    }
    return this.#standard.controller.signal
  }
}

// An abort comes from a timer or another call, but listeners must see their own `AsyncLocalStorage`
// values. `AsyncResource.bind()` would do the same at a hundred times the cost.

class StandardSignal extends AsyncResource {
  readonly controller = new AbortController()

  constructor() {
    super('blossom-stack.signal')
  }

  abort(reason: unknown): void {
    this.runInAsyncScope(this.controller.abort, this.controller, reason)
  }
}

class BoundListener extends AsyncResource implements AbortListener {
  readonly #listener: (reason: unknown) => void

  constructor(listener: (reason: unknown) => void) {
    super('blossom-stack.abort')
    this.#listener = listener
  }

  abort(reason: unknown): void {
    this.runInAsyncScope(this.#listener, undefined, reason)
  }
}

/** An error of one listener becomes a warning, so that the others are still called. */
function notify(listener: AbortListener, reason: unknown): void {
  try {
    listener.abort(reason)
  } catch (error) {
    hookFailed('An abort listener', error)
  }
}
