import { isJson, isRecord, Json } from './json.js'
import { isBinary, isBytes, isOneShot, isPlain } from './shape.js'

/**
 * Deeper values are left as they are: they are no JSON answers, and the walk must not exhaust the
 * stack.
 */
const DEEPEST = 256

/**
 * So many frozen objects are walked through without a list of them, which costs more than the walk.
 */
const FEW = 64

/**
 * An answer that several callers get: values are frozen, bytes are copied for each, and JSON that
 * came as text is parsed for each.
 */
export interface Shared {
  /** The answer for one caller. */
  take(): unknown
  /** Rough size in memory, in bytes. */
  readonly bytes: number
  /** Whether it, or something in it, can be read only once: it is for one caller. */
  readonly isOneShot: boolean
}

interface Look {
  bytes: number
  binary: boolean
  isOneShot: boolean
  /** How many frozen objects have been walked through. */
  frozen: number
  /** Which, from a certain number on. */
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

/** An answer whose `data` is JSON as text. The first caller gets the object parsed already. */
export class SharedJson implements Shared {
  readonly isOneShot = false
  #first: JsonData | undefined
  readonly #rest: object
  /** What everybody gets an object of. */
  readonly text: string

  constructor(answer: JsonData) {
    this.#first = answer
    // Not as `{ data, ...rest }`, which takes twenty times as long and makes an object that is slow
    // to read.
    this.#rest = { ...answer, data: undefined }
    this.text = answer.data.text
  }

  take(): JsonData {
    const first = this.#first
    this.#first = undefined
    return first ?? { ...this.#rest, data: new Json(this.text) }
  }

  /** The fields beside `data`, which is undefined. */
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
 * Makes an answer fit to be shared: arrays and plain objects in it are frozen for good, bytes
 * (typed arrays and buffers of any kind) are kept as a copy of our own and copied again for each
 * caller. Class instances are neither frozen nor copied.
 */
export function share(answer: unknown): Shared {
  if (isJsonData(answer)) return new SharedJson(answer)
  const look: Look = { bytes: 0, binary: false, isOneShot: false, frozen: 0, met: undefined }
  freeze(answer, look, 0)
  return new SharedAnswer(look.binary ? copy(answer) : answer, look)
}

/** Shared answers as one, which is a list. */
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
    // Made by hand.
    if (Symbol.asyncIterator in value || typeof (value as Iterator<unknown>).next === 'function')
      look.isOneShot = true
  }
  if (depth > DEEPEST) return
  if (Object.isFrozen(value)) {
    // It may have been met in this very answer: parts that are used often, and cycles, must not be
    // walked through again and again.
    if (look.met?.has(value)) return
    if (++look.frozen > FEW) {
      look.met ??= new Set()
      look.met.add(value)
    }
  } else Object.freeze(value)
  look.bytes += 48
  // Of arrays and plain objects `in` goes through their own fields, and many times as fast as a list
  // of their names.
  for (const key in value) {
    look.bytes += 16
    freeze((value as Record<string, unknown>)[key], look, depth + 1)
  }
}

/** A copy in which bytes are new; of all else only the frame around them is. */
function copy(value: unknown, copies = new Map<object, unknown>(), depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return value
  if (isBytes(value)) return Buffer.from(value)
  if (isBinary(value))
    return 'slice' in value ? (value as ArrayBuffer).slice(0) : structuredClone(value)
  if (!(Array.isArray(value) || isPlain(value))) return value
  let made = copies.get(value)
  if (made === undefined) {
    const copied = (item: unknown) => copy(item, copies, depth + 1)
    // fromEntries defines fields, so that one named __proto__ stays a field.
    made = Object.freeze(
      Array.isArray(value)
        ? value.map(copied)
        : Object.fromEntries(Object.entries(value).map(([key, field]) => [key, copied(field)])),
    )
    copies.set(value, made)
  }
  return made
}
