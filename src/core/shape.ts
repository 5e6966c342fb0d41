import { types } from 'node:util'

// A value may come from another realm (Jest, `node:vm`), or be of another implementation (undici's
// own `Response`, a polyfill) or another copy of this library. So nothing here goes by `instanceof`
// alone: it asks the engine what a value is made of, or looks for what will be used of it.

type Like<T> = { readonly [K in keyof T]?: unknown }

/** Members of anything, to look at. */
const like = <T>(value: unknown): Like<T> => (value ?? {}) as Like<T>

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** An `Error` or `DOMException`. */
export function isError(value: unknown): value is Error {
  try {
    return (
      value instanceof Error ||
      types.isNativeError(value) ||
      Object.prototype.toString.call(value) === '[object DOMException]'
    )
  } catch {
    // A proxy, of which any reading may throw.
    return false
  }
}

/** A promise of the language itself. */
export const isPromise = (value: unknown): value is Promise<unknown> => types.isPromise(value)

/** A promise, whoever made it. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return isObject(value) && typeof like<PromiseLike<T>>(value).then === 'function'
}

/** Bytes: a `Uint8Array`, and so a `Buffer`. */
export const isBytes = (value: unknown): value is Uint8Array => types.isUint8Array(value)

/** Memory of any kind: an `ArrayBuffer`, or any view of one. */
export const isBinary = (value: object): value is ArrayBufferView | ArrayBuffer =>
  ArrayBuffer.isView(value) || types.isArrayBuffer(value)

export const isMap = (value: unknown): value is Map<unknown, unknown> => types.isMap(value)

export const isDate = (value: unknown): value is Date => types.isDate(value)

/** What listens to an abort: an `AbortSignal`. */
export function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener, removeEventListener } = like<AbortSignal>(value)
  return (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof removeEventListener === 'function'
  )
}

/** A web `Response`. */
export function isResponse(value: unknown): value is Response {
  const { status, headers, arrayBuffer } = like<Response>(value)
  return typeof status === 'number' && isObject(headers) && typeof arrayBuffer === 'function'
}

/** A web stream, to be read. */
export const isReadableStream = (value: unknown): value is ReadableStream =>
  isObject(value) && typeof like<ReadableStream>(value).getReader === 'function'

/**
 * What only one reader can read: an iterator, a stream of Node or the web, a `Response` or
 * `Request`.
 */
export function isOneShot(value: object): boolean {
  try {
    if (Symbol.asyncIterator in value) return true
    const { next, getReader, bodyUsed, pipe, readable } = value as Record<string, unknown>
    const methods = [next, getReader, readable === true ? pipe : undefined]
    return typeof bodyUsed === 'boolean' || methods.some((method) => typeof method === 'function')
  } catch {
    // Somebody's getter: nothing is known of it.
    return false
  }
}

/** An object of plain fields: of a literal, of `JSON.parse()`, or without a prototype. */
export function isPlain(value: object): boolean {
  const proto = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null || isObjectPrototype(proto)
}

/** `Object.prototype`, of whatever realm. */
const isObjectPrototype = (proto: object): boolean =>
  Object.getPrototypeOf(proto) === null && Object.hasOwn(proto, 'isPrototypeOf')
