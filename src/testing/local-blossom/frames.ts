import { type ChatAnswer, CREATED } from './chat.js'
import { pieces } from './text.js'

/** An answer as server-sent events, each a whole frame with its blank line. @internal */
export interface Frames {
  /** The role-only chunk. */
  readonly head: string
  readonly content: readonly string[]
  /**
   * The chunk with the finish reason and, if asked for, the one with `choices: []` and the usage.
   */
  readonly tail: readonly string[]
  /** A content chunk with other text, for faults that need one. */
  readonly chunkOf: (text: string) => string
}

export const DONE = 'data: [DONE]\n\n'

/** Length of the pieces in which a tool call's arguments arrive. */
const ARGUMENT_PIECE = 8

/**
 * Cuts an answer into `chat.completion.chunk` events of `words` words each (`Infinity`: one chunk
 * holds all). @internal
 */
export function toFrames(answer: ChatAnswer, words: number, includeUsage: boolean): Frames {
  const common = {
    id: answer.id,
    object: 'chat.completion.chunk',
    created: CREATED,
    model: answer.model,
  }
  const frame = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ ...common, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  const content = groups(pieces(answer.reasoning ?? ''), words).map((text) =>
    frame({ reasoning_content: text }),
  )
  for (const text of groups(pieces(answer.content ?? ''), words))
    content.push(frame({ content: text }))
  if (answer.toolCall !== undefined) {
    const { id, type, function: call } = answer.toolCall
    content.push(
      frame({ tool_calls: [{ index: 0, id, type, function: { name: call.name, arguments: '' } }] }),
    )
    const step = words === Infinity ? call.arguments.length : ARGUMENT_PIECE
    for (let at = 0; at < call.arguments.length; at += step) {
      content.push(
        frame({
          tool_calls: [{ index: 0, function: { arguments: call.arguments.slice(at, at + step) } }],
        }),
      )
    }
  }
  if (answer.audio !== undefined) content.push(frame({ audio: answer.audio }))
  const tail = [frame({}, answer.finishReason)]
  if (includeUsage)
    tail.push(`data: ${JSON.stringify({ ...common, choices: [], usage: answer.usage })}\n\n`)
  return {
    head: frame({ role: 'assistant' }),
    content,
    tail,
    chunkOf: (text) => frame({ content: text }),
  }
}

function groups(list: readonly string[], size: number): string[] {
  const grouped: string[] = []
  for (let at = 0; at < list.length; at += size) grouped.push(list.slice(at, at + size).join(''))
  return grouped
}
