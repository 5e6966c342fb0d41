import { ConfigError, isStream, rules, runHook } from '../core/index.js'

const GONE: IteratorResult<never> = Object.freeze({ done: true, value: undefined })

/**
 * Opens a source for its one reader. It is not asked for anything yet.
 * @throws {ConfigError} when it is none, most often a call's promise that was not awaited
 * @internal
 */
export function open<T>(subject: string, source: AsyncIterable<T>): AsyncIterator<T> {
  if (isStream(source)) return iteratorOf(source as AsyncIterable<T>)
  const got =
    (source as unknown) instanceof Promise
      ? 'a promise: await it first'
      : source === null
        ? 'null'
        : typeof source
  throw new ConfigError(`${subject}: source must be an AsyncIterable, got ${got}.`, {
    layer: subject,
  })
}

/**
 * Iterators of web and Node streams queue `return()` behind a pending `next()`, so that a stalled
 * one would stay open; themselves they can be ended.
 */
function iteratorOf<T>(
  source: AsyncIterable<T> & { destroy?: unknown; pipe?: unknown },
): AsyncIterator<T> {
  if (source instanceof ReadableStream) {
    const reader = source.getReader() as ReadableStreamDefaultReader<T>
    return {
      next: () => reader.read() as Promise<IteratorResult<T>>,
      return: () => reader.cancel().then(() => GONE),
    }
  }
  const iterator = source[Symbol.asyncIterator]()
  const { destroy, pipe } = source
  if (typeof destroy !== 'function' || typeof pipe !== 'function') return iterator
  return {
    next: () => iterator.next(),
    return: () => Promise.resolve(destroy.call(source)).then(() => GONE),
  }
}

/**
 * Asks for the next chunk. A foreign iterator that throws instead of rejecting, or answers without
 * a promise, is treated alike.
 * @internal
 */
export function ask<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  try {
    return Promise.resolve(iterator.next())
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * Tells a source that its reader goes. Nothing waits for its answer: behind a pending `next()` an
 * async generator queues it, perhaps for ever.
 * @internal
 */
export function leave(iterator: AsyncIterator<unknown>): void {
  runHook("A stream's return()", () => iterator.return?.())
}

/** @internal */
export const signalRule = rules.custom<AbortSignal, undefined>(
  'an AbortSignal',
  undefined,
  // A signal of another realm or a polyfill will do: only this is read.
  (value) => typeof (value as Partial<AbortSignal> | null)?.aborted === 'boolean',
)

/** @internal */
export const flagRule = rules.custom<boolean, false>(
  'true or false',
  false,
  (value) => typeof value === 'boolean',
)

/**
 * Whether a source failed because its caller went away, which nobody needs to be told of.
 * @internal
 */
export function isAbort(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true || (error instanceof Error && error.name === 'AbortError')
}
