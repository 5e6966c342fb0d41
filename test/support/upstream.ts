import { type ErrorCode, StackError, type StackErrorOptions } from '../../src/core/index.js'

/** What upstream may answer wrongly, by code: the status and whether asking again may help. */
const KINDS = {
  AUTH: [401, false],
  PAYMENT: [402, false],
  FORBIDDEN: [403, false],
  NOT_FOUND: [404, false],
  BAD_REQUEST: [400, false],
  TOO_LARGE: [502, false],
  RATE_LIMITED: [429, true],
  SERVER: [503, true],
  NETWORK: [502, true],
  PROTOCOL: [502, true],
  STREAM: [502, false],
} as const satisfies Partial<Record<ErrorCode, readonly [number, boolean]>>

export type UpstreamCode = keyof typeof KINDS

/** An error as the client makes it of a failed answer. */
export function upstreamError(
  code: UpstreamCode,
  options: Partial<StackErrorOptions> = {},
): StackError {
  const [status, retryable] = KINDS[code]
  return new StackError(`upstream: ${code}`, { code, status, retryable, ...options })
}

/** Upstream is down. */
export const down = (): StackError => upstreamError('SERVER')

/** Failures that are the caller's own, and would be the same again. */
export const OWN_FAULTS = ['AUTH', 'PAYMENT', 'FORBIDDEN', 'NOT_FOUND', 'BAD_REQUEST'] as const
