import { isRecord } from '../../core/index.js'
import type { ChatCompletion, Usage } from '../types.js'
import { choicesOf, hasOutput, indexOf, isEmpty, reasonOf } from './choices.js'
import { isWithoutOutput } from './messages/events.js'
import { isBeforeOutput } from './responses/events.js'

/**
 * Whether a chunk commits a stream, after which it is not retried. A chat chunk does if a choice
 * has ended or contains anything but the role. Any other event does, except pings and those events
 * of the Responses and Messages APIs that contain no output.
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

/** The choice with index 0 of a chunk or a completion. */
export function firstChoice(data: unknown): Readonly<Record<string, unknown>> | undefined {
  const choices = choicesOf(data)
  if (choices === undefined) return undefined
  // By index, because this runs for every chunk and an iterator would cost more than the check.
  for (let i = 0; i < choices.length; i++) {
    const choice: unknown = choices[i]
    if (isRecord(choice) && indexOf(choice, i) === 0) return choice
  }
  return undefined
}

/** The finish reason of a chunk's first choice, if there is one. */
export function finishReasonOf(chunk: unknown): string | undefined {
  const choice = firstChoice(chunk)
  return choice && reasonOf(choice)
}

/** The text that a chunk adds to the first choice; an empty string if there is none. */
export function textOf(chunk: unknown): string {
  const delta: unknown = firstChoice(chunk)?.delta
  return isRecord(delta) ? textIn(delta.content) : ''
}

/** The text of a message's content, which is a string or a list of parts. */
export function textIn(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  let text = ''
  for (const part of content) if (isRecord(part) && typeof part.text === 'string') text += part.text
  return text
}

/** Token counts, with this library's field names. */
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

/** Whether this is a chat completion with at least one choice, each with a message. */
export function isCompletion(data: unknown): data is ChatCompletion {
  return (
    isRecord(data) &&
    Array.isArray(data.choices) &&
    data.choices.length > 0 &&
    data.choices.every((choice) => isRecord(choice) && isRecord(choice.message))
  )
}

/** Whether this is a completion of OpenAI's older API, whose choices have `text`. */
export const isTextCompletion = (data: unknown): data is { choices: readonly unknown[] } =>
  isRecord(data) &&
  Array.isArray(data.choices) &&
  data.choices.length > 0 &&
  data.choices.every((choice) => isRecord(choice) && typeof choice.text === 'string')

/** Kinds of events in a chat stream. */
export type EventKind =
  /** A chunk. */
  | 'chunk'
  /** A chunk that lacks its list of choices. */
  | 'without choices'
  /** Not part of the answer: a keep-alive or a progress report. */
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
