import { randomUUID } from 'node:crypto'
import type { Incoming } from './message.js'

/** For answers that are data: nothing in them is to be run, framed or guessed at. */
const SECURITY: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
}

/** Headers that the owner may have set for all his answers. */
const OWNERS: readonly string[] = [
  ...Object.keys(SECURITY),
  'access-control-allow-origin',
  'access-control-expose-headers',
]

const EXPOSED = 'x-request-id, x-process-time, x-cache, server-timing, retry-after, x-should-retry'

export function securityHeaders(headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(SECURITY)) headers[name] ??= value
  headers['cache-control'] ??= 'no-store'
}

/** The origin as it may be told; undefined when it is none of those that may call. */
function allowedOrigin(incoming: Incoming, origins: readonly string[]): string | undefined {
  const origin = incoming.header('origin')
  if (origin === undefined || origins.length === 0) return undefined
  return origins.includes('*') ? '*' : origins.includes(origin) ? origin : undefined
}

/** Without origins there are no CORS headers at all; with them, never any for credentials. */
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
 * What a preflight's answer has beside the headers of every answer; undefined when it is none, or
 * not from an origin that may call.
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
    // The star stands for all names but `authorization`: SDKs in browsers send a dozen of their
    // own.
    'access-control-allow-headers': 'authorization, content-type, x-request-id, last-event-id, *',
    'access-control-max-age': '600',
  }
}

/**
 * What a framework or middleware has set already stays: the owner's word about his pages goes
 * before ours.
 */
export function ownersFirst(incoming: Incoming, headers: Record<string, string>): void {
  for (const name of OWNERS) if (incoming.already?.(name) !== undefined) delete headers[name]
  const vary = incoming.already?.('vary')
  if (vary !== undefined && headers.vary !== undefined)
    headers.vary = vary === '*' ? vary : `${vary}, ${headers.vary}`
}

/** The client's own id, if it is one that can go into a log as it is. */
export function requestIdOf(incoming: Incoming): string {
  const given = incoming.header('x-request-id')
  return given !== undefined && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID()
}

export const bearer = (incoming: Incoming): string | undefined =>
  /^Bearer ([\x21-\x7e]+)$/i.exec(incoming.header('authorization') ?? '')?.[1]

/** @see https://www.w3.org/TR/server-timing/ */
export function timingOf(headMs: number, queuedMs: number, streams: boolean): string {
  const upstream = `upstream;dur=${Math.max(0, headMs - queuedMs).toFixed(1)}`
  return `queue;dur=${queuedMs.toFixed(1)}, ${upstream}${streams ? `, first-token;dur=${headMs.toFixed(1)}` : ''}`
}
