import { isRecord } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import { isCompletion } from './completion.js'
import { embeddingsIn } from './embeddings.js'

export const CHAT = '/v1/chat/completions'
export const COMPLETIONS = '/v1/completions'
export const RESPONSES = '/v1/responses'
export const MESSAGES = '/v1/messages'
export const EMBEDDINGS = '/v1/embeddings'
export const MODELS = '/v1/models'
export const BALANCE = '/account/balance'

/** Whether the answer is a chat, as JSON or as a stream. */
export const isChat = ({ path }: BlossomRequest): boolean =>
  path === CHAT || path.startsWith(`${CHAT}?`)

/** Whether the answer is one of OpenAI's Responses, as JSON or as a stream. */
export const isResponses = ({ path }: BlossomRequest): boolean =>
  path === RESPONSES || path.startsWith(`${RESPONSES}?`)

/** Whether the answer is one of Anthropic's Messages, as JSON or as a stream. */
export const isMessages = ({ path }: BlossomRequest): boolean =>
  path === MESSAGES || path.startsWith(`${MESSAGES}?`)

/** Whether the answer must be JSON, whatever its content type says. */
export const isAnsweredWithJson = (request: BlossomRequest): boolean =>
  isChat(request) ||
  isResponses(request) ||
  isMessages(request) ||
  request.path === EMBEDDINGS ||
  request.path === MODELS

/** Whether a stream was asked to report its usage. */
export function asksForUsage(body: BlossomRequest['body']): boolean {
  const options = body?.stream_options
  return isRecord(options) && options.include_usage === true
}

/**
 * What is wrong with the JSON of an answer with status 200; `undefined` if it fits the request. It
 * is checked inside the stack, so that an invalid answer is retried, counts against upstream, and
 * is not cached.
 */
export function wrongWith(
  { path, body, accept }: BlossomRequest,
  data: unknown,
): string | undefined {
  switch (path) {
    case CHAT:
      return isCompletion(data)
        ? undefined
        : 'Upstream answered 200 with JSON that is not a chat completion.'
    case RESPONSES:
      return isRecord(data) && Array.isArray(data.output)
        ? undefined
        : 'Upstream answered 200 with JSON that is not a response.'
    case MESSAGES:
      return isRecord(data) && Array.isArray(data.content)
        ? undefined
        : 'Upstream answered 200 with JSON that is not a message.'
    case EMBEDDINGS:
      // A call by `request()` may have asked for base64.
      return embeddingsIn(data, countOf(body?.input), accept === 'json')
        ? undefined
        : 'Upstream answered with something other than one embedding for each input.'
    case MODELS:
      return modelsIn(data)
        ? undefined
        : 'Upstream answered with something other than a list of models.'
    case BALANCE:
      return isRecord(data) && typeof data.balance === 'number'
        ? undefined
        : 'Upstream answered with something other than a balance.'
  }
  return undefined
}

/** Number of inputs; a text or a list of tokens is one input. */
const countOf = (input: unknown): number =>
  Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1

/** The list of models, which is the body itself or its `data`. */
export function modelsIn(data: unknown): unknown[] | undefined {
  const list = isRecord(data) ? data.data : data
  return Array.isArray(list) ? list : undefined
}
