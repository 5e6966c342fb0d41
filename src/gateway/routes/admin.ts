import type { CheckedGatewayOptions } from '../options.js'
import { rejection } from '../rejection.js'
import { bearer } from '../server/headers.js'
import type { Incoming } from '../server/message.js'
import { isToken } from '../token.js'

/**
 * Rejects requests without the admin token.
 *
 * @param words messages for a server without an admin token, and for a request without one
 */
export function requireAdmin(
  incoming: Incoming,
  { adminToken }: Pick<CheckedGatewayOptions, 'adminToken'>,
  words: { readonly none: string; readonly missing: string },
): void {
  if (adminToken === undefined) throw rejection('FORBIDDEN', 403, words.none)
  const given = bearer(incoming)
  if (given === undefined) {
    const headers = { 'www-authenticate': 'Bearer' }
    throw rejection('AUTH', 401, words.missing, { headers })
  }
  if (!isToken(given, adminToken)) throw rejection('FORBIDDEN', 403, 'The admin token is wrong.')
}
