import { isStackError } from './errors.js'
import type { Context } from './types.js'

const OF_A_KEY: ReadonlySet<string> = new Set(['AUTH', 'PAYMENT', 'FORBIDDEN', 'RATE_LIMITED'])

/**
 * Whether upstream refused an API key that came with the call itself. Such an error is no
 * information about the account of the other calls, so it does not count against a pool member or a
 * circuit.
 */
export function isOfOwnKey(error: unknown, request: unknown, { base }: Context): boolean {
  return isStackError(error) && OF_A_KEY.has(error.code) && base.ownKey(request) === true
}
