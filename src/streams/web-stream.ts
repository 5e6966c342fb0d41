import { check, NOTHING, type Reader, type StreamIterator } from '../core/index.js'
import { Surrogates, writable, wrongChunk } from './bytes.js'
import { flagRule, open } from './source.js'

/** Options of `toWebStream()`. */
export interface WebStreamOptions {
  /**
   * Passes chunks of any kind as they are; otherwise strings and the text of pieces `{ text }`
   * become bytes (UTF-8) and bytes pass, nothing else.
   * @default false
   */
  objectMode?: boolean | undefined
}

const SUBJECT = 'toWebStream'

/**
 * Turns a stream into a web `ReadableStream` of bytes, to be a `Response`'s body.
 *
 * The source is asked only when the reader is, with nothing read ahead, so a slow client slows the
 * upstream. `cancel()` (a client that leaves) returns the source at once. A failure of the source
 * is the stream's error.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream; a chunk
 * that is no bytes ends the stream with it
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
  /** Gone once the source has ended or was left. */
  #source: StreamIterator<unknown> | undefined
  readonly #objectMode: boolean
  readonly #surrogates = new Surrogates()
  /** The pull that waits for a chunk: its controller, and what ends it. */
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
    // A pull must bring something, or the reader waits for ever: empty chunks do not count.
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

  /** Returns whether the pull has its chunk, or the stream is over. */
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
