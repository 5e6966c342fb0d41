import { isJson } from '../../core/index.js'

/** Deeper values are no text of an answer. */
const DEEPEST = 8

/** Fields that hold text of an answer, in the forms that are in use. */
const TEXTS: ReadonlySet<string> = new Set([
  'text',
  'content',
  'delta',
  'refusal',
  'reasoning',
  'reasoning_content',
  'thinking',
  'arguments',
  'partial_json',
])

/**
 * How many characters of text an answer or a chunk holds, whatever its form: a string, or the
 * strings in those of its fields that are known to hold text.
 */
export function charactersIn(value: unknown): number {
  return typeof value === 'string' ? value.length : charactersBelow(value, 0)
}

function charactersBelow(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return 0
  if (isJson(value)) return charactersBelow(value.value, depth)
  if (ArrayBuffer.isView(value)) return 0
  let sum = 0
  if (Array.isArray(value)) {
    // Of a list of numbers, such as an embedding, the first one is enough to know it.
    if (typeof value[0] === 'number') return 0
    for (const item of value) sum += charactersBelow(item, depth + 1)
    return sum
  }
  for (const [name, field] of Object.entries(value)) {
    if (typeof field !== 'string') sum += charactersBelow(field, depth + 1)
    else if (TEXTS.has(name)) sum += field.length
  }
  return sum
}
