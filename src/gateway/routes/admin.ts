import { createHash, timingSafeEqual } from 'node:crypto'
import type { CheckedGatewayOptions } from '../options.js'
import { rejection } from '../rejection.js'
import { bearer } from '../server/headers.js'
import type { Incoming } from '../server/message.js'

const digestOf = (text: string) => createHash('sha256').update(text).digest()

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
  // Digests have one length, so the comparison takes the same time whatever was given.
  if (!timingSafeEqual(digestOf(given), digestOf(adminToken)))
    throw rejection('FORBIDDEN', 403, 'This is not the admin token.')
}
