import { check, rules, StackError } from '../core/index.js'
import { open } from './source.js'

/** Options of `collectText()`. */
export interface CollectTextOptions {
  /**
   * Longest text, in characters (UTF-16 code units, what `length` counts). A longer one is an
   * error.
   * @default no limit
   */
  maxLength?: number | undefined
}

const SUBJECT = 'collectText'

/**
 * Reads a stream to its end and gives its text in one piece.
 *
 * Chunks may be strings, `{text}`, or OpenAI's chat chunks, of which the first choice's
 * `delta.content` counts. A chunk without text (a role, a finish reason, usage) adds nothing.
 *
 * @throws {StackError} code `TOO_LARGE`, status 502: the text is longer than `maxLength`; the
 * source is returned then
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream
 * @throws what the stream fails with
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
      throw new StackError(`The text is longer than ${maxLength} characters, so reading stopped.`, {
        code: 'TOO_LARGE',
        status: 502,
      })
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
  // With several choices a chunk carries one of any index: only the first one's text is one text.
  const first = choices.find((choice) => (choice?.index ?? 0) === 0)
  const content = first?.delta?.content
  return typeof content === 'string' ? content : ''
}
