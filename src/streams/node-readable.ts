import { Readable } from 'node:stream'
import { check, isError, NOTHING, type StreamIterator } from '../core/index.js'
import { Surrogates, writable, wrongChunk } from './bytes.js'
import { flagRule, open } from './source.js'

/** Options of `toNodeReadable()`. */
export interface NodeReadableOptions {
  /**
   * Passes chunks of any kind unchanged, for a reader in object mode. Otherwise only strings
   * (written as UTF-8), bytes, and objects `{ text }` are allowed.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toNodeReadable'

/**
 * Converts a stream to a `node:stream` Readable, for example to `pipeline()` it into a response.
 *
 * Reads at most one chunk ahead, so a slow client slows upstream. Destroying the Readable closes
 * the source immediately; `pipeline()` does this when the client disconnects. An error of the
 * source becomes the Readable's error.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream. A chunk
 * that cannot be written as bytes destroys the Readable with this error.
 * @example
 * await pipeline(toNodeReadable(toServerSentEvents(stream)), response).catch(() => {}) // rejects when the client has left
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
  /** Undefined once the source has ended or was left. */
  #source: StreamIterator<unknown> | undefined
  readonly #surrogates = new Surrogates()
  readonly #objectMode: boolean
  #isWanted = false

  constructor(source: StreamIterator<unknown>, objectMode: boolean) {
    // One byte or object, so that nothing is read while a chunk waits.
    super({ objectMode, highWaterMark: 1 })
    this.#source = source
    this.#objectMode = objectMode
    source.attach({ readable: () => this.#move() })
  }

  override _read(): void {
    this.#isWanted = true
    this.#move()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const source = this.#source
    this.#source = undefined
    source?.leave()
    callback(error)
  }

  /** Moves available chunks while there is room. */
  #move(): void {
    const source = this.#source
    if (source === undefined || !this.#isWanted) return
    let chunk = source.read()
    for (; chunk !== NOTHING; chunk = source.read()) {
      if (this.#pushChunk(chunk)) continue
      this.#isWanted = false
      return
    }
    if (source.isOver) this.#finish(source)
    else source.ask()
  }

  /** Returns whether there is room for more. */
  #pushChunk(given: unknown): boolean {
    const chunk = this.#objectMode ? given : this.#bytes(given)
    // Node treats `null` as the end.
    if (chunk === undefined || chunk === null) {
      this.destroy(wrongChunk(SUBJECT, given))
      return false
    }
    // Do not push an empty chunk.
    return (chunk === '' && !this.#objectMode) || this.push(chunk)
  }

  #finish(source: StreamIterator<unknown>): void {
    this.#source = undefined
    const failure = source.takeFailure()
    if (failure === undefined) {
      const rest = this.#surrogates.rest()
      if (rest !== '') this.push(rest)
      this.push(null)
      return
    }
    const { error } = failure
    // A caller may abort with any reason, but Node treats `undefined` and `null` as no error.
    this.destroy(isError(error) ? error : new Error('The stream failed.', { cause: error }))
  }

  #bytes(chunk: unknown): string | Uint8Array | undefined {
    const piece = writable(chunk)
    if (typeof piece === 'string') return this.#surrogates.join(piece)
    return piece?.length === 0 ? '' : piece
  }
}
