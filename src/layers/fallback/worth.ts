import isNetworkError from 'is-network-error'
import { type ErrorCode, isError, isStackError } from '../../core/index.js'

/** Failures that somebody else may not have. */
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

/** The same of errors that are not this library's, beside all from 500 on. */
const STATUSES: ReadonlySet<unknown> = new Set([401, 402, 403, 404, 408, 429])

/** Everybody would refuse such a content, or should. */
const CONTENT: ReadonlySet<unknown> = new Set([
  'content_policy_violation',
  'content_filter',
  'safety_error',
])

/**
 * Whether another candidate may answer what has failed so, when the user has no rule.
 * @param hasModel whether the request asks for a model: without one a 404 is about its address
 */
export function isWorthAnother(error: unknown, hasModel: boolean): boolean {
  const { code, type, status, upstreamCode } = (error ?? {}) as Fields
  if (CONTENT.has(upstreamCode) || CONTENT.has(code) || CONTENT.has(type)) return false
  if (!hasModel && (code === 'NOT_FOUND' || status === 404)) return false
  if (isStackError(error)) return CODES.has(error.code)
  if (typeof status === 'number') return status >= 500 || STATUSES.has(status)
  const name = isError(error) ? error.name : ''
  // A programming mistake, or an abort of the function's own. `fetch` fails with a TypeError.
  if (name === 'TypeError') return isNetworkError(error)
  return name !== 'AbortError'
}

/** What errors of ours, and of the SDKs, have. */
interface Fields {
  readonly code?: unknown
  readonly type?: unknown
  readonly status?: unknown
  readonly upstreamCode?: unknown
}
