import { AnswerStream, type StreamOptions, type StreamSource } from '../../src/core/index.js'
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
  readonly stream: AnswerStream<T>
  /** How often the reader wanted more. */
  readonly pulls: number
  /** The reasons with which the source was stopped. */
  readonly stops: unknown[]
}

/** A stream whose source is the test itself: it calls `push`, `end` and `fail` on the stream. */
export function driven<T>(options: StreamOptions<T> = {}): Driven<T> {
  let pulls = 0
  const stops: unknown[] = []
  const source: StreamSource = {
    pull() {
      pulls++
    },
    stop(reason) {
      stops.push(reason)
    },
  }
  return {
    stream: new AnswerStream<T>(source, options),
    stops,
    get pulls() {
      return pulls
    },
  }
}
