import {
  ConfigError,
  isError,
  isStream,
  isThenable,
  rules,
  StreamIterator,
  streamFrom,
} from '../core/index.js'

/**
 * Opens a source for its one reader, without reading from it yet.
 * @throws {ConfigError} (`CONFIG`) when it is not a stream, most often a promise that was not
 * awaited
 * @internal
 */
export function open<T>(subject: string, source: AsyncIterable<T>): StreamIterator<T> {
  if (source instanceof StreamIterator) return source
  if (isStream(source))
    return streamFrom(source as AsyncIterable<T>, { committed: true, lazy: true })
  const got = isThenable(source as unknown)
    ? 'a promise; await it first'
    : source === null
      ? 'null'
      : typeof source
  throw new ConfigError(`${subject}: source must be an AsyncIterable, got ${got}.`, {
    layer: subject,
  })
}

/** @internal */
export const signalRule = rules.custom<AbortSignal, undefined>(
  'an AbortSignal',
  undefined,
  // Accepts a signal of another realm or a polyfill, because only `aborted` is read.
  (value) => typeof (value as Partial<AbortSignal> | null)?.aborted === 'boolean',
)

/** @internal */
export const flagRule = rules.custom<boolean, false>(
  'true or false',
  false,
  (value) => typeof value === 'boolean',
)

/**
 * Whether a source failed because its caller aborted, which is not worth reporting.
 * @internal
 */
export function isAbort(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true || (isError(error) && error.name === 'AbortError')
}
