import { type ErrorCode, isStackError } from '../../core/index.js'

/** Errors caused by the request itself. */
const OF_REQUEST: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONFIG',
  'VALIDATION',
  'BAD_REQUEST',
])
/** Errors caused by the API key or its account. */
const OF_KEY: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['AUTH', 'PAYMENT', 'FORBIDDEN'])

/**
 * Whether the other try would fail in the same way, so that there is no need to wait for it.
 * @param isOfSameKey whether the other try uses the same API key
 */
export function endsBoth(error: unknown, isOfSameKey: boolean): boolean {
  if (isStackError(error))
    return OF_REQUEST.has(error.code) || (isOfSameKey && OF_KEY.has(error.code))
  const { status } = (error ?? {}) as { readonly status?: unknown }
  if (status === 400 || status === 422) return true
  return isOfSameKey && (status === 401 || status === 402 || status === 403)
}
