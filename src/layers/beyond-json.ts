import { isBytes, isPlain } from '../core/index.js'

// A store outside the process holds JSON, and bytes unless it holds text only. JSON has no word for
// some values that answers do have, such as a field that is `undefined`: they are listed beside the
// content, by their places. An answer that holds anything else is not stored.

const WORDS: Readonly<Record<string, unknown>> = {
  undefined,
  '-0': -0,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
}

/** Of an object without a prototype. */
const BARE = 'bare'
/** Of bytes, where they are written as text. */
const BYTES = 'bytes'

/** A place in a value, and what is there. */
export type Oddity = readonly [path: readonly (string | number)[], what: string]

/** Deeper values, and larger ones, are not stored. */
const DEEPEST = 256
const MOST_VALUES = 1_000_000

/**
 * What of a value JSON cannot say; undefined when a store cannot hold the value at all. `asText`:
 * whether the store holds text only, so that bytes are none of its own.
 */
export function odditiesIn(value: unknown, asText = false): readonly Oddity[] | undefined {
  const search = new Search(asText)
  return search.isStorable(value) ? search.found : undefined
}

/** JSON in which bytes are written in base64. */
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
  /** The objects around the one that is looked at. */
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
    // Holes, and further fields of an array.
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
 * The value again that `odditiesIn()` looked at, from its JSON. Anything may come from a store.
 * @throws TypeError when these are no oddities of it
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
  // Own fields only, or a store could reach into prototypes.
  for (const key of path.slice(0, -1)) at = own(at, key) as typeof at
  if (what === BARE) return void bare(own(at, last))
  if (what === BYTES) return put(at, last, Buffer.from(String(own(at, last)), 'base64'))
  if (!Object.hasOwn(WORDS, what)) throw new TypeError('Unknown oddity.')
  const value = WORDS[what]
  // A Keyv may keep live objects, in which all is as it was.
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
  if (!Object.hasOwn(at, key)) throw new TypeError('No such place.')
  return (at as Record<string | number, unknown>)[key]
}
