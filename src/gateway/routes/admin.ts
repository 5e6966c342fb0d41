import type { CheckedGatewayOptions } from '../options.js'
import { rejection } from '../rejection.js'
import { bearer } from '../server/headers.js'
import type { Incoming } from '../server/message.js'
import { isToken } from '../token.js'

/**
 * Lets only the operator through.
 *
 * @param words what to say where there is no admin token, and where the request brings none
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
  if (!isToken(given, adminToken)) throw rejection('FORBIDDEN', 403, 'This is not the admin token.')
}
