import { runHook } from '../warn.js'

/** What of a stream its source speaks to. */
interface Sink<T> {
  push(chunk: T): unknown
  end(): void
  fail(error: unknown): void
}

/**
 * A stream's source over any async iterable: a generator, a Node or web stream, an iterator made by
 * hand.
 */
export function iterableSource<T>(
  iterable: AsyncIterable<T>,
  streamOf: () => Sink<T>,
): { pull(): void; stop(): void } {
  const iterator = iteratorOf(iterable)
  let pulling = false
  return {
    pull() {
      if (pulling) return
      pulling = true
      let next: Promise<IteratorResult<T>>
      try {
        // A hand-made iterator may throw here or give its result without a promise, and `for await`
        // would take it.
        next = Promise.resolve(iterator.next())
      } catch (error) {
        return streamOf().fail(error)
      }
      next.then(
        (result) => {
          pulling = false
          if (typeof result !== 'object' || result === null)
            streamOf().fail(new TypeError('An iterator gave no result object.'))
          else if (result.done) streamOf().end()
          else streamOf().push(result.value)
        },
        (error) => streamOf().fail(error),
      )
    },
    stop() {
      // Behind a pending `next()` an async generator queues this; nothing waits for it.
      runHook("A stream's return()", () => iterator.return?.())
      // That of a Node stream would wait for a chunk which a stalled source never sends.
      if (pulling)
        runHook("A stream's destroy()", () => (iterable as { destroy?: () => unknown }).destroy?.())
    },
  }
}

/**
 * The iterator of a web stream queues `return()` behind a pending `next()`, so that a stalled one
 * could not be cut; its reader can.
 */
function iteratorOf<T>(iterable: AsyncIterable<T>): AsyncIterator<T> {
  if (!(iterable instanceof ReadableStream)) return iterable[Symbol.asyncIterator]()
  const reader = (iterable as ReadableStream<T>).getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<T>>,
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}
