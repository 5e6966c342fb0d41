import { isRecord } from '../../../core/index.js'
import { messagesOf } from './messages.js'
import { refusal, refuseState } from './refusal.js'
import { toolsOf } from './tools.js'

type Fields = Readonly<Record<string, unknown>>

/** Name of the output limit in a chat: the first on newer servers, the second on older ones. */
export type LimitField = 'max_completion_tokens' | 'max_tokens'

/** Fields that are translated, handled or rejected here, or that a chat does not have. */
const NOT_OF_A_CHAT: ReadonlySet<string> = new Set([
  ...['input', 'instructions', 'text', 'reasoning', 'max_output_tokens', 'top_logprobs'],
  ...['tools', 'tool_choice', 'parallel_tool_calls', 'max_tool_calls'],
  ...['store', 'previous_response_id', 'conversation', 'prompt', 'background', 'truncation'],
  ...['metadata', 'include', 'stream', 'stream_options'],
  // Fields of a chat that must not be set: the translation expects one answer, which is text.
  ...['messages', 'n', 'modalities', 'audio', 'functions', 'function_call'],
])

/**
 * Translates a Responses request to the body of a chat completion. Unknown fields are kept.
 *
 * @throws StackError with status 400 and `param`, for fields that a chat does not support
 * @see https://platform.openai.com/docs/guides/migrate-to-responses
 */
export function toChatBody(body: Fields, limit: LimitField): Record<string, unknown> {
  refuseState(body)
  const others = Object.entries(body).filter(
    ([name, value]) => !NOT_OF_A_CHAT.has(name) && value !== null,
  )
  const { max_output_tokens, stream } = body
  return {
    ...Object.fromEntries(others),
    messages: messagesOf(body),
    ...toolsOf(body),
    ...textOf(body.text),
    ...reasoningOf(body.reasoning),
    ...logprobsOf(body.top_logprobs),
    ...(max_output_tokens !== undefined &&
      max_output_tokens !== null && { [limit]: max_output_tokens }),
    // The last event of a response reports the usage.
    ...(stream === true && { stream, stream_options: { include_usage: true } }),
  }
}

/** Translates the format of the answer's text. */
function textOf(text: unknown): Fields {
  if (text === undefined || text === null) return {}
  if (!isRecord(text)) throw refusal('text', 'must be an object.')
  const { format, verbosity } = text
  return {
    ...(typeof verbosity === 'string' && { verbosity }),
    ...formatOf(format),
  }
}

function formatOf(format: unknown): Fields {
  if (format === undefined || format === null) return {}
  if (!isRecord(format)) throw refusal('text.format', 'must be an object.')
  const { type, ...schema } = format
  if (type === 'text') return {}
  if (type === 'json_object') return { response_format: { type } }
  if (type === 'json_schema')
    return { response_format: { type, json_schema: withoutNulls(schema) } }
  throw refusal('text.format.type', 'must be "text", "json_object" or "json_schema".')
}

const withoutNulls = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))

function reasoningOf(reasoning: unknown): Fields {
  if (reasoning === undefined || reasoning === null) return {}
  if (!isRecord(reasoning)) throw refusal('reasoning', 'must be an object.')
  const { effort } = reasoning
  return typeof effort === 'string' ? { reasoning_effort: effort } : {}
}

function logprobsOf(count: unknown): Fields {
  return typeof count === 'number' && count > 0 ? { logprobs: true, top_logprobs: count } : {}
}
