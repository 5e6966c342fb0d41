import { createHash, timingSafeEqual } from 'node:crypto'
import { rules } from '../core/index.js'

/** What a token of the operator's must be. */
export const tokenRule = {
  ...rules.custom<string, undefined>(
    'a string of at least 16 printable ASCII characters',
    undefined,
    (value) => typeof value === 'string' && /^[\x21-\x7e]{16,}$/.test(value),
  ),
  secret: true,
}

const digestOf = (text: string) => createHash('sha256').update(text).digest()

/** Whether it is this token. Digests have one length, so it takes the same time whatever is given. */
export const isToken = (given: string, token: string): boolean =>
  timingSafeEqual(digestOf(given), digestOf(token))
