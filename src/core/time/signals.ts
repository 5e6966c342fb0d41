import { type AbortListener, Cancel } from './cancel.js'

/**
 * A caller's signal as a cancellation: one listener on the signal however many calls share it, none
 * while no call is under way.
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
    // An abort whose event has not reached us yet (we may be called from another of its listeners)
    // counts already.
    if (this.#source.aborted && !this.aborted) this.abort(this.#source.reason)
    if (!this.aborted && !this.watched) this.#source.addEventListener('abort', this, { once: true })
    super.add(listener)
  }

  override remove(listener: AbortListener): void {
    super.remove(listener)
    if (!this.watched) this.#source.removeEventListener('abort', this)
  }
}

/** Of all copies of this library: one listener on a signal is enough. */
const CANCEL: unique symbol = Symbol.for('blossom-stack.cancel') as never

/** The cancellation that follows `signal`; the same one for the same signal. */
export function cancelOf(signal: AbortSignal & { [CANCEL]?: SignalCancel }): Cancel {
  let cancel = signal[CANCEL]
  if (cancel === undefined) {
    cancel = new SignalCancel(signal)
    // On the signal itself: in a WeakMap the signals of calls long answered stay until the next
    // full garbage collection.
    if (Object.isExtensible(signal)) signal[CANCEL] = cancel
  } else if (signal.aborted) {
    // Between calls it does not listen.
    cancel.abort(signal.reason)
  }
  return cancel
}
