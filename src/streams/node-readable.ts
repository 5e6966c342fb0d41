import { Readable } from 'node:stream'
import { check } from '../core/index.js'
import { Surrogates, wrongChunk } from './bytes.js'
import { ask, flagRule, leave, open } from './source.js'

/** Options of `toNodeReadable()`. */
export interface NodeReadableOptions {
  /**
   * Passes chunks of any kind as they are, for a reader in object mode; otherwise strings (as
   * UTF-8) and bytes only.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toNodeReadable'

/**
 * Turns a stream into a `node:stream` Readable, to `pipeline()` into a response.
 *
 * The source is asked only when there is room, one chunk ahead at most, so a slow visitor slows the
 * upstream. Destroying the Readable (a visitor who leaves does that, through `pipeline`) returns
 * the source at once. A failure of the source is the Readable's error.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream; a chunk
 * that is no bytes destroys the Readable with it
 * @example
 * await pipeline(toNodeReadable(toServerSentEvents(stream)), response).catch(() => {}) // rejects when the visitor has left
 * @see https://nodejs.org/docs/latest-v20.x/api/stream.html#implementing-a-readable-stream
 */
export function toNodeReadable(
  source: AsyncIterable<unknown>,
  options?: NodeReadableOptions,
): Readable {
  const { objectMode } = check(SUBJECT, options, { objectMode: flagRule })
  return new SourceReadable(open(SUBJECT, source), objectMode)
}

class SourceReadable extends Readable {
  /** Gone once the source has ended or was left. */
  #iterator: AsyncIterator<unknown> | undefined
  readonly #surrogates = new Surrogates()
  readonly #objectMode: boolean
  #asking = false

  constructor(iterator: AsyncIterator<unknown>, objectMode: boolean) {
    // One byte or object: nothing is read while anything waits to be taken.
    super({ objectMode, highWaterMark: 1 })
    this.#iterator = iterator
    this.#objectMode = objectMode
  }

  override _read(): void {
    if (this.#asking || this.#iterator === undefined) return
    this.#asking = true
    ask(this.#iterator).then(this.#took, this.#broke)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const iterator = this.#iterator
    this.#iterator = undefined
    if (iterator !== undefined) leave(iterator)
    callback(error)
  }

  readonly #took = (result: IteratorResult<unknown>): void => {
    this.#asking = false
    if (this.#iterator === undefined) return
    if (result.done) {
      this.#iterator = undefined
      const rest = this.#surrogates.rest()
      if (rest !== '') this.push(rest)
      this.push(null)
      return
    }
    const chunk = this.#objectMode ? result.value : this.#bytes(result.value)
    // Node takes null for the end.
    if (chunk === undefined || chunk === null) this.destroy(wrongChunk(SUBJECT, result.value))
    // Asked on here while there is room, as Node's own way to the next `_read()` costs as much
    // again. Nothing comes of an empty chunk.
    else if ((chunk === '' && !this.#objectMode) || this.push(chunk)) this._read()
  }

  readonly #broke = (error: unknown): void => {
    if (this.#iterator === undefined) return
    this.#iterator = undefined
    // A caller may abort with any reason, but Node takes nothing and `null` for no error at all.
    this.destroy(error instanceof Error ? error : new Error('The stream failed.', { cause: error }))
  }

  #bytes(chunk: unknown): string | Uint8Array | undefined {
    if (typeof chunk === 'string') return this.#surrogates.join(chunk)
    if (!(chunk instanceof Uint8Array)) return undefined
    return chunk.length === 0 ? '' : chunk
  }
}
