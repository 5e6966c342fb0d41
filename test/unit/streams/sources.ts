/**
 * A source in a test's hands: it gives what it is told to, when it is told, and counts what is
 * asked of it.
 */
export class Source<T> implements AsyncIterable<T>, AsyncIterator<T> {
  asked = 0
  returned = 0
  /** Resolves when the reader has left. */
  readonly left: Promise<void>
  #tellLeft = () => {}
  #chunks: T[]
  #waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void } | undefined
  #end: (() => Promise<IteratorResult<T>>) | undefined

  constructor(chunks: T[] = []) {
    this.#chunks = [...chunks]
    this.left = new Promise((resolve) => {
      this.#tellLeft = resolve
    })
  }

  give(chunk: T): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting === undefined) this.#chunks.push(chunk)
    else waiting.resolve({ done: false, value: chunk })
  }

  end(): this {
    this.#end = () => Promise.resolve({ done: true, value: undefined })
    this.#waiting?.resolve({ done: true, value: undefined })
    return this
  }

  fail(error: unknown): this {
    this.#end = () => Promise.reject(error)
    this.#waiting?.reject(error)
    return this
  }

  next(): Promise<IteratorResult<T>> {
    this.asked++
    if (this.#chunks.length > 0)
      return Promise.resolve({ done: false, value: this.#chunks.shift() as T })
    if (this.#end !== undefined) return this.#end()
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  // A pending next() stays pending for ever, as an async generator's may.
  return(): Promise<IteratorResult<T>> {
    this.returned++
    this.#tellLeft()
    return new Promise(() => {})
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** A source that gives `chunks` and ends. */
export const whole = <T>(chunks: T[]): Source<T> => new Source(chunks).end()

/** A source that gives `chunks` and fails. */
export const broken = <T>(chunks: T[], error: unknown): Source<T> => new Source(chunks).fail(error)

/** All there is to read. */
export async function all<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const chunks: T[] = []
  for await (const chunk of iterable) chunks.push(chunk)
  return chunks
}
