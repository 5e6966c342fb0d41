import {
  ClosedError,
  isError,
  isRecord,
  parseJson,
  type StackError,
  TimeoutError,
} from '../../core/index.js'
import { NetworkError, ProtocolError, upstreamError } from '../errors.js'
import { readRetryAfter } from './retry-after.js'

export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** Headers of an error answer that are safe to keep, and of use. */
const KEPT_HEADERS = [
  'retry-after',
  'retry-after-ms',
  'x-request-id',
  'x-cache',
  'x-should-retry',
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
]

/** Bytes. */
const LONGEST_ERROR = 64 * 1024

export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** Upstream's own id, as far as it is one: it goes into logs. */
export function requestIdOf(
  headers: Headers,
  apiKey: string | undefined,
  error?: unknown,
): string | undefined {
  const id = headerOf(headers, 'x-request-id') ?? (isRecord(error) ? error.requestId : undefined)
  return typeof id === 'string' && /^[\w.:-]{1,128}$/.test(id) && isClean(id, apiKey)
    ? id
    : undefined
}

/** The error of an answer that was not 2xx. `body` is what was kept of it. */
export function failureOf(
  status: number,
  headers: Headers,
  body: string,
  apiKey: string | undefined,
): StackError {
  let parsed: unknown
  try {
    parsed = parseJson(body)
  } catch {
    // An HTML page or nothing: the status speaks alone.
  }
  return describe(status, headers, parsed, apiKey)
}

/**
 * The error that an answer of 200 holds in itself, if it does: `{"error": …}` alone or with a
 * message.
 */
export function errorInside(
  data: unknown,
  headers: Headers,
  apiKey: string | undefined,
): StackError | undefined {
  if (!isRecord(data) || !data.error) return undefined
  // Beside an answer only an object is an error: routers send one with the last choices of a stream
  // that broke.
  if (!isRecord(data.error) && (data.choices !== undefined || data.data !== undefined))
    return undefined
  return failureInside(data, headers, apiKey)
}

/** The error in what is labelled as an image or sound: no such file begins with a brace. */
export function errorInBytes(
  bytes: Buffer,
  headers: Headers,
  apiKey: string | undefined,
): StackError | undefined {
  if (bytes[0] !== 0x7b || bytes.length > LONGEST_ERROR) return undefined
  try {
    return errorInside(parseJson(bytes.toString('utf8')), headers, apiKey)
  } catch {
    return undefined
  }
}

/** The error reported inside an answer of 200. */
export function failureInside(
  data: unknown,
  headers: Headers,
  apiKey: string | undefined,
): StackError {
  const outer = isRecord(data) ? data : {}
  const inner = isRecord(outer.error) ? outer.error : outer
  const isStatus = (code: unknown): code is number =>
    typeof code === 'number' && Number.isInteger(code) && code >= 400 && code < 600
  return describe(
    [inner.status, inner.code, outer.status].find(isStatus) ?? 502,
    headers,
    data,
    apiKey,
  )
}

function describe(
  upstreamStatus: number,
  headers: Headers,
  body: unknown,
  apiKey: string | undefined,
): StackError {
  const error = isRecord(body) ? body.error : undefined
  const inner = isRecord(error) ? error : isRecord(body) ? body : {}
  const kept: Record<string, string> = {}
  for (const name of KEPT_HEADERS) {
    const value = headerOf(headers, name)
    if (value !== undefined && isClean(value, apiKey)) kept[name] = value.slice(0, 200)
  }
  return upstreamError({
    upstreamStatus,
    upstreamCode: codeOf(error, apiKey),
    requestId: requestIdOf(headers, apiKey, inner),
    headers: kept,
    upstreamMessage:
      typeof inner.message === 'string' ? blot(inner.message, apiKey).slice(0, 500) : undefined,
    retryAfter: readRetryAfter(headers, body),
    keyGiven: apiKey !== undefined,
  })
}

/**
 * Upstream's own code. Where the error is a bare string it may be any word, so it must look like a
 * code.
 */
function codeOf(error: unknown, apiKey: string | undefined): string | undefined {
  const code = isRecord(error) ? (error.code ?? error.type) : error
  const form = isRecord(error)
    ? /^[\w.-]{1,64}$/
    : /^([A-Z][A-Z0-9_]{1,63}|[a-z][a-z0-9]{0,31}(_[a-z0-9]{1,31}){1,8})$/
  return typeof code === 'string' && form.test(code) && isClean(code, apiKey) ? code : undefined
}

const isClean = (text: string, apiKey: string | undefined): boolean => blot(text, apiKey) === text

/** Some upstreams repeat the Authorization header in their errors. */
function blot(text: string, apiKey: string | undefined): string {
  const known = apiKey === undefined ? text : text.replaceAll(apiKey, '[key]')
  return known.replace(/\b[sp]k[_-][\w-]{4,}/g, '[key]').replace(/Bearer\s+\S+/gi, 'Bearer [key]')
}

const TLS = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/
const TIMED_OUT: Record<string, string> = {
  UND_ERR_CONNECT_TIMEOUT: 'connect',
  UND_ERR_HEADERS_TIMEOUT: 'headers',
  UND_ERR_BODY_TIMEOUT: 'body',
}

/** A failure reported by undici or the system, as one of ours. */
export function networkFailure(error: unknown): StackError {
  const code = isRecord(error) && typeof error.code === 'string' ? error.code : ''
  // The parser's own error carries the bytes it stumbled over, and sometimes no code.
  if (isError(error) && error.name === 'HTTPParserError') {
    return new ProtocolError("Upstream's answer is not valid HTTP.", {
      cause: new Error(error.message),
    })
  }
  if (code in TIMED_OUT) return new TimeoutError(0, { cause: error })
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED')
    return new ClosedError('The connection pool is closed.', { refused: false })
  if (
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    code.startsWith('UND_ERR_RES') ||
    code === 'UND_ERR_INVALID_RETURN_VALUE'
  ) {
    return new ProtocolError(`Upstream's answer is not valid HTTP (${code}).`, {
      cause: error,
      retryable: code !== 'UND_ERR_HEADERS_OVERFLOW',
    })
  }
  if (TLS.test(code))
    return new NetworkError(`The secure connection failed (${code}).`, {
      cause: error,
      retryable: false,
    })
  return new NetworkError(
    `No answer arrived${code === '' ? '' : ` (${code})`}; the connection was refused or broke.`,
    { cause: error },
  )
}
