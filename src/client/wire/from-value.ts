import { isBytes, isJson, isRecord, isStream, Json, wallTime } from '../../core/index.js'
import type { BlossomAnswer, ChatCompletion } from '../types.js'
import { modelOf } from './models.js'
import type { Outgoing } from './outgoing.js'
import { isChat, wrongWith } from './shapes.js'

/**
 * Converts the value that a user's function returned in place of upstream's answer: an OpenAI body,
 * bytes with a content type, a stream of chunks, or for a chat its text. Returns `undefined` if the
 * value cannot answer this request.
 */
export function fromValue(value: unknown, request: Outgoing): BlossomAnswer | undefined {
  if (isStream(value)) return request.stream ? value : undefined
  if (typeof value === 'string')
    return isChat(request) ? asJson(completionOf(value, request)) : undefined
  if (typeof value !== 'object' || value === null) return undefined
  if (isRecord(value) && isBytes(value.bytes)) {
    const { bytes, contentType } = value
    const isAsked = request.accept !== 'json' && typeof contentType === 'string'
    return isAsked ? { bytes, contentType, requestId: undefined } : undefined
  }
  if (isRecord(value) && isJson(value.data)) return value as unknown as BlossomAnswer
  const isAnswer = request.accept !== 'bytes' && wrongWith(request, value) === undefined
  return isAnswer ? asJson(value) : undefined
}

/** Stores a body as text, so that every caller gets its own object. */
const asJson = (body: unknown): BlossomAnswer => ({
  data: new Json(JSON.stringify(body)),
  requestId: undefined,
})

let count = 0

/** A text as a completion, with a usage of 0. */
const completionOf = (content: string, request: Outgoing): ChatCompletion => ({
  id: `fallback-${++count}`,
  object: 'chat.completion',
  created: Math.floor(wallTime() / 1_000),
  model: modelOf(request) ?? '',
  choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
})
