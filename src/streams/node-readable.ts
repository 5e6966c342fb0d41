import { Readable } from 'node:stream'
import { check, isError, NOTHING, type StreamIterator } from '../core/index.js'
import { Surrogates, writable, wrongChunk } from './bytes.js'
import { flagRule, open } from './source.js'

/** Options of `toNodeReadable()`. */
export interface NodeReadableOptions {
  /**
   * Passes chunks of any kind as they are, for a reader in object mode; otherwise strings (as
   * UTF-8), bytes, and the text of pieces `{ text }` only.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toNodeReadable'

/**
 * Turns a stream into a `node:stream` Readable, to `pipeline()` into a response.
 *
 * The source is asked only when there is room, one chunk ahead at most, so a slow client slows the
 * upstream. Destroying the Readable (a client that leaves does that, through `pipeline`) returns
 * the source at once. A failure of the source is the Readable's error.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream; a chunk
 * that is no bytes destroys the Readable with it
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
  /** Gone once the source has ended or was left. */
  #source: StreamIterator<unknown> | undefined
  readonly #surrogates = new Surrogates()
  readonly #objectMode: boolean
  #isWanted = false

  constructor(source: StreamIterator<unknown>, objectMode: boolean) {
    // One byte or object: nothing is read while anything waits to be taken.
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

  /** Moves what is there while there is room. */
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
    // Node takes null for the end.
    if (chunk === undefined || chunk === null) {
      this.destroy(wrongChunk(SUBJECT, given))
      return false
    }
    // Nothing comes of an empty chunk.
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
    // A caller may abort with any reason, but Node takes nothing and `null` for no error at all.
    this.destroy(isError(error) ? error : new Error('The stream failed.', { cause: error }))
  }

  #bytes(chunk: unknown): string | Uint8Array | undefined {
    const piece = writable(chunk)
    if (typeof piece === 'string') return this.#surrogates.join(piece)
    return piece?.length === 0 ? '' : piece
  }
}
