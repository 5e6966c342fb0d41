import { STATUS_CODES } from 'node:http'
import type { ErrorCode } from '../../core/index.js'
import type { ProblemBody } from '../../streams/index.js'
import { type Dialect, openAIError } from '../server/reply.js'
import { refTo, type Schema } from './schemas.js'

/** Headers of answers, by the names the document gives them. */
export const HEADERS = {
  RequestId: {
    description: 'The id of this request: the one sent in `X-Request-Id`, or a new one.',
    schema: { type: 'string' },
  },
  ProcessTime: {
    description: 'Seconds until the head of the answer went out.',
    schema: { type: 'string', pattern: '^\\d+\\.\\d{4}$' },
  },
  ServerTiming: {
    description: 'Where the time went, in milliseconds; absent when nothing was asked upstream.',
    schema: { type: 'string' },
  },
  Cache: {
    description: 'Whether the answer came from the cache.',
    schema: { type: 'string', enum: ['HIT', 'MISS', 'STALE'] },
  },
  RetryAfter: {
    description: 'Seconds after which a new try is worth it, when that is known.',
    schema: { type: 'integer', minimum: 0 },
  },
  ShouldRetry: {
    description: '`false` when the server has retried already.',
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
  RetryAfter: 'Retry-After',
  ShouldRetry: 'X-Should-Retry',
  WwwAuthenticate: 'WWW-Authenticate',
}

/** The headers of an answer, as references; every answer has the first two. */
export function headersOf(...names: readonly HeaderName[]): Schema {
  const all: readonly HeaderName[] = ['RequestId', 'ProcessTime', ...names]
  return Object.fromEntries(
    all.map((name) => [FIELDS[name], { $ref: `#/components/headers/${name}` }]),
  )
}

/** What each status means, whichever route answers it, and the code it comes with most often. */
const MEANINGS = {
  400: [
    'VALIDATION',
    'The request is not valid, and the fields that are wrong are named; or upstream does not accept it.',
  ],
  401: ['AUTH', 'A credential is missing or not accepted.'],
  402: ['PAYMENT', 'The balance of the key that was sent is used up.'],
  403: ['FORBIDDEN', 'The credential that was sent does not allow this.'],
  404: ['NOT_FOUND', 'There is no such model.'],
  408: ['TIMEOUT', 'The answer was not complete in time.'],
  413: ['TOO_LARGE', 'The body is too large.'],
  415: ['VALIDATION', 'The body is not JSON.'],
  422: ['BAD_REQUEST', 'Upstream does not accept the request.'],
  429: ['RATE_LIMITED', 'Too many requests.'],
  500: ['INTERNAL', 'An unexpected error.'],
  502: ['NETWORK', 'Upstream answered with nonsense or not at all.'],
  503: [
    'BREAKER_OPEN',
    'Upstream is left alone for a while, too many calls are waiting, the server is shutting down, or upstream is not available.',
  ],
  504: ['TIMEOUT', 'The answer was not complete in time.'],
} as const satisfies Readonly<Record<number, readonly [ErrorCode | 'INTERNAL', string]>>

export type FailureStatus = keyof typeof MEANINGS

/** Statuses after which our own retries may have been made in vain. */
const REPEATABLE: readonly FailureStatus[] = [408, 429, 500, 502, 503, 504]
/** Statuses that may know when a new try is worth it. */
const TIMED: readonly FailureStatus[] = [408, 429, 502, 503, 504]

const NAMES = { guide: 'Problem', openai: 'OpenAIError' } as const

export const failureName = (status: FailureStatus, dialect: Dialect): string =>
  `${NAMES[dialect]}${status}`

/** The answer with an error status, in the shape of its routes. */
export function failure(status: FailureStatus, dialect: Dialect): Schema {
  // A body that is not read is not passed on.
  const headers: HeaderName[] = status === 413 || status === 415 ? [] : ['ServerTiming', 'Cache']
  if (TIMED.includes(status)) headers.push('RetryAfter')
  if (dialect === 'openai' && REPEATABLE.includes(status)) headers.push('ShouldRetry')
  if (status === 401) headers.push('WwwAuthenticate')
  const [code, description] = MEANINGS[status]
  const type = dialect === 'guide' ? 'application/problem+json' : 'application/json'
  const example =
    dialect === 'guide'
      ? problem(status, code, description)
      : { error: openAIError(status, code, description) }
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
