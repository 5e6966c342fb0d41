import { check, NOTHING, type Reader, type StreamIterator } from '../core/index.js'
import { Surrogates, writable, wrongChunk } from './bytes.js'
import { flagRule, open } from './source.js'

/** Options of `toWebStream()`. */
export interface WebStreamOptions {
  /**
   * Passes chunks of any kind unchanged. Otherwise only strings, objects `{ text }` (both written
   * as UTF-8) and bytes are allowed.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toWebStream'

/**
 * Converts a stream to a web `ReadableStream` of bytes, for the body of a `Response`.
 *
 * Reads only on demand, with nothing ahead, so a slow client slows upstream. `cancel()`, which a
 * disconnecting client causes, closes the source immediately. An error of the source becomes the
 * stream's error.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream. A chunk
 * that cannot be written as bytes ends the stream with this error.
 * @example return new Response(toWebStream(toServerSentEvents(stream)), { headers: sseHeaders })
 * @see https://streams.spec.whatwg.org/#rs-class
 */
export function toWebStream(
  source: AsyncIterable<string | Uint8Array | { readonly text: string }>,
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

type Controller = ReadableStreamDefaultController<unknown>

class PulledSource implements Reader {
  /** Undefined once the source has ended or was left. */
  #source: StreamIterator<unknown> | undefined
  readonly #objectMode: boolean
  readonly #surrogates = new Surrogates()
  /** The pull that waits for a chunk, with the function that ends it. */
  #pull: { readonly controller: Controller; end(): void } | undefined

  constructor(source: StreamIterator<unknown>, objectMode: boolean) {
    this.#source = source
    this.#objectMode = objectMode
    source.attach(this)
  }

  pull(controller: Controller): Promise<void> {
    return new Promise((resolve) => {
      this.#pull = { controller, end: resolve }
      this.readable()
    })
  }

  cancel(): void {
    const source = this.#source
    this.#source = undefined
    source?.leave()
    this.#endPull()
  }

  readable(): void {
    const source = this.#source
    const pull = this.#pull
    if (source === undefined || pull === undefined) return
    // Each pull must deliver something, or the reader waits forever. Empty chunks do not count.
    let chunk = source.read()
    while (chunk !== NOTHING && !this.#enqueue(chunk, pull.controller)) chunk = source.read()
    if (chunk === NOTHING) {
      if (!source.isOver) return source.ask()
      this.#finish(source, pull.controller)
    }
    this.#endPull()
  }

  #endPull(): void {
    this.#pull?.end()
    this.#pull = undefined
  }

  /** Returns whether the pull has its chunk, or the stream has ended. */
  #enqueue(chunk: unknown, controller: Controller): boolean {
    const bytes = this.#objectMode ? chunk : this.#bytes(chunk)
    if (!this.#objectMode && bytes === undefined) {
      const source = this.#source
      this.#source = undefined
      source?.leave()
      controller.error(wrongChunk(SUBJECT, chunk))
      return true
    }
    if (!this.#objectMode && (bytes as Uint8Array).length === 0) return false
    controller.enqueue(bytes)
    return true
  }

  #finish(source: StreamIterator<unknown>, controller: Controller): void {
    this.#source = undefined
    const failure = source.takeFailure()
    if (failure !== undefined) return controller.error(failure.error)
    const rest = this.#surrogates.rest()
    if (rest !== '') controller.enqueue(encoder.encode(rest))
    controller.close()
  }

  #bytes(chunk: unknown): Uint8Array | undefined {
    const piece = writable(chunk)
    return typeof piece === 'string' ? encoder.encode(this.#surrogates.join(piece)) : piece
  }
}
