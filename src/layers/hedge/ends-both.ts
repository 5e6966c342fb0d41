import { type ErrorCode, isStackError } from '../../core/index.js'

/** The request itself is wrong. */
const OF_REQUEST: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONFIG',
  'VALIDATION',
  'BAD_REQUEST',
])
/** The key is, or its account. */
const OF_KEY: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['AUTH', 'PAYMENT', 'FORBIDDEN'])

/**
 * Whether a failure of one try is that of the other as well, so that there is nothing to wait for.
 * @param isOfSameKey whether the other try pays by the same key
 */
export function endsBoth(error: unknown, isOfSameKey: boolean): boolean {
  if (isStackError(error))
    return OF_REQUEST.has(error.code) || (isOfSameKey && OF_KEY.has(error.code))
  const { status } = (error ?? {}) as { readonly status?: unknown }
  if (status === 400 || status === 422) return true
  return isOfSameKey && (status === 401 || status === 402 || status === 403)
}
