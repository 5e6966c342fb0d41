import { check } from '../core/index.js'
import { Surrogates, wrongChunk } from './bytes.js'
import { ask, flagRule, leave, open } from './source.js'

/** Options of `toWebStream()`. */
export interface WebStreamOptions {
  /**
   * Passes chunks of any kind as they are; otherwise strings become bytes (UTF-8) and bytes pass,
   * nothing else.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toWebStream'

/**
 * Turns a stream into a web `ReadableStream` of bytes, to be a `Response`'s body.
 *
 * The source is asked only when the reader is, with nothing read ahead, so a slow visitor slows the
 * upstream. `cancel()` (a visitor who leaves) returns the source at once. A failure of the source
 * is the stream's error.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream; a chunk
 * that is no bytes ends the stream with it
 * @example return new Response(toWebStream(toServerSentEvents(stream)), { headers: sseHeaders })
 * @see https://streams.spec.whatwg.org/#rs-class
 */
export function toWebStream(
  source: AsyncIterable<string | Uint8Array>,
  options?: { objectMode?: false | undefined },
): ReadableStream<Uint8Array>
export function toWebStream<Chunk>(
  source: AsyncIterable<Chunk>,
  options: { objectMode: true },
): ReadableStream<Chunk>
export function toWebStream(
  source: AsyncIterable<unknown>,
  options?: WebStreamOptions,
): ReadableStream<unknown>
export function toWebStream(
  source: AsyncIterable<unknown>,
  options?: WebStreamOptions,
): ReadableStream<unknown> {
  const { objectMode } = check(SUBJECT, options, { objectMode: flagRule })
  return new ReadableStream(new PulledSource(open(SUBJECT, source), objectMode), {
    highWaterMark: 0,
  })
}

const encoder = new TextEncoder()

class PulledSource {
  /** Gone once the source has ended or was left. */
  #iterator: AsyncIterator<unknown> | undefined
  readonly #objectMode: boolean
  readonly #surrogates = new Surrogates()
  /** Ends the pull under way. */
  #pulled: (() => void) | undefined

  constructor(iterator: AsyncIterator<unknown>, objectMode: boolean) {
    this.#iterator = iterator
    this.#objectMode = objectMode
  }

  pull(controller: ReadableStreamDefaultController<unknown>): Promise<void> {
    return new Promise((resolve) => {
      this.#pulled = resolve
      this.#next(controller)
    })
  }

  cancel(): void {
    const iterator = this.#iterator
    this.#iterator = undefined
    if (iterator !== undefined) leave(iterator)
    this.#pulled?.()
  }

  #next(controller: ReadableStreamDefaultController<unknown>): void {
    const iterator = this.#iterator
    if (iterator === undefined) return
    ask(iterator).then(
      (result) => this.#took(result, controller),
      (error) => {
        if (this.#iterator === undefined) return
        this.#iterator = undefined
        controller.error(error)
        this.#pulled?.()
      },
    )
  }

  #took(
    result: IteratorResult<unknown>,
    controller: ReadableStreamDefaultController<unknown>,
  ): void {
    const iterator = this.#iterator
    if (iterator === undefined) return
    if (result.done) {
      this.#iterator = undefined
      const rest = this.#surrogates.rest()
      if (rest !== '') controller.enqueue(encoder.encode(rest))
      controller.close()
    } else if (this.#objectMode) {
      controller.enqueue(result.value)
    } else {
      const bytes = this.#bytes(result.value)
      if (bytes === undefined) {
        this.#iterator = undefined
        leave(iterator)
        controller.error(wrongChunk(SUBJECT, result.value))
      } else if (bytes.length === 0) {
        // A pull must bring something, or the reader waits for ever.
        this.#next(controller)
        return
      } else controller.enqueue(bytes)
    }
    this.#pulled?.()
  }

  #bytes(chunk: unknown): Uint8Array | undefined {
    if (typeof chunk === 'string') return encoder.encode(this.#surrogates.join(chunk))
    return chunk instanceof Uint8Array ? chunk : undefined
  }
}
