import { isStackError } from './errors.js'
import type { Context } from './types.js'

const OF_A_KEY: ReadonlySet<string> = new Set(['AUTH', 'PAYMENT', 'FORBIDDEN', 'RATE_LIMITED'])

/**
 * Whether upstream refused the key that a call brought itself. That says nothing about the account
 * which the other calls use, so it counts against nobody.
 */
export function isOfOwnKey(error: unknown, request: unknown, { base }: Context): boolean {
  return isStackError(error) && OF_A_KEY.has(error.code) && base.ownKey(request) === true
}
