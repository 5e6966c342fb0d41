/**
 * The signal of a call: it follows that of a request, until the call belongs to no request any more.
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

  /** From now on the request's signal does not matter. */
  detach(): void {
    this.#source.removeEventListener('abort', this)
  }
}
