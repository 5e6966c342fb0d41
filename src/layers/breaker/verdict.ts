import { type ErrorCode, isStackError, TimeoutError } from '../../core/index.js'

/** What is no sign of upstream's health: the caller's mistakes and limits. */
const NO_VERDICT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONFIG',
  'VALIDATION',
  'AUTH',
  'PAYMENT',
  'FORBIDDEN',
  'NOT_FOUND',
  'RATE_LIMITED',
  'BAD_REQUEST',
  'TOO_LARGE',
  'CLOSED',
])

/** Whether an error counts against upstream, when the user has no rule. */
export function isVerdict(error: unknown): boolean {
  if (!isStackError(error)) return true
  if (error.refused || (error instanceof TimeoutError && error.phase === 'read')) return false
  return !NO_VERDICT.has(error.code)
}
