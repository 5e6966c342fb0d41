import { isJson, isRecord, Json } from './json.js'
import {
  isBinary,
  isBuiltIn,
  isBytes,
  isCollection,
  isDate,
  isMap,
  isOneShot,
  isPlain,
} from './shape.js'

/**
 * Deeper values are left as they are. JSON answers are never that deep, and the recursion must not
 * overflow the stack.
 */
const DEEPEST = 256

/**
 * Up to this many frozen objects are visited without a list of them, which would cost more than
 * visiting them twice.
 */
const FEW = 64

/**
 * An answer that several callers get. Values are frozen. What cannot be frozen (bytes, dates, maps
 * and sets) is copied for each caller, and JSON that arrived as text is parsed for each caller.
 */
export interface Shared {
  /** Returns the answer for one caller. */
  take(): unknown
  /** Rough size in memory, in bytes. */
  readonly bytes: number
  /** Whether the answer, or something in it, can be read only once and so suits only one caller. */
  readonly isOneShot: boolean
}

interface Look {
  bytes: number
  /** Whether something in it cannot be frozen and is copied instead. */
  isCopied: boolean
  isOneShot: boolean
  /** Number of frozen objects visited. */
  frozen: number
  /** The frozen objects visited, once there are more than `FEW`. */
  met: Set<object> | undefined
}

class SharedAnswer implements Shared {
  readonly #kept: unknown
  readonly #isCopied: boolean
  readonly bytes: number
  readonly isOneShot: boolean

  constructor(kept: unknown, { bytes, isCopied, isOneShot }: Look) {
    this.#kept = kept
    this.#isCopied = isCopied
    this.bytes = bytes
    this.isOneShot = isOneShot
  }

  take(): unknown {
    return this.#isCopied ? copy(this.#kept) : this.#kept
  }
}

/** An answer whose `data` is JSON text. The first caller gets the object that is already parsed. */
export class SharedJson implements Shared {
  readonly isOneShot = false
  #first: JsonData | undefined
  readonly #rest: object
  /** The text that each caller gets its own object of. */
  readonly text: string

  constructor(answer: JsonData) {
    this.#first = answer
    // Not `{ data, ...rest }`: that takes twenty times as long and creates an object that is slow
    // to read.
    this.#rest = { ...answer, data: undefined }
    this.text = answer.data.text
  }

  take(): JsonData {
    const first = this.#first
    this.#first = undefined
    return first ?? { ...this.#rest, data: new Json(this.text) }
  }

  /** The other fields; `data` is undefined. */
  get rest(): object {
    return this.#rest
  }

  get bytes(): number {
    return this.text.length + 48
  }
}

/** An answer whose JSON is still text. */
export interface JsonData {
  readonly data: Json
  readonly [field: string]: unknown
}

export const isJsonData = (answer: unknown): answer is JsonData =>
  isRecord(answer) && isJson(answer.data)

/**
 * Prepares an answer for sharing. Arrays and plain objects in it are frozen permanently. Bytes
 * (typed arrays and buffers of any kind), dates, maps and sets are copied once to be kept, and again
 * for each caller. Instances of other classes are neither frozen nor copied.
 */
export function share(answer: unknown): Shared {
  if (isJsonData(answer)) return new SharedJson(answer)
  const look: Look = { bytes: 0, isCopied: false, isOneShot: false, frozen: 0, met: undefined }
  freeze(answer, look, 0)
  return new SharedAnswer(look.isCopied ? copy(answer) : answer, look)
}

/** Combines shared answers into one that is a list. */
export function shareList(parts: readonly Shared[]): Shared {
  return new SharedList(parts)
}

class SharedList implements Shared {
  readonly #parts: readonly Shared[]
  readonly bytes: number
  readonly isOneShot: boolean

  constructor(parts: readonly Shared[]) {
    this.#parts = parts
    this.bytes = parts.reduce((sum, { bytes }) => sum + bytes, 0)
    this.isOneShot = parts.some(({ isOneShot }) => isOneShot)
  }

  take(): unknown {
    return Object.freeze(this.#parts.map((part) => part.take()))
  }
}

function freeze(value: unknown, look: Look, depth: number): void {
  look.bytes += 8
  if (typeof value === 'string') look.bytes += value.length * 2 - 8
  else if (typeof value === 'object' && value !== null) freezeObject(value, look, depth)
}

function freezeObject(value: object, look: Look, depth: number): void {
  const isList = Array.isArray(value)
  if (!isList) {
    if (!isPlain(value)) {
      if (isBinary(value)) {
        look.bytes += value.byteLength
        look.isCopied = true
      } else if ((isDate(value) || isCollection(value)) && isBuiltIn(value)) {
        look.isCopied = true
        if (isCollection(value)) freezeItems(value, look, depth)
      } else if (isOneShot(value)) look.isOneShot = true
      return
    }
    // A hand-made iterator.
    if (Symbol.asyncIterator in value || typeof (value as Iterator<unknown>).next === 'function')
      look.isOneShot = true
  }
  if (depth > DEEPEST) return
  if (Object.isFrozen(value)) {
    // Frozen objects may have been visited in this same answer. Repeated parts and cycles must not
    // be visited again and again.
    if (look.met?.has(value)) return
    if (++look.frozen > FEW) {
      look.met ??= new Set()
      look.met.add(value)
    }
  } else Object.freeze(value)
  look.bytes += 48
  // `for in` visits the own fields of arrays and plain objects, many times as fast as a list of
  // names.
  for (const key in value) {
    look.bytes += 16
    freeze((value as Record<string, unknown>)[key], look, depth + 1)
  }
}

function freezeItems(items: Map<unknown, unknown> | Set<unknown>, look: Look, depth: number): void {
  if (depth > DEEPEST || look.met?.has(items)) return
  look.met ??= new Set()
  look.met.add(items)
  look.bytes += 48
  for (const [key, value] of items.entries()) {
    freeze(key, look, depth + 1)
    if (value !== key) freeze(value, look, depth + 1)
  }
}

/**
 * Copies bytes, dates, maps and sets, and the arrays and plain objects around them. Everything else
 * stays the same object.
 */
function copy(value: unknown, copies = new Map<object, unknown>(), depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return value
  if (isBytes(value)) return Buffer.from(value)
  if (isBinary(value))
    return 'slice' in value ? (value as ArrayBuffer).slice(0) : structuredClone(value)
  if (isDate(value)) return isBuiltIn(value) ? new Date(value) : value
  const isItems = isCollection(value) && isBuiltIn(value)
  if (!(isItems || Array.isArray(value) || isPlain(value))) return value
  let made = copies.get(value)
  if (made === undefined) {
    const copied = (item: unknown) => copy(item, copies, depth + 1)
    if (isItems) return copyItems(value, copies, copied)
    // `fromEntries()` defines fields, so a field named `__proto__` stays a field.
    made = Object.freeze(
      Array.isArray(value)
        ? value.map(copied)
        : Object.fromEntries(Object.entries(value).map(([key, field]) => [key, copied(field)])),
    )
    copies.set(value, made)
  }
  return made
}

function copyItems(
  items: Map<unknown, unknown> | Set<unknown>,
  copies: Map<object, unknown>,
  copied: (item: unknown) => unknown,
): Map<unknown, unknown> | Set<unknown> {
  // Listed before its items are copied, because it may contain itself.
  if (isMap(items)) {
    const map = new Map<unknown, unknown>()
    copies.set(items, map)
    for (const [key, value] of items) map.set(copied(key), copied(value))
    return map
  }
  const set = new Set<unknown>()
  copies.set(items, set)
  for (const item of items) set.add(copied(item))
  return set
}
