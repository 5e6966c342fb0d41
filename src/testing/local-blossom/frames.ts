import { type ChatAnswer, CREATED, usageOf } from './chat.js'
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
  /** What marks the end. @default `[DONE]` */
  readonly done?: string
}

export const DONE = 'data: [DONE]\n\n'

/** Length of the pieces in which a tool call's arguments arrive. */
const ARGUMENT_PIECE = 8

/**
 * Cuts answers into `chat.completion.chunk` events of `words` words each (`Infinity`: one chunk
 * holds all). The chunks of several choices take turns. @internal
 */
export function toFrames(
  answers: readonly ChatAnswer[],
  words: number,
  includeUsage: boolean,
): Frames {
  const { id, model } = answers[0] as ChatAnswer
  const common = { id, object: 'chat.completion.chunk', created: CREATED, model }
  const frame = (index: number, delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ ...common, choices: [{ index, delta, finish_reason: finish }] })}\n\n`
  const [head = '', ...otherHeads] = answers.map((_, index) => frame(index, { role: 'assistant' }))
  const ofChoices = answers.map((answer, index) =>
    deltasOf(answer, words).map((delta) => frame(index, delta)),
  )
  const tail = answers.map(({ finishReason }, index) => frame(index, {}, finishReason))
  if (includeUsage)
    tail.push(`data: ${JSON.stringify({ ...common, choices: [], usage: usageOf(answers) })}\n\n`)
  return {
    head,
    content: [...otherHeads, ...inTurns(ofChoices)],
    tail,
    chunkOf: (text) => frame(0, { content: text }),
  }
}

function inTurns(lists: readonly (readonly string[])[]): string[] {
  const longest = Math.max(...lists.map(({ length }) => length))
  return Array.from({ length: longest }, (_, at) => lists.flatMap((list) => list[at] ?? [])).flat()
}

/** What the chunks of one choice hold, without its role and its finish reason. */
function deltasOf({ reasoning, content, toolCall, audio }: ChatAnswer, words: number): object[] {
  const deltas: object[] = [
    ...groups(pieces(reasoning ?? ''), words).map((text) => ({ reasoning_content: text })),
    ...groups(pieces(content ?? ''), words).map((text) => ({ content: text })),
  ]
  if (toolCall !== undefined) {
    const { id, type, function: call } = toolCall
    deltas.push({
      tool_calls: [{ index: 0, id, type, function: { name: call.name, arguments: '' } }],
    })
    const step = words === Infinity ? call.arguments.length : ARGUMENT_PIECE
    for (let at = 0; at < call.arguments.length; at += step) {
      const piece = call.arguments.slice(at, at + step)
      deltas.push({ tool_calls: [{ index: 0, function: { arguments: piece } }] })
    }
  }
  if (audio !== undefined) deltas.push({ audio })
  return deltas
}

/** The pieces in groups of so many. @internal */
export function groups(list: readonly string[], size: number): string[] {
  const grouped: string[] = []
  for (let at = 0; at < list.length; at += size) grouped.push(list.slice(at, at + size).join(''))
  return grouped
}
