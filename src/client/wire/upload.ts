import { isBytes, isStackError, ValidationError } from '../../core/index.js'

/** A body that is no JSON, such as a form with files: bytes that are there, or that come in. */
export class Upload {
  readonly contentType: string
  /** In bytes, if it is known. */
  readonly length: number | undefined
  readonly #source: Uint8Array | AsyncIterable<Uint8Array>
  #isTaken = false
  #failure: { readonly error: unknown } | undefined

  constructor(
    contentType: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    length?: number | undefined,
  ) {
    this.contentType = contentType
    this.#source = source
    this.length = isBytes(source) ? source.byteLength : length
  }

  /**
   * The bytes, for one attempt. What comes in can be sent once: whoever tries again gets the failure
   * of the first attempt.
   */
  take(): Uint8Array | AsyncIterable<Uint8Array> {
    if (isBytes(this.#source)) return this.#source
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#isTaken) throw new ValidationError('A body that comes in can be sent only once.')
    this.#isTaken = true
    return this.#source
  }

  /** The failure of an attempt; of bytes that have gone by nobody need try again. */
  failed(error: unknown): unknown {
    if (isBytes(this.#source)) return error
    if (isStackError(error)) Object.defineProperty(error, 'retryable', { value: false })
    this.#failure ??= { error }
    return error
  }
}
