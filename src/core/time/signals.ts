import { type AbortListener, Cancel } from './cancel.js'

/**
 * A caller's signal as a cancellation. Adds one listener to the signal however many calls share it,
 * and none while no call is running.
 */
class SignalCancel extends Cancel {
  readonly #source: AbortSignal

  constructor(source: AbortSignal) {
    super()
    this.#source = source
    if (source.aborted) super.abort(source.reason)
  }

  handleEvent(): void {
    this.abort(this.#source.reason)
  }

  override get signal(): AbortSignal {
    return this.#source
  }

  override add(listener: AbortListener): void {
    // The signal may be aborted although its event has not reached us yet, for example when we are
    // called from another of its listeners.
    if (this.#source.aborted && !this.aborted) this.abort(this.#source.reason)
    if (!this.aborted && !this.watched) this.#source.addEventListener('abort', this, { once: true })
    super.add(listener)
  }

  override remove(listener: AbortListener): void {
    super.remove(listener)
    if (!this.watched) this.#source.removeEventListener('abort', this)
  }
}

/** Shared by all copies of this library, so that each signal has one listener. */
const CANCEL: unique symbol = Symbol.for('blossom-stack.cancel') as never

/** The cancellation that follows `signal`. Returns the same object for the same signal. */
export function cancelOf(signal: AbortSignal & { [CANCEL]?: SignalCancel }): Cancel {
  let cancel = signal[CANCEL]
  if (cancel === undefined) {
    cancel = new SignalCancel(signal)
    // Stored on the signal itself. A `WeakMap` would keep the signals of finished calls until the
    // next full garbage collection.
    if (Object.isExtensible(signal)) signal[CANCEL] = cancel
  } else if (signal.aborted) {
    // It does not listen between calls, so it may have missed the abort.
    cancel.abort(signal.reason)
  }
  return cancel
}
