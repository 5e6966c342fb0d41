import { isStackError, TimeoutError } from '../../../core/index.js'

/** Statuses of overloaded servers. */
const STATUSES: ReadonlySet<unknown> = new Set([429, 503, 529])

/**
 * Whether an error shows that upstream could not handle the call. Never after the answer has
 * started (`hasAnswer`).
 */
export function isOverload(error: unknown, hasAnswer: boolean): boolean {
  if (hasAnswer) return false
  try {
    return isOfOverload(error)
  } catch {
    // An error from outside may be a proxy that throws when read.
    return false
  }
}

function isOfOverload(error: unknown): boolean {
  if (error instanceof TimeoutError) return error.phase === 'first-token' || error.phase === 'total'
  if (isStackError(error) && error.refused) return false
  const { upstreamStatus, status } = Object(error) as Record<string, unknown>
  return STATUSES.has(upstreamStatus ?? status)
}
