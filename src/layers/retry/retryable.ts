import isNetworkError from 'is-network-error'
import { isError, isStackError } from '../../core/index.js'

/**
 * The default rule: whether to retry after a failure. This library's errors carry the decision.
 * Errors from outside are retried, except programming mistakes and aborts.
 */
export function isRetryable(error: unknown): boolean {
  if (isStackError(error)) return error.retryable && !error.refused
  const name = isError(error) ? error.name : ''
  // By name, because the error may be from another realm. `fetch()` fails with a `TypeError`.
  if (name === 'TypeError') return isNetworkError(error)
  return name !== 'AbortError'
}

/** The wait that upstream asked for, if any. Milliseconds. */
export function retryAfterOf(error: unknown): number | undefined {
  return isStackError(error) && error.retryAfter !== undefined && error.retryAfter > 0
    ? error.retryAfter
    : undefined
}
