import isNetworkError from 'is-network-error'
import { isStackError } from '../../core/index.js'

/**
 * Whether a failure is worth another attempt, when the user has no rule. Errors of this
 * library carry it. Of foreign ones only programming mistakes are not repeated, and what looks like
 * an abort.
 */
export function isRetryable(error: unknown): boolean {
  if (isStackError(error)) return error.retryable && !error.refused
  if (error instanceof TypeError) return isNetworkError(error)
  return !(error instanceof Error && error.name === 'AbortError')
}

/** The wait that upstream asked for, if it is one. Milliseconds. */
export function retryAfterOf(error: unknown): number | undefined {
  return isStackError(error) && error.retryAfter !== undefined && error.retryAfter > 0
    ? error.retryAfter
    : undefined
}
