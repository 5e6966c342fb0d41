import { STATUS_CODES } from 'node:http'
import type { ErrorCode } from '../../core/index.js'
import type { ProblemBody } from '../../streams/index.js'
import { anthropicError, type Dialect, openAIError } from '../server/reply.js'
import type { Schema } from './answers.js'
import { refTo } from './schemas.js'

/** Headers of answers, by their names in the document. */
export const HEADERS = {
  RequestId: {
    description:
      'Id of this request: the one that the client sent as `X-Request-Id`, or a new one.',
    schema: { type: 'string' },
  },
  ProcessTime: {
    description: 'Seconds until the headers of the answer were sent.',
    schema: { type: 'string', pattern: '^\\d+\\.\\d{4}$' },
  },
  ServerTiming: {
    description: 'Where the time was spent, in milliseconds; absent if upstream was not called.',
    schema: { type: 'string' },
  },
  Cache: {
    description: 'Whether the answer came from the cache.',
    schema: { type: 'string', enum: ['HIT', 'MISS', 'STALE'] },
  },
  StreamId: {
    description: 'Id with which the stream can be resumed.',
    schema: { type: 'string' },
  },
  RetryAfter: {
    description: 'Seconds to wait before another attempt, if known.',
    schema: { type: 'integer', minimum: 0 },
  },
  ShouldRetry: {
    description: '`false` if the server has retried already.',
    schema: { type: 'string', const: 'false' },
  },
  WwwAuthenticate: { description: 'How to authenticate.', schema: { type: 'string' } },
} as const satisfies Readonly<Record<string, { description: string; schema: Schema }>>

export type HeaderName = keyof typeof HEADERS

const FIELDS: Readonly<Record<HeaderName, string>> = {
  RequestId: 'X-Request-Id',
  ProcessTime: 'X-Process-Time',
  ServerTiming: 'Server-Timing',
  Cache: 'X-Cache',
  StreamId: 'X-Stream-Id',
  RetryAfter: 'Retry-After',
  ShouldRetry: 'X-Should-Retry',
  WwwAuthenticate: 'WWW-Authenticate',
}

/** References to the headers of an answer. Every answer has the first two. */
export function headersOf(...names: readonly HeaderName[]): Schema {
  const all: readonly HeaderName[] = ['RequestId', 'ProcessTime', ...names]
  return Object.fromEntries(
    all.map((name) => [FIELDS[name], { $ref: `#/components/headers/${name}` }]),
  )
}

/** The most common code of each status, and its meaning. */
const MEANINGS = {
  400: [
    'VALIDATION',
    'The request is not valid, and `errors` lists the invalid fields; or upstream rejected it.',
  ],
  401: ['AUTH', 'A credential is missing or invalid.'],
  402: ['PAYMENT', "The balance of the caller's key is used up."],
  403: ['FORBIDDEN', "The caller's credential does not allow this."],
  404: ['NOT_FOUND', 'There is no such model.'],
  408: ['TIMEOUT', 'The answer was not complete in time.'],
  409: ['VALIDATION', 'The Idempotency-Key was already used with another body.'],
  410: [
    'NOT_FOUND',
    'The stream has expired or was stopped, or the events after that position were deleted.',
  ],
  413: ['TOO_LARGE', 'The body is too large.'],
  415: ['VALIDATION', 'The body is not JSON.'],
  422: ['BAD_REQUEST', 'Upstream rejected the request.'],
  429: ['RATE_LIMITED', 'Too many requests.'],
  500: ['INTERNAL', 'An unexpected error.'],
  502: ['NETWORK', 'Upstream sent an invalid answer or no answer.'],
  503: [
    'BREAKER_OPEN',
    'The circuit breaker is open, too many calls are waiting, the server is shutting down, or upstream is unavailable.',
  ],
  504: ['TIMEOUT', 'The answer was not complete in time.'],
} as const satisfies Readonly<Record<number, readonly [ErrorCode | 'INTERNAL', string]>>

export type FailureStatus = keyof typeof MEANINGS

/** Statuses for which the server may already have retried. */
const REPEATABLE: readonly FailureStatus[] = [408, 429, 500, 502, 503, 504]
/** Statuses that may come with `Retry-After`. */
const TIMED: readonly FailureStatus[] = [408, 429, 502, 503, 504]

const NAMES = { guide: 'Problem', openai: 'OpenAIError', anthropic: 'AnthropicError' } as const

export const failureName = (status: FailureStatus, dialect: Dialect): string =>
  `${NAMES[dialect]}${status}`

/** The answer for an error status, in the error format of its routes. */
export function failure(status: FailureStatus, dialect: Dialect): Schema {
  // A request rejected for its body never reaches the stack.
  const headers: HeaderName[] = status === 413 || status === 415 ? [] : ['ServerTiming', 'Cache']
  if (TIMED.includes(status)) headers.push('RetryAfter')
  if (dialect !== 'guide' && REPEATABLE.includes(status)) headers.push('ShouldRetry')
  if (status === 401) headers.push('WwwAuthenticate')
  const [code, description] = MEANINGS[status]
  const type = dialect === 'guide' ? 'application/problem+json' : 'application/json'
  const example =
    dialect === 'guide'
      ? problem(status, code, description)
      : dialect === 'openai'
        ? { error: openAIError(status, code, description) }
        : anthropicError(status, description, 'a-request-id')
  return {
    description,
    headers: headersOf(...headers),
    content: { [type]: { schema: refTo(NAMES[dialect]), example } },
  }
}

function problem(status: FailureStatus, code: ErrorCode | 'INTERNAL', detail: string): ProblemBody {
  const body = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    code,
    requestId: 'a-request-id',
  }
  return status === 400
    ? {
        ...body,
        detail: 'The request is not valid: prompt is missing.',
        errors: [{ field: 'prompt', message: 'is missing' }],
      }
    : body
}
