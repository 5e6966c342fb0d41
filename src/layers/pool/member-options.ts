import { ConfigError, check, rules } from '../../core/index.js'
import type { PoolMember } from './member.js'

/** Validates one member. Values are never shown, because any of them may be an API key. */
export function checkMember(member: PoolMember): PoolMember {
  // It may be a bare API key, which must not be shown.
  if (typeof member !== 'object')
    throw new ConfigError('pool: each member must be an object { apiKey, baseURL, weight }.', {
      layer: 'pool',
    })
  return check<PoolMember>('pool', member, {
    apiKey: {
      ...rules.custom<string, undefined>(
        'a string of printable ASCII characters',
        undefined,
        isKey,
      ),
      secret: true,
    },
    baseURL: {
      ...rules.custom<string, undefined>(
        'an http or https URL without credentials',
        undefined,
        isAddress,
      ),
      secret: true,
    },
    weight: rules.number(1, { min: 0.001, max: 1_000_000 }),
  })
}

const isKey = (value: unknown): boolean => typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)

function isAddress(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, username, password } = new URL(value)
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === ''
}
