import { isRecord } from '../../core/index.js'
import type { ChatChunk, ChatCompletion, ChatDelta } from '../types.js'
import { reasonOf } from './choices.js'

/**
 * Converts a completion to the chunks of a stream: one with the whole content of each choice, then
 * one with the finish reasons, then one with the usage.
 *
 * @param withUsage whether the request asked for usage. Many clients do not expect the usage chunk,
 * whose list of choices is empty
 */
export function toChunks(completion: ChatCompletion, withUsage: boolean): ChatChunk[] {
  const { choices, usage, ...fields } = completion
  const { id, created, model } = completion
  const head = { id, object: 'chat.completion.chunk', created, model }
  const ordered = inOrder(choices)
  const chunks: ChatChunk[] = ordered.map(({ message, finish_reason: _, ...rest }, i) => ({
    ...(i === 0 && fields),
    ...head,
    choices: [{ ...rest, delta: deltaOf(message), finish_reason: null }],
  }))
  chunks.push({
    ...head,
    choices: ordered.map((choice) => ({
      index: choice.index,
      delta: {},
      finish_reason: reasonOf(choice) ?? 'stop',
    })),
  })
  if (withUsage && usage) chunks.push({ ...head, choices: [], usage })
  return chunks
}

/** The choices with valid, distinct indices: their own, or else their positions. */
function inOrder(choices: ChatCompletion['choices']): ChatCompletion['choices'] {
  const indices = new Set(choices.map(({ index }) => index))
  const areApart =
    indices.size === choices.length &&
    choices.every(({ index }) => Number.isInteger(index) && index >= 0)
  return areApart ? choices : choices.map((choice, index) => ({ ...choice, index }))
}

/** Numbers tool calls by position, because some providers give each the index 0. */
function deltaOf({ tool_calls, ...rest }: ChatCompletion['choices'][number]['message']): ChatDelta {
  // Some providers send `tool_calls: null`.
  if (!Array.isArray(tool_calls)) return rest
  return {
    ...rest,
    tool_calls: tool_calls.filter(isRecord).map((call, index) => ({ ...call, index })),
  }
}
