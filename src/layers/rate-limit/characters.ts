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

const isText = (field: string): boolean => TEXTS.has(field)
const isAny = (): boolean => true

/**
 * How many characters of text a chunk holds, whatever its form: a string, or the strings in those
 * of its fields that are known to hold text. What stands around them, such as an id, is many times
 * as long.
 */
export function charactersInChunk(chunk: unknown): number {
  return typeof chunk === 'string' ? chunk.length : charactersBelow(chunk, isText, 0)
}

/** The same of a whole answer. Where no field is known to hold text, any may. */
export function charactersInAnswer(answer: unknown): number {
  return charactersInChunk(answer) || charactersBelow(answer, isAny, 0)
}

function charactersBelow(
  value: unknown,
  counts: (field: string) => boolean,
  depth: number,
): number {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return 0
  if (isJson(value)) return charactersBelow(value.value, counts, depth)
  // Bytes, and lists of numbers such as an embedding.
  if (ArrayBuffer.isView(value) || (Array.isArray(value) && typeof value[0] === 'number')) return 0
  let sum = 0
  for (const [name, field] of Object.entries(value)) {
    if (typeof field !== 'string') sum += charactersBelow(field, counts, depth + 1)
    else if (counts(name)) sum += field.length
  }
  return sum
}
