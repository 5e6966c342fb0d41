import { hash } from 'node:crypto'
import { isPlain } from './shape.js'

/**
 * Deeper values get no key. Requests are never that deep, and the recursion must not overflow the
 * stack.
 */
const DEEPEST = 64

class NoKey extends Error {}

/**
 * The canonical form of a value: JSON, except for how strings are written. Equal values give equal
 * texts, whatever the order of their fields; different values give different texts. Fields that are
 * `undefined` do not count. Returns `undefined` for values that JSON cannot represent exactly:
 * functions, class instances, bigints, `NaN`, cycles.
 */
export function stableKey(value: unknown): string | undefined {
  try {
    const text = write(value, 0)
    // Reading a character flattens the string. Otherwise V8 keeps all the pieces it was built from,
    // five times as much memory for a waiting call.
    text.charCodeAt(0)
    return text
  } catch (error) {
    if (error instanceof NoKey) return undefined
    throw error
  }
}

function write(value: unknown, depth: number): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return quote(value)
  if (value === undefined) return 'undefined'
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new NoKey()
    return String(value)
  }
  if (typeof value !== 'object' || depth > DEEPEST) throw new NoKey()
  if (Array.isArray(value)) {
    let out = '['
    for (let i = 0; i < value.length; i++) out += `${write(value[i], depth + 1)},`
    return `${out}]`
  }
  if (!isPlain(value)) throw new NoKey()
  if (
    typeof (value as { toJSON?: unknown }).toJSON === 'function' ||
    Object.getOwnPropertySymbols(value).length > 0
  )
    throw new NoKey()
  let out = '{'
  for (const key of sortedKeys(value)) {
    const field = (value as Record<string, unknown>)[key]
    if (field !== undefined) out += `${quote(key)}:${write(field, depth + 1)},`
  }
  return `${out}}`
}

/**
 * Writes the length before each string. Scanning for characters to escape would take longer than
 * the rest of this function.
 */
function quote(text: string): string {
  return isWellFormed(text) ? `${text.length}"${text}"` : JSON.stringify(text)
}

/** For fewer fields an insertion sort is faster, because `Array.sort()` has a high fixed cost. */
const FEW = 32

function sortedKeys(value: object): string[] {
  const keys = Object.keys(value)
  if (keys.length > FEW) return keys.sort()
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string
    let at = i
    for (; at > 0 && (keys[at - 1] as string) > key; at--) keys[at] = keys[at - 1] as string
    keys[at] = key
  }
  return keys
}

/**
 * The SHA-256 digest of `parts`, separated from each other. Has a fixed length and reveals nothing
 * of the input.
 */
export function digest(...parts: string[]): string {
  let whole = ''
  for (const part of parts) {
    // UTF-8 would turn all lone surrogates into one character, so JSON escapes them first.
    whole += isWellFormed(part) ? `${part.length}:${part}` : `json:${JSON.stringify(part)}`
  }
  return hash('sha256', whole, 'base64url')
}

const isWellFormed = (text: string): boolean =>
  (text as string & { isWellFormed(): boolean }).isWellFormed()
