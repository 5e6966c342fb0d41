import { type ErrorCode, isStackError, TimeoutError } from '../../core/index.js'

/** Errors that show nothing about upstream's health: the caller's mistakes and limits. */
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

/** The default rule: whether an error counts as a failure of upstream. */
export function isVerdict(error: unknown): boolean {
  if (!isStackError(error)) return true
  if (error.refused || (error instanceof TimeoutError && error.phase === 'read')) return false
  return !NO_VERDICT.has(error.code)
}
