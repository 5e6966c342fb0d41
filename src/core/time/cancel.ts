import { AsyncResource } from 'node:async_hooks'
import { hookFailed } from '../warn.js'

/**
 * What is called at an abort. A `Cancel` is one itself: that is how a child follows its parent.
 */
export interface AbortListener {
  abort(reason: unknown): void
}

/**
 * A light cancellation: what an `AbortController` does, at a fraction of its cost, for use inside a
 * stack. It turns into a real `AbortSignal` only when somebody reads `signal`.
 */
export class Cancel implements AbortListener {
  aborted = false
  reason: unknown = undefined
  // Nearly every cancellation has one or two listeners, so they need no collection.
  #first: AbortListener | undefined = undefined
  #second: AbortListener | undefined = undefined
  #more: Set<AbortListener> | undefined = undefined
  #standard: StandardSignal | undefined = undefined

  /**
   * Aborts once; later calls change nothing. Listeners are called at once, in the order in which
   * they came.
   */
  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const first = this.#first
    this.#first = undefined
    this.#standard?.abort(reason)
    if (first) notify(first, reason)
    // Read just before its call: a listener that an earlier one removed is not called.
    const second = this.#second
    this.#second = undefined
    if (second) notify(second, reason)
    if (this.#more) for (const listener of this.#more) notify(listener, reason)
    this.#more = undefined
  }

  /** Adds a listener; it is called at once if the abort has already happened. */
  add(listener: AbortListener): void {
    if (this.aborted) listener.abort(this.reason)
    else if (this.#more !== undefined) this.#more.add(listener)
    else if (this.#first === undefined) this.#first = listener
    else if (this.#second === undefined) this.#second = listener
    else this.#more = new Set([listener])
  }

  /** Removes a listener. */
  remove(listener: AbortListener): void {
    if (this.#first === listener) {
      this.#first = this.#second
      this.#second = undefined
    } else if (this.#second === listener) this.#second = undefined
    else if (this.#more?.delete(listener) && this.#more.size === 0) this.#more = undefined
  }

  /** Whether anybody listens. */
  get watched(): boolean {
    return this.#first !== undefined || this.#second !== undefined || this.#more !== undefined
  }

  /**
   * Calls `listener` with the reason when the abort comes, in the async context of now. Returns
   * what takes the listener away again.
   */
  onAbort(listener: (reason: unknown) => void): () => void {
    const entry = new BoundListener(listener)
    this.add(entry)
    return () => this.remove(entry)
  }

  /** Throws the reason once it is aborted. */
  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  /**
   * The same cancellation as a standard signal, made at the first reading; its listeners run in the
   * async context of that reading.
   */
  get signal(): AbortSignal {
    if (this.#standard === undefined) {
      this.#standard = new StandardSignal()
      if (this.aborted) this.#standard.abort(this.reason)
    }
    return this.#standard.controller.signal
  }
}

// An abort comes from a timer or from somebody else's call, and what users put into their
// `AsyncLocalStorage` must not be a stranger's. `AsyncResource.bind()` would cost a hundred times
// as much.

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

/** One listener's failure must not keep the abort from the others. */
function notify(listener: AbortListener, reason: unknown): void {
  try {
    listener.abort(reason)
  } catch (error) {
    hookFailed('An abort listener', error)
  }
}
