import { randomUUID } from 'node:crypto'
import type { CacheMode } from '../../core/index.js'
import type { Incoming } from './message.js'

/** Security headers for data: browsers must not execute it, frame it or guess its type. */
const SECURITY: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
}

/** Headers that the operator's own middleware may set for all answers. */
const OPERATORS: readonly string[] = [
  ...Object.keys(SECURITY),
  'access-control-allow-origin',
  'access-control-expose-headers',
]

/** Headers of answers that scripts on other origins may read. */
const EXPOSED = [
  'x-request-id',
  'x-process-time',
  'x-cache',
  'x-blossom-model',
  'x-stream-id',
  'server-timing',
  'retry-after',
  'x-should-retry',
  'ratelimit',
  'ratelimit-policy',
  ...['requests', 'tokens'].flatMap((unit) =>
    ['limit', 'remaining', 'reset'].map((figure) => `x-ratelimit-${figure}-${unit}`),
  ),
].join(', ')

/**
 * Headers that scripts on other origins may send. `*` allows all names except `authorization`, as
 * SDKs send many headers of their own. Old browsers do not support `*` and need the other names.
 */
const ACCEPTED = [
  'authorization',
  'content-type',
  'cache-control',
  'x-request-id',
  'last-event-id',
  'x-stream-resumable',
  'idempotency-key',
  '*',
].join(', ')

export function securityHeaders(headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(SECURITY)) headers[name] ??= value
  headers['cache-control'] ??= 'no-store'
}

/** The origin to allow, or `undefined` if it is not allowed. */
function allowedOrigin(incoming: Incoming, origins: readonly string[]): string | undefined {
  const origin = incoming.header('origin')
  if (origin === undefined || origins.length === 0) return undefined
  return origins.includes('*') ? '*' : origins.includes(origin) ? origin : undefined
}

/** CORS headers. None if no origins are allowed; credentials are never allowed. */
export function corsHeaders(
  incoming: Incoming,
  origins: readonly string[],
  headers: Record<string, string>,
): void {
  if (origins.length === 0) return
  if (!origins.includes('*')) headers.vary = headers.vary ? `${headers.vary}, origin` : 'origin'
  const origin = allowedOrigin(incoming, origins)
  if (origin === undefined) return
  headers['access-control-allow-origin'] = origin
  headers['access-control-expose-headers'] = EXPOSED
}

/**
 * Extra headers for the answer to a preflight request; `undefined` if the request is not a
 * preflight or its origin is not allowed.
 */
export function preflightHeaders(
  incoming: Incoming,
  origins: readonly string[],
  methods: readonly string[],
): Record<string, string> | undefined {
  if (
    allowedOrigin(incoming, origins) === undefined ||
    incoming.header('access-control-request-method') === undefined
  )
    return undefined
  return {
    'access-control-allow-methods': methods.join(', '),
    'access-control-allow-headers': ACCEPTED,
    'access-control-max-age': '600',
  }
}

/**
 * Removes headers that a framework or middleware has already set: the operator's headers take
 * precedence.
 */
export function operatorFirst(incoming: Incoming, headers: Record<string, string>): void {
  for (const name of OPERATORS) if (incoming.already?.(name) !== undefined) delete headers[name]
  const vary = incoming.already?.('vary')
  if (vary !== undefined && headers.vary !== undefined)
    headers.vary = vary === '*' ? vary : `${vary}, ${headers.vary}`
}

/** Whether an id is safe in a header and in a log. */
export const isPrintable = (id: unknown): id is string | number =>
  (typeof id === 'string' || typeof id === 'number') && /^[\x21-\x7e]{1,256}$/.test(String(id))

/**
 * The request id: from the option `requestId` or a middleware, else the client's own if it is safe
 * to log, else a new one.
 */
export function requestIdOf(incoming: Incoming, ofOption?: unknown): string {
  const given = [ofOption, incoming.givenId].find(isPrintable)
  if (given !== undefined) return String(given)
  const own = incoming.header('x-request-id')
  return own !== undefined && /^[\w.:-]{1,64}$/.test(own) ? own : randomUUID()
}

export const bearer = (incoming: Incoming): string | undefined =>
  /^Bearer ([\x21-\x7e]+)$/i.exec(incoming.header('authorization') ?? '')?.[1]

/**
 * The cache mode that the client's `Cache-Control` asks for; `undefined` if it asks for none.
 * @see https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
 */
export function cacheModeOf(incoming: Incoming): CacheMode | undefined {
  const directives = incoming.header('cache-control')?.toLowerCase().split(',') ?? []
  const asks = (directive: string) => directives.some((one) => one.trim() === directive)
  return asks('no-store') ? 'no-store' : asks('no-cache') ? 'reload' : undefined
}

/** @see https://www.w3.org/TR/server-timing/ */
export function timingOf(headMs: number, queuedMs: number, streams: boolean): string {
  const upstream = `upstream;dur=${Math.max(0, headMs - queuedMs).toFixed(1)}`
  return `queue;dur=${queuedMs.toFixed(1)}, ${upstream}${streams ? `, first-token;dur=${headMs.toFixed(1)}` : ''}`
}
