import { isBytes, isPlain } from '../core/index.js'

// An external store holds JSON; some also hold bytes, others only text. JSON cannot represent some
// values that answers contain, such as an `undefined` field. Their paths are listed beside the
// content. An answer with any other special value is not stored.

const WORDS: Readonly<Record<string, unknown>> = {
  undefined,
  '-0': -0,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
}

/** Marks an object without a prototype. */
const BARE = 'bare'
/** Marks bytes that are written as text. */
const BYTES = 'bytes'

/** The path of a value that JSON cannot represent, and what it is. */
export type Oddity = readonly [path: readonly (string | number)[], what: string]

/** Deeper or larger values are not stored. */
const DEEPEST = 256
const MOST_VALUES = 1_000_000

/**
 * Lists the values that JSON cannot represent; undefined when a store cannot hold the value at all.
 * @param asText whether the store holds only text, so that bytes must be listed too
 */
export function odditiesIn(value: unknown, asText = false): readonly Oddity[] | undefined {
  const search = new Search(asText)
  return search.isStorable(value) ? search.found : undefined
}

/** Writes a value as JSON, with bytes in base64. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, written) {
    const bytes = this[key]
    return isBytes(bytes) ? base64Of(bytes) : written
  })
}

const base64Of = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

class Search {
  readonly found: Oddity[] = []
  readonly #asText: boolean
  readonly #path: (string | number)[] = []
  /** The objects that enclose the current one, to detect cycles. */
  readonly #around = new Set<object>()
  #values = 0

  constructor(asText: boolean) {
    this.#asText = asText
  }

  isStorable(value: unknown): boolean {
    if (++this.#values > MOST_VALUES || this.#path.length > DEEPEST) return false
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return true
      case 'undefined':
        return this.#add('undefined')
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0)
          ? true
          : this.#add(value === 0 ? '-0' : String(value))
      case 'object':
        if (value === null) return true
        if (isBytes(value)) return !this.#asText || this.#add(BYTES)
        return this.#holds(value)
      default:
        return false
    }
  }

  #holds(value: object): boolean {
    const isList = Array.isArray(value)
    const isOdd = !isList && !isPlain(value)
    if (isOdd || this.#around.has(value) || Object.getOwnPropertySymbols(value).length > 0)
      return false
    const keys = Object.keys(value)
    // A sparse array, or an array with extra fields.
    if (isList && (keys.length !== value.length || keys.some((key, i) => key !== String(i))))
      return false
    if (Object.getPrototypeOf(value) === null) this.#add(BARE)
    this.#around.add(value)
    const isStorable = keys.every((key) => this.#inside(value as Record<string, unknown>, key))
    this.#around.delete(value)
    return isStorable
  }

  #inside(value: Record<string, unknown>, key: string): boolean {
    this.#path.push(key)
    const isStorable = this.isStorable(value[key])
    this.#path.pop()
    return isStorable
  }

  #add(what: string): true {
    this.found.push([[...this.#path], what])
    return true
  }
}

/**
 * Restores a value from its JSON and the list that `odditiesIn()` returned. A store may return
 * anything.
 * @throws TypeError when the list does not match the content
 */
export function withOddities(content: unknown, oddities: unknown): unknown {
  if (oddities === undefined) return content
  const root = { content }
  for (const [path, what] of oddities as Oddity[]) putBack(root, ['content', ...path], what)
  return root.content
}

function putBack(root: object, path: readonly (string | number)[], what: string): void {
  let at = root as Record<string | number, unknown>
  const last = path.at(-1) as string | number
  // Own fields only, so that a bad entry cannot change a prototype.
  for (const key of path.slice(0, -1)) at = own(at, key) as typeof at
  if (what === BARE) return void bare(own(at, last))
  if (what === BYTES) return put(at, last, Buffer.from(String(own(at, last)), 'base64'))
  if (!Object.hasOwn(WORDS, what)) throw new TypeError('The entry lists an unknown kind of value.')
  const value = WORDS[what]
  // A `Keyv` may return live objects, which have kept the value.
  if (Object.hasOwn(at, last) && Object.is(at[last], value)) return
  if (Array.isArray(at)) own(at, last)
  put(at, last, value)
}

function put(at: object, key: string | number, value: unknown): void {
  Object.defineProperty(at, key, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  })
}

function bare(value: unknown): void {
  if (Object.getPrototypeOf(value) !== null) Object.setPrototypeOf(value, null)
}

function own(at: object, key: string | number): unknown {
  if (!Object.hasOwn(at, key))
    throw new TypeError('The entry lists a path that it does not contain.')
  return (at as Record<string | number, unknown>)[key]
}
