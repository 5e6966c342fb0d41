import { isReadableStream } from '../shape.js'
import { runHook } from '../warn.js'
import type { Log, StreamSource } from './chunk-log.js'
import { NOTHING } from './iterator.js'
import { Stream, type StreamOptions } from './stream.js'

/** Options of `streamFrom()`. */
export interface FromOptions<T> extends StreamOptions<T> {
  /** Reads nothing before the reader asks. Requires `committed`. @default false */
  lazy?: boolean | undefined
}

/** A stream of any async iterable: a generator, a Node or web stream, or a hand-made iterator. */
export function streamFrom<T>(iterable: AsyncIterable<T>, options: FromOptions<T> = {}): Stream<T> {
  const isFrames = iterable instanceof Stream && iterable.log.frames
  const source =
    iterable instanceof Stream ? new StreamAsSource(iterable) : new IterableSource(iterable)
  const stream = Stream.over<T>(source, { ...options, frames: isFrames })
  source.log = stream.log as Log<unknown>
  if (!options.lazy && stream.ended === undefined) source.pull()
  return stream
}

/** Pulls one chunk at a time, when its reader asks. */
class IterableSource implements StreamSource {
  log: Log<unknown> | undefined
  readonly #iterable: AsyncIterable<unknown>
  readonly #iterator: AsyncIterator<unknown>
  #isPulling = false

  constructor(iterable: AsyncIterable<unknown>) {
    this.#iterable = iterable
    this.#iterator = iteratorOf(iterable)
  }

  pull(): void {
    if (this.#isPulling) return
    this.#isPulling = true
    let next: Promise<IteratorResult<unknown>>
    try {
      // A hand-made iterator may throw here or return no promise. `for await` allows both.
      next = Promise.resolve(this.#iterator.next())
    } catch (error) {
      this.log?.fail(error)
      return
    }
    next.then(this.#took, this.#broke)
  }

  stop(): void {
    // An async generator queues this after a pending `next()`. Do not wait for it.
    runHook("A stream's return()", () => this.#iterator.return?.())
    // `return()` of a Node stream would wait for a chunk that a stalled source never sends.
    const { destroy } = this.#iterable as { destroy?: () => unknown }
    if (this.#isPulling && destroy)
      runHook("A stream's destroy()", () => destroy.call(this.#iterable))
  }

  readonly #took = (result: IteratorResult<unknown>): void => {
    this.#isPulling = false
    if (typeof result !== 'object' || result === null)
      this.log?.fail(
        new TypeError("The iterator's next() did not return an object { done, value }."),
      )
    else if (result.done) this.log?.end()
    else this.log?.push(result.value)
  }

  readonly #broke = (error: unknown): void => {
    this.log?.fail(error)
  }
}

/**
 * The iterator of a web stream queues `return()` after a pending `next()`, so a stalled stream
 * could not be cut. Its reader can cancel at once.
 */
function iteratorOf(iterable: AsyncIterable<unknown>): AsyncIterator<unknown> {
  if (!isReadableStream(iterable)) return iterable[Symbol.asyncIterator]()
  const reader = iterable.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}

/** Reads another `Stream` as its own reader asks, without promises. Frames stay text. */
class StreamAsSource implements StreamSource {
  log: Log<unknown> | undefined
  readonly #stream: Stream<unknown>
  #isPulling = false

  constructor(stream: Stream<unknown>) {
    this.#stream = stream
    stream.attach(this)
  }

  pull(): void {
    this.#isPulling = true
    this.readable()
  }

  stop(): void {
    this.#stream.leave()
  }

  readable(): void {
    const { log } = this
    if (log === undefined) return
    if (this.#isPulling && this.#move(log)) {
      this.#isPulling = false
      log.flush()
    }
    if (this.#stream.isOver && this.#stream.buffered === 0) this.#finish(log)
    else if (this.#isPulling) this.#stream.ask()
  }

  /** Moves everything available. Returns whether there was anything. */
  #move(log: Log<unknown>): boolean {
    const stream = this.#stream
    if (stream.log.frames) {
      const frames = stream.readFrames()
      for (const frame of frames) log.append(frame)
      return frames.length > 0
    }
    let chunk = stream.read()
    if (chunk === NOTHING) return false
    for (; chunk !== NOTHING; chunk = stream.read()) log.append(chunk)
    return true
  }

  #finish(log: Log<unknown>): void {
    const failure = this.#stream.takeFailure()
    if (failure) log.fail(failure.error)
    else log.end(this.#stream.ended)
  }
}
