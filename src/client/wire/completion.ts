import { isRecord } from '../../core/index.js'
import type { ChatCompletion, Usage } from '../types.js'
import { choicesOf, hasOutput, indexOf, isEmpty, reasonOf } from './choices.js'
import { isWithoutOutput } from './messages/events.js'
import { isBeforeOutput } from './responses/events.js'

/**
 * Whether a chunk commits a stream: a choice that holds anything beside its role, or has ended. Of
 * what is no chat everything does but an event that keeps the connection alive, or by the rules of
 * its API holds nothing of the answer.
 */
export function commits(chunk: unknown): boolean {
  const choices = choicesOf(chunk)
  if (choices === undefined) return !isRecord(chunk) || !isSilent(chunk)
  return choices.some(
    (choice) =>
      isRecord(choice) &&
      (reasonOf(choice) !== undefined || hasOutput(choice.delta) || !isEmpty(choice.text)),
  )
}

const isSilent = (event: Readonly<Record<string, unknown>>): boolean =>
  event.type === 'ping' || isBeforeOutput(event) || isWithoutOutput(event)

/** The first choice of a chunk or a completion, wherever it stands. */
export function firstChoice(data: unknown): Readonly<Record<string, unknown>> | undefined {
  const choices = choicesOf(data)
  if (choices === undefined) return undefined
  // By index, as in all that looks at every chunk: an iterator costs more than what it is for.
  for (let i = 0; i < choices.length; i++) {
    const choice: unknown = choices[i]
    if (isRecord(choice) && indexOf(choice, i) === 0) return choice
  }
  return undefined
}

/** The finish reason that a chunk holds of the first choice, if any. */
export function finishReasonOf(chunk: unknown): string | undefined {
  const choice = firstChoice(chunk)
  return choice && reasonOf(choice)
}

/** The text that a chunk holds of the first choice; empty when it has none. */
export function textOf(chunk: unknown): string {
  const delta: unknown = firstChoice(chunk)?.delta
  return isRecord(delta) ? textIn(delta.content) : ''
}

/** The text of a content: a string, or parts of which some are text. */
export function textIn(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  let text = ''
  for (const part of content) if (isRecord(part) && typeof part.text === 'string') text += part.text
  return text
}

/** Token counts in this library's words. */
export function usageOf(answer: unknown): Usage | undefined {
  const usage = isRecord(answer) ? answer.usage : undefined
  if (!isRecord(usage)) return undefined
  const { prompt_tokens, completion_tokens, total_tokens } = usage
  const count = (value: unknown): number =>
    typeof value === 'number' && Number.isFinite(value) ? value : 0
  const promptTokens = count(prompt_tokens)
  const completionTokens = count(completion_tokens)
  return {
    promptTokens,
    completionTokens,
    totalTokens: typeof total_tokens === 'number' ? total_tokens : promptTokens + completionTokens,
  }
}

/** Whether this is a chat completion that can be read without surprises. */
export function isCompletion(data: unknown): data is ChatCompletion {
  return (
    isRecord(data) &&
    Array.isArray(data.choices) &&
    data.choices.length > 0 &&
    data.choices.every((choice) => isRecord(choice) && isRecord(choice.message))
  )
}

/** Whether this is a completion of the older API, whose choices have a text. */
export const isTextCompletion = (data: unknown): data is { choices: readonly unknown[] } =>
  isRecord(data) &&
  Array.isArray(data.choices) &&
  data.choices.length > 0 &&
  data.choices.every((choice) => isRecord(choice) && typeof choice.text === 'string')

/** What an event of a chat stream is. */
export type EventKind =
  /** A chunk. */
  | 'chunk'
  /** A chunk, but for its list of choices. */
  | 'without choices'
  /** Something beside the answer: it keeps the connection alive, or reports progress. */
  | 'aside'
  | 'invalid'

export function eventKind(data: unknown): EventKind {
  if (!isRecord(data)) return 'invalid'
  const { choices, object, usage, id, type } = data
  if (Array.isArray(choices)) return choices.every(isRecord) ? 'chunk' : 'invalid'
  if (choices !== undefined && choices !== null) return 'invalid'
  const isOfAnswer =
    isRecord(usage) ||
    (typeof object === 'string' && object.startsWith('chat.completion')) ||
    (typeof id === 'string' && id !== '' && type === undefined)
  return isOfAnswer ? 'without choices' : 'aside'
}
