import type { Incoming } from './message.js'

/** For answers that are data: nothing in them is to be run, framed or guessed at. */
const SECURITY: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
}

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
export function corsHeaders(incoming: Incoming, origins: readonly string[], headers: Record<string, string>): void {
  if (origins.length === 0) return
  if (!origins.includes('*')) headers.vary = headers.vary ? `${headers.vary}, origin` : 'origin'
  const origin = allowedOrigin(incoming, origins)
  if (origin === undefined) return
  headers['access-control-allow-origin'] = origin
  headers['access-control-expose-headers'] = EXPOSED
}

/** Headers of a preflight's answer; undefined when it is none, or not from an origin that may call. */
export function preflightHeaders(
  incoming: Incoming,
  origins: readonly string[],
  methods: readonly string[],
): Record<string, string> | undefined {
  const headers: Record<string, string> = {}
  corsHeaders(incoming, origins, headers)
  if (headers['access-control-allow-origin'] === undefined || incoming.header('access-control-request-method') === undefined)
    return undefined
  headers['access-control-allow-methods'] = methods.join(', ')
  headers['access-control-allow-headers'] = 'authorization, content-type, x-request-id, last-event-id'
  headers['access-control-max-age'] = '600'
  return headers
}

export const milliseconds = (value: number): string => value.toFixed(1)
