import { isJson, isRecord, Json } from './json.js'
import { isBinary, isBytes, isOneShot, isPlain } from './shape.js'

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
 * An answer that several callers get. Values are frozen, bytes are copied for each caller, and JSON
 * that arrived as text is parsed for each caller.
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
  binary: boolean
  isOneShot: boolean
  /** Number of frozen objects visited. */
  frozen: number
  /** The frozen objects visited, once there are more than `FEW`. */
  met: Set<object> | undefined
}

class SharedAnswer implements Shared {
  readonly #kept: unknown
  readonly #binary: boolean
  readonly bytes: number
  readonly isOneShot: boolean

  constructor(kept: unknown, { bytes, binary, isOneShot }: Look) {
    this.#kept = kept
    this.#binary = binary
    this.bytes = bytes
    this.isOneShot = isOneShot
  }

  take(): unknown {
    return this.#binary ? copy(this.#kept) : this.#kept
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
 * (typed arrays and buffers of any kind) are copied once to be kept, and again for each caller.
 * Class instances are neither frozen nor copied.
 */
export function share(answer: unknown): Shared {
  if (isJsonData(answer)) return new SharedJson(answer)
  const look: Look = { bytes: 0, binary: false, isOneShot: false, frozen: 0, met: undefined }
  freeze(answer, look, 0)
  return new SharedAnswer(look.binary ? copy(answer) : answer, look)
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
        look.binary = true
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

/**
 * Copies the bytes, and the arrays and plain objects around them. Everything else stays the same
 * object.
 */
function copy(value: unknown, copies = new Map<object, unknown>(), depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return value
  if (isBytes(value)) return Buffer.from(value)
  if (isBinary(value))
    return 'slice' in value ? (value as ArrayBuffer).slice(0) : structuredClone(value)
  if (!(Array.isArray(value) || isPlain(value))) return value
  let made = copies.get(value)
  if (made === undefined) {
    const copied = (item: unknown) => copy(item, copies, depth + 1)
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
