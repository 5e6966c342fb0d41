/**
 * Returned by `read()` when nothing is available, because `undefined` may be an item. Shared by all
 * copies of this library.
 */
export const NOTHING: unique symbol = Symbol.for('blossom-stack.nothing') as never
export type Nothing = typeof NOTHING

type Result<T> = IteratorResult<T, undefined>

const DONE: Result<never> = Object.freeze({ done: true, value: undefined })

interface Waiting<T> {
  resolve(result: Result<T>): void
  reject(error: unknown): void
}

/** Notified when there is more to read, or when nothing more will come. */
export interface Reader {
  readable(): void
}

/** A wrapped error, because any value may be thrown, even `undefined`. */
export interface Failure {
  readonly error: unknown
}

/**
 * The only async iterator of this library, for items that can be read without a promise. Calls of
 * `next()` queue, and `return()` settles those that wait. A reader that needs no promises calls
 * `attach()` once and then `read()`. A stream has one reader, which uses one of the two ways.
 */
export abstract class StreamIterator<T> implements AsyncGenerator<T, undefined, undefined> {
  readonly #waiting: Waiting<T>[] = []
  #reader: Reader | undefined
  #failure: Failure | undefined
  #isOver = false

  /** The next item, or `NOTHING`. After `NOTHING`, call `ask()` to be notified of the next item. */
  abstract read(): T | Nothing

  /** Called when the reader waits for an item that is not available. */
  abstract ask(): void

  /** Called when the reader leaves, perhaps before the end. Releases what is held for it. */
  protected abstract stop(): void

  /** Whether the stream is over, apart from items that `read()` still returns. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether a call of `next()` waits. */
  protected get isAwaited(): boolean {
    return this.#waiting.length > 0
  }

  /** Sets the stream's one reader. */
  attach(reader: Reader): void {
    this.#reader = reader
  }

  /** The stream's error, once: a failure is delivered to one call. */
  takeFailure(): Failure | undefined {
    const failure = this.#failure
    this.#failure = undefined
    return failure
  }

  next(): Promise<Result<T>> {
    if (this.#waiting.length === 0) {
      const item = this.read()
      if (item !== NOTHING) return Promise.resolve({ done: false, value: item })
      if (this.#isOver) {
        const failure = this.takeFailure()
        return failure === undefined ? Promise.resolve(DONE) : Promise.reject(failure.error)
      }
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.ask()
    })
  }

  return(): Promise<Result<T>> {
    this.leave()
    return Promise.resolve(DONE)
  }

  throw(error: unknown): Promise<Result<T>> {
    this.leave()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
  }

  /** The reader leaves: waiting calls are settled, and items not yet read are dropped. */
  leave(): void {
    this.stop()
    this.over()
    this.#settle()
  }

  /**
   * Marks the stream as over, after the items still available and the failure. `notify()` reports
   * it.
   */
  protected over(failure?: Failure): void {
    this.#isOver = true
    this.#failure = failure
  }

  /** Serves the reader, because there is more to read or nothing more will come. */
  protected notify(): void {
    if (this.#reader !== undefined) return this.#reader.readable()
    while (this.#waiting.length > 0) {
      const item = this.read()
      if (item === NOTHING) break
      this.#waiting.shift()?.resolve({ done: false, value: item })
    }
    if (this.#waiting.length === 0) return
    if (this.#isOver) this.#settle()
    else this.ask()
  }

  #settle(): void {
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      const failure = this.takeFailure()
      if (failure === undefined) resolve(DONE)
      else reject(failure.error)
    }
  }
}
