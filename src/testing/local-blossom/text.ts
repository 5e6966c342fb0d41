import { createHash } from 'node:crypto'
import { randomFrom } from '../random.js'
import { isObject, isText } from './fields.js'

/** A chat message, as far as the local Blossom reads it. @internal */
export interface Message {
  readonly role: string
  readonly content?: unknown
}

const OPENINGS = [
  'You asked about “{topic}”, and here is what the local Blossom makes of it.',
  'Thank you for “{topic}”.',
  '“{topic}” is a good place to begin.',
  'Let us look at “{topic}” together.',
]

const MIDDLES = [
  'A petal opens slowly, one word at a time.',
  'Small steps taken in order reach further than one long leap.',
  'Every garden keeps its own calendar, and no two springs are quite the same.',
  'The first idea is rarely the best one, yet it shows where to look next.',
  'Rain that falls gently sinks deeper than rain that hurries.',
  'It helps to name the parts before putting them together.',
  'What seems difficult from afar is often simple when seen up close.',
  'A bee visits many flowers and remembers the ones worth a second visit.',
  'Patience is a tool like any other, and it works best when it is kept sharp.',
  'Good soil does most of the work, and nobody thanks it.',
  'When two paths look alike, choose the one that is easier to walk back.',
  'The answer changes with the season, but the question stays the same.',
]

const CLOSINGS = [
  'That is all the local Blossom knows about {word}.',
  'With that, {word} should feel a little closer.',
  'Ask again about {word}, and the same answer will bloom.',
]

/** SHA-256 of the parts, separated by their lengths. @internal */
export function digest(...parts: readonly string[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest()
}

/** A repeatable source of numbers in [0, 1) for the given parts. @internal */
export function numbersFrom(...parts: readonly string[]): () => number {
  return randomFrom(digest(...parts).readUInt32LE(0))
}

/**
 * Splits a text into words, each with the white space before it. A word is the local Blossom's
 * token and, by default, its chunk.
 * @internal
 */
export function pieces(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? []
}

/**
 * Counts tokens by the local Blossom's rule: one per run of characters without white space.
 * @internal
 */
export function countTokens(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}

/**
 * Counts the tokens of a conversation: the words of every message, and one for each part that is
 * not text.
 * @internal
 */
export function countPromptTokens(messages: readonly Message[]): number {
  let tokens = 0
  for (const { content } of messages) {
    tokens += countTokens(textOf(content))
    if (Array.isArray(content))
      tokens += content.filter((part) => partText(part) === undefined).length
  }
  return tokens
}

/**
 * The text of the last user message, or of the last message if there is none from the user.
 * @internal
 */
export function lastPrompt(messages: readonly Message[]): string {
  return textOf(
    (messages.findLast((message) => message.role === 'user') ?? messages.at(-1))?.content,
  )
}

/**
 * The prompt as quoted in an answer: on one line, at most ten words and 80 characters. @internal
 */
export function topicOf(prompt: string): string {
  // A prompt may be megabytes long; its beginning is enough.
  const words = prompt.slice(0, 2000).trim().split(/\s+/)
  const characters = Array.from(words.slice(0, 10).join(' '))
  if (characters.length === 0) return 'your message'
  const whole = words.length <= 10 && characters.length <= 80
  return whole ? characters.join('') : `${characters.slice(0, 80).join('')}…`
}

/**
 * Writes the answer to a conversation, which depends only on model, messages and seed. Quotes the
 * prompt, continues for a few sentences until at least `words` words are reached, and closes.
 *
 * @internal
 */
export function writeText(
  model: string,
  messages: readonly Message[],
  seed: number | undefined,
  words = 0,
): string {
  const random = numbersFrom(model, JSON.stringify(messages), String(seed ?? ''))
  const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)] ?? ''
  const topic = topicOf(lastPrompt(messages))
  const word = topic
    .split(' ')
    .reduce((longest, next) => (next.length > longest.length ? next : longest), '')
  // Replaced with a function, so that `$&` in a prompt is not a pattern.
  const opening = pick(OPENINGS).replace('{topic}', () => topic)
  const closing = pick(CLOSINGS).replace('{word}', () => word.replace(/[.,;:!?…]+$/u, '') || 'this')
  const sentences = [opening]
  const least = 3 + Math.floor(random() * 3)
  let count = countTokens(opening) + countTokens(closing)
  let start = Math.floor(random() * MIDDLES.length)
  for (let written = 0; written < least || count < words; written++) {
    // The step is coprime to the list's length, so no sentence repeats before all have been used.
    const sentence = MIDDLES[start % MIDDLES.length] ?? ''
    start += 5
    sentences.push(sentence)
    count += countTokens(sentence)
  }
  return [...sentences, closing].join(' ')
}

function textOf(content: unknown): string {
  if (isText(content)) return content
  if (!Array.isArray(content)) return ''
  return content.flatMap((part) => partText(part) ?? []).join(' ')
}

function partText(part: unknown): string | undefined {
  const text = isObject(part) ? part.text : part
  return isText(text) ? text : undefined
}
