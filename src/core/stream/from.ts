import { isReadableStream } from '../shape.js'
import { runHook } from '../warn.js'
import type { Log, StreamSource } from './chunk-log.js'
import { NOTHING } from './iterator.js'
import { Stream, type StreamOptions } from './stream.js'

/** Options of `streamFrom()`. */
export interface FromOptions<T> extends StreamOptions<T> {
  /** Asks for nothing before the reader does; needs `committed`. @default false */
  lazy?: boolean | undefined
}

/** A stream of any async iterable: a generator, a Node or web stream, an iterator made by hand. */
export function streamFrom<T>(iterable: AsyncIterable<T>, options: FromOptions<T> = {}): Stream<T> {
  const isFrames = iterable instanceof Stream && iterable.log.frames
  const source =
    iterable instanceof Stream ? new StreamAsSource(iterable) : new IterableSource(iterable)
  const stream = Stream.over<T>(source, { ...options, frames: isFrames })
  source.log = stream.log as Log<unknown>
  if (!options.lazy && stream.ended === undefined) source.pull()
  return stream
}

/** Pulls chunk by chunk, as its reader asks. */
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
      // A hand-made iterator may throw here, or answer without a promise, as `for await` allows.
      next = Promise.resolve(this.#iterator.next())
    } catch (error) {
      this.log?.fail(error)
      return
    }
    next.then(this.#took, this.#broke)
  }

  stop(): void {
    // Behind a pending `next()` an async generator queues this; nothing waits for it.
    runHook("A stream's return()", () => this.#iterator.return?.())
    // The `return()` of a Node stream would wait for a chunk that a stalled source never sends.
    const { destroy } = this.#iterable as { destroy?: () => unknown }
    if (this.#isPulling && destroy)
      runHook("A stream's destroy()", () => destroy.call(this.#iterable))
  }

  readonly #took = (result: IteratorResult<unknown>): void => {
    this.#isPulling = false
    if (typeof result !== 'object' || result === null)
      this.log?.fail(new TypeError('The next() of an iterator returned no result object.'))
    else if (result.done) this.log?.end()
    else this.log?.push(result.value)
  }

  readonly #broke = (error: unknown): void => {
    this.log?.fail(error)
  }
}

/**
 * The iterator of a web stream queues `return()` behind a pending `next()`, so that a stalled one
 * could not be cut; its reader can.
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

/** Reads another stream of ours as its own reader asks, without promises; frames stay text. */
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

  /** Moves what is there. Returns whether there was anything. */
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
