import isNetworkError from 'is-network-error'
import { isError, isStackError } from '../../core/index.js'

/**
 * Whether a failure is worth another attempt, when the user has no rule. Errors of this
 * library carry it. Of foreign ones only programming mistakes are not repeated, and what looks like
 * an abort.
 */
export function isRetryable(error: unknown): boolean {
  if (isStackError(error)) return error.retryable && !error.refused
  const name = isError(error) ? error.name : ''
  // Of whatever realm: `fetch` fails with a TypeError.
  if (name === 'TypeError') return isNetworkError(error)
  return name !== 'AbortError'
}

/** The wait that upstream asked for, if it is one. Milliseconds. */
export function retryAfterOf(error: unknown): number | undefined {
  return isStackError(error) && error.retryAfter !== undefined && error.retryAfter > 0
    ? error.retryAfter
    : undefined
}
