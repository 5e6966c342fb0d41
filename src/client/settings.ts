import { ConfigError } from '../core/index.js'

export const DEFAULT_BASE_URL = 'https://gen.pollinations.ai'

const refuse = (sentence: string): never => {
  throw new ConfigError(`createBlossom: ${sentence}`)
}

export interface Address {
  readonly origin: string
  /** Prefix of every request's path: empty, or beginning with `/`. */
  readonly prefix: string
}

/** Parses the base URL: http or https, without credentials, query or fragment. */
export function readBaseURL(baseURL: unknown): Address {
  const shape = `option "baseURL" must be an http or https URL such as ${DEFAULT_BASE_URL}`
  if (typeof baseURL !== 'string' || !URL.canParse(baseURL) || /[\s\\]/.test(baseURL))
    return refuse(`${shape}.`)
  const { protocol, username, password, search, hash, origin, pathname } = new URL(baseURL)
  if (protocol !== 'http:' && protocol !== 'https:')
    refuse(`${shape}, got the scheme ${JSON.stringify(protocol)}.`)
  if (username !== '' || password !== '')
    refuse(`${shape}, without credentials in it. Pass the key as apiKey.`)
  if (search !== '' || hash !== '') refuse(`${shape}, without query or fragment.`)
  const prefix = pathname.replace(/\/+$/, '')
  if (prefix.endsWith('/v1'))
    refuse('option "baseURL" must not end with /v1: every request adds its own path.')
  return { origin, prefix }
}

/** A key, or a function that returns the key for each attempt. */
export type ApiKey = string | (() => Promise<string>)

/**
 * Checks a key: one word of printable ASCII, as anything else would make an invalid header. Errors
 * never show its value.
 */
export function readKey(apiKey: unknown): ApiKey | undefined {
  if (apiKey === undefined) return undefined
  if (typeof apiKey === 'function') return async () => keyOf(await apiKey())
  return keyOf(apiKey)
}

function keyOf(apiKey: unknown): string {
  if (apiKey === '') return refuse('option "apiKey" is empty. Is the variable it comes from set?')
  if (typeof apiKey !== 'string' || !/^[\x21-\x7e]+$/.test(apiKey)) {
    return refuse(
      'option "apiKey" must be a string of printable ASCII characters without spaces, or a function that returns one, got an invalid value. Is the variable it comes from set?',
    )
  }
  return apiKey
}

/**
 * Headers that the client itself sets, or that would change the server addressed or how the answer
 * is read.
 */
const RESERVED =
  /^(authorization|host|content-type|content-length|transfer-encoding|connection|keep-alive|proxy-connection|accept-encoding|user-agent|cookie|expect|upgrade|te|trailer)$/

/** Accepts plain objects only: a `Headers` or a `Map` has no own fields and would look empty. */
function entriesOf(headers: unknown): [string, unknown][] | undefined {
  try {
    const proto: unknown =
      typeof headers === 'object' && headers !== null ? Object.getPrototypeOf(headers) : undefined
    return proto === null || proto === Object.prototype
      ? Object.entries(headers as object)
      : undefined
  } catch {
    return undefined
  }
}

/** Extra headers as a flat list of names and values. */
export function readHeaders(headers: unknown): string[] {
  if (headers === undefined) return []
  const entries = entriesOf(headers)
  if (entries === undefined)
    return refuse('option "headers" must be a plain object of names and values.')
  return entries.flatMap(([name, value]) => {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name))
      refuse('option "headers" contains an invalid header name.')
    if (RESERVED.test(name.toLowerCase()))
      refuse(`option "headers" must not set ${JSON.stringify(name)}: the client controls it.`)
    if (typeof value !== 'string' || !/^[\t\x20-\x7e]*$/.test(value)) {
      refuse(
        `option "headers": the value of ${JSON.stringify(name)} must be one line of printable ASCII.`,
      )
    }
    return [name, value as string]
  })
}
