import { type ChatAnswer, CREATED, usageOf } from './chat.js'
import { pieces } from './text.js'

/** An answer as server-sent events, each including its empty line. @internal */
export interface Frames {
  /** The chunk with only the role. */
  readonly head: string
  readonly content: readonly string[]
  /**
   * The chunk with the finish reason and, if requested, the chunk with `choices: []` and the usage.
   */
  readonly tail: readonly string[]
  /** Creates a content chunk with another text, for faults. */
  readonly chunkOf: (text: string) => string
  /** The end marker. @default `[DONE]` */
  readonly done?: string
}

export const DONE = 'data: [DONE]\n\n'

/** Length of the pieces in which a tool call's arguments arrive. */
const ARGUMENT_PIECE = 8

/**
 * Cuts answers into `chat.completion.chunk` events of `words` words each (`Infinity` for a single
 * chunk). Chunks of several choices alternate. @internal
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

/** The deltas of one choice, except its role and finish reason. */
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

/** Joins the pieces in groups of `size`. @internal */
export function groups(list: readonly string[], size: number): string[] {
  const grouped: string[] = []
  for (let at = 0; at < list.length; at += size) grouped.push(list.slice(at, at + size).join(''))
  return grouped
}
