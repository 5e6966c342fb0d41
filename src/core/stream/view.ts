import { NOTHING, type Nothing, type Reader, StreamIterator } from './iterator.js'
import type { StreamEnd } from './stream-end.js'

/**
 * A stream in another form: each item becomes another one when it is asked for, so nothing is held
 * and nothing is read ahead. Every form that this library gives a stream is one of these.
 */
export abstract class View<In, Out> extends StreamIterator<Out> implements Reader {
  protected readonly source: StreamIterator<In>
  /** Items that do not come from the source, such as a last event. They go first. */
  readonly #own: Out[] = []
  #hasLeft = false

  constructor(source: StreamIterator<In>) {
    super()
    this.source = source
    source.attach(this)
  }

  /** How the source ended; undefined while it has not, or when it is of another kind. */
  get ended(): StreamEnd | undefined {
    return (this.source as { ended?: StreamEnd }).ended
  }

  /** What a chunk becomes; `NOTHING` leaves it out. What it throws is the stream's failure. */
  protected abstract map(chunk: In): Out | Nothing

  /** What comes after the last chunk. */
  protected completed(): Out | Nothing {
    return NOTHING
  }

  /** What a failure becomes; what is thrown is what the reader gets. */
  protected failed(error: unknown): Out | Nothing {
    throw error
  }

  /** The end, a failure, or the reader has gone: timers go. */
  protected closed(): void {}

  /** Gives the reader an item of one's own. */
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
