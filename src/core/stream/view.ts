import { NOTHING, type Nothing, type Reader, StreamIterator } from './iterator.js'
import type { StreamEnd } from './stream-end.js'

/**
 * A stream in another format. Each item is converted when it is requested, so nothing is buffered
 * or read ahead. All stream formats of this library extend this class.
 */
export abstract class View<In, Out> extends StreamIterator<Out> implements Reader {
  protected readonly source: StreamIterator<In>
  /** Items that do not come from the source, such as a final event. Delivered first. */
  readonly #own: Out[] = []
  #hasLeft = false

  constructor(source: StreamIterator<In>) {
    super()
    this.source = source
    source.attach(this)
  }

  /** How the source ended; undefined while it has not, or when it is another kind of iterator. */
  get ended(): StreamEnd | undefined {
    return (this.source as { ended?: StreamEnd }).ended
  }

  /** Converts a chunk; `NOTHING` leaves it out. An error thrown here ends the stream. */
  protected abstract map(chunk: In): Out | Nothing

  /** The item after the last chunk, or `NOTHING`. */
  protected completed(): Out | Nothing {
    return NOTHING
  }

  /** Converts a failure to a final item. An error thrown here is what the reader gets. */
  protected failed(error: unknown): Out | Nothing {
    throw error
  }

  /** Called at the end, at a failure, and when the reader leaves. Stops timers. */
  protected closed(): void {}

  /** Adds an item that does not come from the source. */
  protected emit(item: Out): void {
    this.#own.push(item)
    this.notify()
  }

  read(): Out | Nothing {
    if (this.#own.length > 0) return this.#own.shift() as Out
    if (this.isOver) return NOTHING
    const item = this.#next()
    if (item !== NOTHING || !this.source.isOver) return item
    this.#finish()
    return this.#own.length > 0 ? (this.#own.shift() as Out) : NOTHING
  }

  ask(): void {
    if (!this.isOver) this.source.ask()
  }

  readable(): void {
    if (!this.isOver) this.notify()
  }

  /** The next item of the source that is not left out. */
  #next(): Out | Nothing {
    try {
      for (let chunk = this.source.read(); chunk !== NOTHING; chunk = this.source.read()) {
        const item = this.map(chunk)
        if (item !== NOTHING) return item
      }
    } catch (error) {
      this.source.leave()
      this.#hasLeft = true
      this.#fail(error)
      return this.#own.length > 0 ? (this.#own.shift() as Out) : NOTHING
    }
    return NOTHING
  }

  #finish(): void {
    const failure = this.source.takeFailure()
    if (failure !== undefined) return this.#fail(failure.error)
    this.closed()
    const last = this.completed()
    this.over()
    if (last !== NOTHING) this.#own.push(last)
  }

  #fail(error: unknown): void {
    this.closed()
    try {
      const last = this.failed(error)
      this.over()
      if (last !== NOTHING) this.#own.push(last)
    } catch (thrown) {
      this.over({ error: thrown })
    }
  }

  protected override stop(): void {
    this.#own.length = 0
    if (this.isOver || this.#hasLeft) return
    this.#hasLeft = true
    this.closed()
    this.source.leave()
  }
}
