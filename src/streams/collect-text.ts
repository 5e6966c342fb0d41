import { check, rules, StackError } from '../core/index.js'
import { open } from './source.js'

/** Options of `collectText()`. */
export interface CollectTextOptions {
  /**
   * Maximum length of the text, in characters (UTF-16 code units, as counted by `length`). A longer
   * text is an error.
   * @default no limit
   */
  maxLength?: number | undefined
}

const SUBJECT = 'collectText'

/**
 * Reads a stream to its end and returns its whole text.
 *
 * Chunks may be strings, objects `{ text }`, or OpenAI chat chunks, of which the first choice's
 * `delta.content` is used. A chunk without text (role, finish reason, usage) adds nothing.
 *
 * @throws {StackError} (`TOO_LARGE`, status 502) when the text is longer than `maxLength`; the
 * source is then closed
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream
 * @throws the error of the stream
 * @example const story = await collectText(await blossom.text.stream('Tell me a story'), { maxLength: 100_000 })
 * @see https://platform.openai.com/docs/api-reference/chat-streaming for the chat chunks
 */
export async function collectText(
  source: AsyncIterable<unknown>,
  options?: CollectTextOptions,
): Promise<string> {
  const { maxLength } = check(SUBJECT, options, {
    maxLength: rules.integer(Number.POSITIVE_INFINITY, { min: 0 }),
  })
  let text = ''
  for await (const chunk of open(SUBJECT, source)) {
    text += textOf(chunk)
    if (text.length > maxLength) {
      throw new StackError(
        `Reading stopped: the text is longer than ${maxLength} characters. Raise maxLength to read more.`,
        {
          code: 'TOO_LARGE',
          status: 502,
        },
      )
    }
  }
  return text
}

interface TextChunk {
  text?: unknown
  choices?: unknown
}

function textOf(chunk: unknown): string {
  if (typeof chunk === 'string') return chunk
  if (typeof chunk !== 'object' || chunk === null) return ''
  const { text, choices } = chunk as TextChunk
  if (typeof text === 'string') return text
  if (!Array.isArray(choices)) return ''
  // A chunk may belong to any of several choices. Only the first choice counts.
  const first = choices.find((choice) => (choice?.index ?? 0) === 0)
  const content = first?.delta?.content
  return typeof content === 'string' ? content : ''
}
