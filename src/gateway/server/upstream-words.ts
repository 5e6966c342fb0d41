import type { UpstreamFacts } from '../../client/errors.js'
import { isStackError } from '../../core/index.js'

/** Codes that clients of OpenAI's API react to. */
const CODES: ReadonlySet<string> = new Set([
  'context_length_exceeded',
  'string_above_max_length',
  'content_filter',
  'content_policy_violation',
  'invalid_value',
  'invalid_type',
  'invalid_request_error',
  'invalid_image_url',
  'invalid_image_format',
  'image_too_large',
  'missing_required_parameter',
  'unknown_parameter',
  'unsupported_parameter',
  'unsupported_value',
  'unsupported_country_region_territory',
  'model_not_found',
  'insufficient_quota',
  'rate_limit_exceeded',
])

/** The fields of OpenAI's request bodies. Paths below them were in the client's own request. */
const FIELDS: ReadonlySet<string> = new Set([
  'audio',
  'dimensions',
  'encoding_format',
  'frequency_penalty',
  'function_call',
  'functions',
  'image',
  'input',
  'instructions',
  'logit_bias',
  'logprobs',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'messages',
  'metadata',
  'modalities',
  'model',
  'n',
  'parallel_tool_calls',
  'prediction',
  'presence_penalty',
  'prompt',
  'quality',
  'reasoning',
  'reasoning_effort',
  'response_format',
  'seed',
  'size',
  'speed',
  'stop',
  'stream',
  'stream_options',
  'style',
  'temperature',
  'text',
  'tool_choice',
  'tools',
  'top_logprobs',
  'top_p',
  'user',
  'voice',
])

/** Errors that are about the client's own request. */
const ABOUT_REQUEST: ReadonlySet<string> = new Set(['BAD_REQUEST', 'NOT_FOUND', 'RATE_LIMITED'])

/** The part of upstream's error that a client may read. */
export interface UpstreamWords {
  readonly code?: string | undefined
  readonly param?: string | undefined
  /** Upstream's message, which may repeat parts of the request. */
  readonly sentence?: string | undefined
}

/** @param ofCaller whether the error is about the caller's own key */
export function upstreamWords(error: unknown, ofCaller: boolean): UpstreamWords {
  if (!isStackError(error) || !(ofCaller || ABOUT_REQUEST.has(error.code))) return {}
  const { upstreamCode, upstreamParam, upstreamMessage } = error as Partial<UpstreamFacts>
  const code = upstreamCode?.toLowerCase()
  const [field] = upstreamParam?.match(/^\w+/) ?? []
  return {
    code: code !== undefined && CODES.has(code) ? code : undefined,
    param: field !== undefined && FIELDS.has(field) ? upstreamParam : undefined,
    sentence: upstreamMessage,
  }
}
