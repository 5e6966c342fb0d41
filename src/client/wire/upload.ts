import { isBytes, isStackError, ValidationError } from '../../core/index.js'

/** A request body that is not JSON, such as a form with files: bytes in memory, or a stream. */
export class Upload {
  readonly contentType: string
  /** Length in bytes, if known. */
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
   * The bytes for one attempt. A stream can be sent only once; a further attempt throws the error
   * of the first one.
   */
  take(): Uint8Array | AsyncIterable<Uint8Array> {
    if (isBytes(this.#source)) return this.#source
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#isTaken)
      throw new ValidationError('A streamed body can be sent only once; it is already being sent.')
    this.#isTaken = true
    return this.#source
  }

  /**
   * Records the error of an attempt. A stream cannot be sent again, so its error is not retryable.
   */
  failed(error: unknown): unknown {
    if (isBytes(this.#source)) return error
    if (isStackError(error)) Object.defineProperty(error, 'retryable', { value: false })
    this.#failure ??= { error }
    return error
  }
}
