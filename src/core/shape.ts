import { types } from 'node:util'

// A value may come from another realm (Jest, `node:vm`), another implementation (undici's own
// `Response`, a polyfill) or another copy of this library, where `instanceof` fails. So these
// functions ask the engine for a value's type, or check for the members that will be used.

type Like<T> = { readonly [K in keyof T]?: unknown }

/** The members of any value, for checking. */
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
    // A proxy may throw on any access.
    return false
  }
}

/** A native promise. */
export const isPromise = (value: unknown): value is Promise<unknown> => types.isPromise(value)

/** A promise of any implementation. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return isObject(value) && typeof like<PromiseLike<T>>(value).then === 'function'
}

/** Bytes: a `Uint8Array`, which includes `Buffer`. */
export const isBytes = (value: unknown): value is Uint8Array => types.isUint8Array(value)

/** Binary data of any kind: an `ArrayBuffer` or a view of one. */
export const isBinary = (value: object): value is ArrayBufferView | ArrayBuffer =>
  ArrayBuffer.isView(value) || types.isArrayBuffer(value)

export const isMap = (value: unknown): value is Map<unknown, unknown> => types.isMap(value)

export const isDate = (value: unknown): value is Date => types.isDate(value)

/** A `Map` or `Set`. */
export const isCollection = (value: unknown): value is Map<unknown, unknown> | Set<unknown> =>
  types.isMap(value) || types.isSet(value)

/** Whether a `Date`, `Map` or `Set` is not an instance of a class that extends it. */
export function isBuiltIn(value: object): boolean {
  // A value of any realm: its prototype comes right before that of all objects, which has none.
  const parent = Object.getPrototypeOf(Object.getPrototypeOf(value) ?? {})
  return parent !== null && Object.getPrototypeOf(parent) === null
}

/** An `AbortSignal`. */
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

/** A readable web stream. */
export const isReadableStream = (value: unknown): value is ReadableStream =>
  isObject(value) && typeof like<ReadableStream>(value).getReader === 'function'

/**
 * Whether a value can be read only once: an iterator, a Node or web stream, a `Response` or a
 * `Request`.
 */
export function isOneShot(value: object): boolean {
  try {
    if (Symbol.asyncIterator in value) return true
    const { next, getReader, bodyUsed, pipe, readable } = value as Record<string, unknown>
    const methods = [next, getReader, readable === true ? pipe : undefined]
    return typeof bodyUsed === 'boolean' || methods.some((method) => typeof method === 'function')
  } catch {
    // A getter threw, so nothing is known about the value.
    return false
  }
}

/**
 * A plain object: an object literal, a result of `JSON.parse()`, or an object without a prototype.
 */
export function isPlain(value: object): boolean {
  const proto = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null || isObjectPrototype(proto)
}

/** The `Object.prototype` of any realm. */
const isObjectPrototype = (proto: object): boolean =>
  Object.getPrototypeOf(proto) === null && Object.hasOwn(proto, 'isPrototypeOf')
