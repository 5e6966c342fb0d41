/** Deeper values are left as they are: they are no JSON answers, and the walk must not exhaust the stack. */
const DEEPEST = 256

/** An answer that several callers get: JSON is frozen, bytes are copied for each. */
export interface Shared {
  /** The answer for one caller. */
  take(): unknown
  /** Rough size in memory, in bytes. */
  readonly bytes: number
  /** Whether it is nothing but JSON and bytes, so that a store outside the process can hold it. */
  readonly storable: boolean
}

interface Look {
  bytes: number
  binary: boolean
  storable: boolean
}

/**
 * Makes an answer fit to be shared: arrays and plain objects in it are frozen for good, byte arrays are kept as a copy of our own and copied again for each
 * caller. Class instances are neither frozen nor copied.
 */
export function share(answer: unknown): Shared {
  const look: Look = { bytes: 0, binary: false, storable: true }
  freeze(answer, look, 0)
  const kept = look.binary ? copy(answer, 0) : answer
  return { take: look.binary ? () => copy(kept, 0) : () => kept, bytes: look.bytes, storable: look.storable }
}

function isPlain(value: object): boolean {
  const proto = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

function freeze(value: unknown, look: Look, depth: number): void {
  if (typeof value === 'string') look.bytes += value.length * 2
  else look.bytes += 8
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') look.storable = false
  if (typeof value !== 'object' || value === null) return
  if (value instanceof Uint8Array) {
    look.bytes += value.byteLength
    look.binary = true
    return
  }
  if (depth > DEEPEST || !(Array.isArray(value) || isPlain(value))) {
    look.storable = false
    return
  }
  look.bytes += 48
  Object.freeze(value)
  for (const key of Object.keys(value)) {
    look.bytes += 16
    freeze((value as Record<string, unknown>)[key], look, depth + 1)
  }
}

/** A copy in which bytes are new; everything frozen that holds none is the same object. */
function copy(value: unknown, depth: number): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return value
  if (Array.isArray(value)) return Object.freeze(value.map((item) => copy(item, depth + 1)))
  if (!isPlain(value)) return value
  // fromEntries defines fields, so that one named __proto__ stays a field.
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([key, field]) => [key, copy(field, depth + 1)])))
}
