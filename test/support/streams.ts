import {
  type Log,
  Stream,
  type StreamEnd,
  type StreamOptions,
  type StreamSource,
} from '../../src/core/index.js'
import { never } from './gate.js'

/** The numbers from 0 to n - 1. */
export async function* numbers(n: number): AsyncGenerator<number, undefined, undefined> {
  for (let i = 0; i < n; i++) yield i
  return undefined
}

/**
 * The numbers from 0 to n - 1, and then nothing more, for ever; no signal and no `return()` is
 * heeded.
 */
export async function* stalling(n: number): AsyncGenerator<number, undefined, undefined> {
  yield* numbers(n)
  await never()
  return undefined
}

/** The numbers from 0 to n - 1, and then an error. */
export async function* breaking(
  n: number,
  error: unknown,
): AsyncGenerator<number, undefined, undefined> {
  yield* numbers(n)
  throw error
}

export interface Driven<T> {
  readonly stream: Stream<T>
  readonly log: Log<T>
  /** How often the reader wanted more. */
  readonly pulls: number
  /** The reasons with which the source was stopped. */
  readonly stops: unknown[]
  /** Makes the source answer each time it is asked, as one does that has much to send. */
  feed(chunk: T): void
}

/** A stream whose source is the test itself: it calls `push`, `end` and `fail` on the log. */
export function driven<T>(options: StreamOptions<T> = {}): Driven<T> {
  let pulls = 0
  let fed: { chunk: T } | undefined
  const stops: unknown[] = []
  const source: StreamSource = {
    pull() {
      pulls++
      if (fed !== undefined) stream.log.push(fed.chunk)
    },
    stop(reason) {
      stops.push(reason)
    },
  }
  const stream = Stream.over<T>(source, options)
  return {
    stream,
    log: stream.log,
    stops,
    feed: (chunk) => {
      fed = { chunk }
    },
    get pulls() {
      return pulls
    },
  }
}

/** The ends a stream tells. */
export const endsOf = (stream: {
  onEnd(listener: (end: StreamEnd) => void): void
}): StreamEnd[] => {
  const ends: StreamEnd[] = []
  stream.onEnd((end) => ends.push(end))
  return ends
}

/** What `next()` gives for a chunk, and at the end. */
export const value = <T>(of: T) => ({ done: false, value: of })
export const done = { done: true, value: undefined }
