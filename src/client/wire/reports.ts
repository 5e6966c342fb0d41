import { type AnswerReport, isJson, isRecord } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import { choicesOf, reasonOf } from './choices.js'

/** The operation of each endpoint, by the beginning of its path. */
const OPERATIONS: readonly (readonly [RegExp, string])[] = [
  [/^\/v1\/chat\/completions/, 'chat'],
  [/^\/v1\/embeddings/, 'embeddings'],
  [/^\/v1\/responses/, 'responses'],
  [/^\/v1\/messages/, 'messages'],
  [/^\/v1\/completions/, 'text_completion'],
  [/^\/v1\/moderations/, 'moderations'],
  [/^\/v1\/audio\/trans/, 'transcription'],
  [/^(\/v1)?\/audio\/(?!models)/, 'speech'],
  [/^(\/v1)?\/images?\/(?!models)/, 'image'],
  [/^\/video\//, 'video'],
  [/^\/text\/(?!models)/, 'text'],
  [/^(\/v1|\/text|\/image|\/audio)?\/models/, 'models'],
  [/^\/account\//, 'account'],
]

/**
 * The operation of a request, for metrics. The path itself is not used: it may contain the prompt.
 */
export function operation({ path }: BlossomRequest): string {
  for (const [beginning, name] of OPERATIONS) if (beginning.test(path)) return name
  return 'other'
}

/**
 * The id, model and finish reason that an answer or a chunk reports. Events of the Responses and
 * Messages APIs have them in a nested object.
 */
export function reports(answer: unknown): AnswerReport | undefined {
  const value = isRecord(answer) && isJson(answer.data) ? answer.data.value : answer
  if (!isRecord(value)) return undefined
  const { response, message, delta } = value
  const about = isRecord(response) ? response : isRecord(message) ? message : value
  const { id, model } = about
  return {
    id: textIn(id),
    model: textIn(model),
    finishReason: firstReason(value) ?? textIn(isRecord(delta) ? delta.stop_reason : undefined),
  }
}

/** The finish reason of the first choice, or the stop reason of a message. */
function firstReason(value: unknown): string | undefined {
  const choices = choicesOf(value)
  if (choices === undefined) return textIn((value as Readonly<Record<string, unknown>>).stop_reason)
  const first = choices.find((choice) => isRecord(choice) && (choice.index ?? 0) === 0)
  return isRecord(first) ? reasonOf(first) : undefined
}

const textIn = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined
