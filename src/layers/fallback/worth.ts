import isNetworkError from 'is-network-error'
import { type ErrorCode, isError, isStackError } from '../../core/index.js'

/** Codes of failures that another candidate may not have. */
const CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'AUTH',
  'PAYMENT',
  'FORBIDDEN',
  'NOT_FOUND',
  'RATE_LIMITED',
  'SERVER',
  'NETWORK',
  'TIMEOUT',
  'PROTOCOL',
  'STREAM',
  'QUEUE_FULL',
  'BREAKER_OPEN',
  'CLOSED',
])

/** The same for errors from outside this library, in addition to every status of 500 or more. */
const STATUSES: ReadonlySet<unknown> = new Set([401, 402, 403, 404, 408, 429])

/** Every candidate would reject this content, or should. */
const CONTENT: ReadonlySet<unknown> = new Set([
  'content_policy_violation',
  'content_filter',
  'safety_error',
])

/**
 * The default rule: whether another candidate may succeed after this failure.
 * @param hasModel whether the request names a model; without one, a 404 concerns the path
 */
export function isWorthAnother(error: unknown, hasModel: boolean): boolean {
  const { code, type, status, upstreamCode } = (error ?? {}) as Fields
  if (CONTENT.has(upstreamCode) || CONTENT.has(code) || CONTENT.has(type)) return false
  if (!hasModel && (code === 'NOT_FOUND' || status === 404)) return false
  if (isStackError(error)) return CODES.has(error.code)
  if (typeof status === 'number') return status >= 500 || STATUSES.has(status)
  const name = isError(error) ? error.name : ''
  // A programming mistake, or an abort inside the function. `fetch()` fails with a `TypeError`.
  if (name === 'TypeError') return isNetworkError(error)
  return name !== 'AbortError'
}

/** Fields of this library's errors and of those of the SDKs. */
interface Fields {
  readonly code?: unknown
  readonly type?: unknown
  readonly status?: unknown
  readonly upstreamCode?: unknown
}
