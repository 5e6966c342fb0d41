/**
 * The signal of a call. It follows the signal of the request until it is detached from it.
 */
export class CallSignal {
  readonly #own = new AbortController()
  readonly #source: AbortSignal

  constructor(source: AbortSignal) {
    this.#source = source
    if (source.aborted) this.handleEvent()
    else source.addEventListener('abort', this, { once: true })
  }

  get signal(): AbortSignal {
    return this.#own.signal
  }

  handleEvent(): void {
    this.abort(this.#source.reason)
  }

  abort(reason: unknown): void {
    this.#own.abort(reason)
  }

  /** Stops following the signal of the request. */
  detach(): void {
    this.#source.removeEventListener('abort', this)
  }
}
