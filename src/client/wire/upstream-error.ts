import type { ErrorCode, StackError } from '../../core/index.js'
import {
  AuthenticationError,
  InvalidRequestError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  UpstreamError,
  type UpstreamErrorOptions,
  type UpstreamFacts,
  UpstreamRateLimitError,
} from '../errors.js'

/** How an upstream status is reported. */
interface Kind {
  readonly make: new (message: string, options: UpstreamErrorOptions) => StackError
  readonly code: ErrorCode
  readonly status: number
  readonly retryable?: boolean
  readonly sentence: string
}

const PAYMENT: Kind = {
  make: PaymentRequiredError,
  code: 'PAYMENT',
  status: 503,
  sentence: "the balance or the key's budget is used up.",
}

const FORBIDDEN: Kind = {
  make: PermissionError,
  code: 'FORBIDDEN',
  status: 502,
  sentence: 'the API key has no permission for this request or for the model.',
}

const FAILED: Kind = {
  make: UpstreamError,
  code: 'SERVER',
  status: 502,
  retryable: true,
  sentence: 'it failed. Try again.',
}

/** A failure between upstream's own servers, not caused by the request. */
const BETWEEN_SERVERS: Kind = {
  make: UpstreamError,
  code: 'SERVER',
  status: 502,
  sentence: 'one of its own servers failed.',
}

const KINDS: Readonly<Record<number, Kind>> = {
  401: {
    make: AuthenticationError,
    code: 'AUTH',
    status: 502,
    sentence: 'the API key was not accepted. Check it.',
  },
  402: PAYMENT,
  403: FORBIDDEN,
  404: {
    make: NotFoundError,
    code: 'NOT_FOUND',
    status: 404,
    sentence: 'there is no such model or route.',
  },
  407: BETWEEN_SERVERS,
  408: {
    make: UpstreamError,
    code: 'TIMEOUT',
    status: 504,
    retryable: true,
    sentence: 'it timed out. Try again.',
  },
  409: { ...FAILED, sentence: 'it conflicts with another request. Try again.' },
  421: BETWEEN_SERVERS,
  423: BETWEEN_SERVERS,
  424: BETWEEN_SERVERS,
  425: { ...FAILED, sentence: 'it received the request too early. Try again.' },
  429: {
    make: UpstreamRateLimitError,
    code: 'RATE_LIMITED',
    status: 429,
    retryable: true,
    sentence: 'the rate or concurrency limit is reached. Slow down, or try again later.',
  },
  499: BETWEEN_SERVERS,
  503: { ...FAILED, status: 503 },
  504: { ...FAILED, status: 504 },
}

/** Codes of limits that do not go away by waiting, whatever the status. */
const QUOTA =
  /^(insufficient_(quota|balance|credits?|funds)|billing_(hard_limit_reached|not_active)|exceeded_current_quota_error)$/i

function kindOf(status: number, code: string | undefined): Kind {
  if (code !== undefined && QUOTA.test(code)) return PAYMENT
  const known = KINDS[status]
  if (known !== undefined) return known
  if (status < 400 || status >= 500) return FAILED
  return {
    make: InvalidRequestError,
    code: 'BAD_REQUEST',
    status: status === 422 ? 422 : 400,
    sentence: 'the request was not accepted.',
  }
}

/** The error for an upstream status. */
export function upstreamError(
  facts: UpstreamFacts & {
    retryAfter?: number | undefined
    keyGiven?: boolean
    /** False if upstream asks not to retry. */
    shouldRetry?: boolean | undefined
  },
): StackError {
  const { upstreamStatus, upstreamCode, upstreamParam, keyGiven = true, shouldRetry = true } = facts
  const {
    make: Made,
    code,
    status,
    retryable = false,
    sentence,
  } = kindOf(upstreamStatus, upstreamCode)
  const answered = `Upstream answered ${upstreamStatus}${upstreamCode === undefined ? '' : ` (${upstreamCode})`}`
  const remedy =
    code === 'AUTH' && !keyGiven
      ? 'no API key was given. Pass `apiKey` to createBlossom().'
      : sentence
  const isAboutField = upstreamParam !== undefined && (status === 404 || code === 'BAD_REQUEST')
  const place = isAboutField ? ` See the field "${upstreamParam}".` : ''
  return new Made(`${answered}: ${remedy}${place}`, {
    ...facts,
    code,
    status,
    retryable: retryable && shouldRetry,
  })
}

/**
 * The error for an answer with status 200 whose text is a notice about the account or the key.
 * @see https://gen.pollinations.ai since September 2026
 */
export function noticeError(
  about: 'payment' | 'permission',
  facts: Omit<UpstreamFacts, 'upstreamStatus'>,
): StackError {
  const { make: Made, code, status, sentence } = about === 'payment' ? PAYMENT : FORBIDDEN
  return new Made(`Upstream answered 200 with a notice instead of an answer: ${sentence}`, {
    ...facts,
    upstreamStatus: 200,
    code,
    status,
  })
}
