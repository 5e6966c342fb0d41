import { isJson } from '../../core/index.js'

/** Deeper values are not text of an answer. */
const DEEPEST = 8

/** Fields that hold an answer's text, in the formats in use. */
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
 * Number of characters of text in a chunk of any format: a string, or the strings in fields that
 * are known to hold text. Everything else, such as an id, is many times as long as the text.
 */
export function charactersInChunk(chunk: unknown): number {
  return typeof chunk === 'string' ? chunk.length : charactersBelow(chunk, isText, 0)
}

/** The same for a complete answer. If no field is known to hold text, all strings count. */
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
  // Skips bytes, and lists of numbers such as an embedding.
  if (ArrayBuffer.isView(value) || (Array.isArray(value) && typeof value[0] === 'number')) return 0
  let sum = 0
  for (const [name, field] of Object.entries(value)) {
    if (typeof field !== 'string') sum += charactersBelow(field, counts, depth + 1)
    else if (counts(name)) sum += field.length
  }
  return sum
}
