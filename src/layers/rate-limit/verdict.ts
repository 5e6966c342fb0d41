import { isStackError } from '../../core/index.js'

/**
 * Whether upstream answered a call with 429 or 5xx, and so created no output and used no tokens.
 */
export function hasNoOutput(error: unknown): boolean {
  const status = statusOf(error)
  return status === 429 || status >= 500
}

/** The HTTP status of upstream; 0 when it did not answer. */
function statusOf(error: unknown): number {
  const { upstreamStatus, status } = (error ?? {}) as {
    upstreamStatus?: unknown
    status?: unknown
  }
  if (typeof upstreamStatus === 'number') return upstreamStatus
  // For this library's own errors, `status` is meant for a server's response to its client.
  if (isStackError(error))
    return error.code === 'RATE_LIMITED' ? 429 : error.code === 'SERVER' ? 500 : 0
  return typeof status === 'number' ? status : 0
}
