import { isStackError, TimeoutError } from '../../../core/index.js'

/** Too many requests, and what overloaded servers answer. */
const STATUSES: ReadonlySet<unknown> = new Set([429, 503, 529])

/**
 * Whether an error shows that upstream could not take the call. `hasAnswer`: the answer had begun,
 * so that it was taken.
 */
export function isOverload(error: unknown, hasAnswer: boolean): boolean {
  if (hasAnswer) return false
  try {
    return isOfOverload(error)
  } catch {
    // A foreign error may be anything, a proxy too, of which any reading may throw.
    return false
  }
}

function isOfOverload(error: unknown): boolean {
  if (error instanceof TimeoutError) return error.phase === 'first-token' || error.phase === 'total'
  if (isStackError(error) && error.refused) return false
  const { upstreamStatus, status } = Object(error) as Record<string, unknown>
  return STATUSES.has(upstreamStatus ?? status)
}
