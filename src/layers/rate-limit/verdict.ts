import { isStackError } from '../../core/index.js'

/**
 * Whether upstream has answered a call with 429 or 5xx: it has made no output then, and took no
 * tokens for it.
 */
export function hasNoOutput(error: unknown): boolean {
  const status = statusOf(error)
  return status === 429 || status >= 500
}

/** Upstream's status; 0 when it did not answer. */
function statusOf(error: unknown): number {
  const { upstreamStatus, status } = (error ?? {}) as {
    upstreamStatus?: unknown
    status?: unknown
  }
  if (typeof upstreamStatus === 'number') return upstreamStatus
  // Of an error of this library `status` is what a server would answer its client with.
  if (isStackError(error))
    return error.code === 'RATE_LIMITED' ? 429 : error.code === 'SERVER' ? 500 : 0
  return typeof status === 'number' ? status : 0
}
