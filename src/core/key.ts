import { hash } from 'node:crypto'
import { isPlain } from './shape.js'

/** Deeper values have no key: they are no requests, and the walk must not exhaust the stack. */
const DEEPEST = 64

class NoKey extends Error {}

/**
 * A value's canonical form, which is JSON but for its strings: equal for equal values whatever the
 * order of their fields, different for different ones. `undefined` for what JSON cannot tell apart
 * or hold: functions, class instances, bigints, `NaN`, cycles. Fields that are `undefined` do not
 * count.
 */
export function stableKey(value: unknown): string | undefined {
  try {
    const text = write(value, 0)
    // It was put together from many pieces, which the engine keeps until somebody looks into it:
    // five times as much memory for a call that waits.
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
 * Each text comes after its length, as looking for what to escape takes longer than everything
 * else here.
 */
function quote(text: string): string {
  return isWellFormed(text) ? `${text.length}"${text}"` : JSON.stringify(text)
}

/**
 * More fields than this are sorted by the engine, whose preparations cost more than all the rest
 * for a few.
 */
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
 * The SHA-256 digest of `parts`, each kept apart from the next: fixed length, nothing of the input
 * readable.
 */
export function digest(...parts: string[]): string {
  let whole = ''
  for (const part of parts) {
    // The hash's UTF-8 would turn all lone surrogates into one character; JSON escapes them.
    whole += isWellFormed(part) ? `${part.length}:${part}` : `json:${JSON.stringify(part)}`
  }
  return hash('sha256', whole, 'base64url')
}

const isWellFormed = (text: string): boolean =>
  (text as string & { isWellFormed(): boolean }).isWellFormed()
