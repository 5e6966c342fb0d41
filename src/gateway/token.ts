import { createHash, timingSafeEqual } from 'node:crypto'
import { rules } from '../core/index.js'

/** The rule for the operator's tokens. */
export const tokenRule = {
  ...rules.custom<string, undefined>(
    'a string of at least 16 printable ASCII characters',
    undefined,
    (value) => typeof value === 'string' && /^[\x21-\x7e]{16,}$/.test(value),
  ),
  secret: true,
}

const digestOf = (text: string) => createHash('sha256').update(text).digest()

/** Compares tokens in constant time, by digests of equal length. */
export const isToken = (given: string, token: string): boolean =>
  timingSafeEqual(digestOf(given), digestOf(token))
