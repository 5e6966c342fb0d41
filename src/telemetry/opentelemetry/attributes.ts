import type { Attributes } from '@opentelemetry/api'

/** The version of OpenTelemetry's conventions for generative AI. */
export type Semconv = 'current' | 'previous' | 'both'

const PROVIDER = 'pollinations'

/** Attributes of a call that are known before it runs. */
export interface AskedAttributes {
  readonly operation?: string | undefined
  readonly model?: string | undefined
}

/** Attributes of both spans and metrics; none for functions that call no model. */
export function askedAttributes(
  { operation, model }: AskedAttributes,
  semconv: Semconv,
): Attributes {
  if (operation === undefined) return {}
  const attributes: Attributes = { 'gen_ai.operation.name': operation }
  if (semconv !== 'previous') attributes['gen_ai.provider.name'] = PROVIDER
  if (semconv !== 'current') attributes['gen_ai.system'] = PROVIDER
  if (model !== undefined) attributes['gen_ai.request.model'] = model
  return attributes
}

/** Adds the attributes that are defined. */
export function put(attributes: Attributes, more: Readonly<Record<string, unknown>>): Attributes {
  for (const [name, value] of Object.entries(more))
    if (value !== undefined) attributes[name] = value as never
  return attributes
}

/** The server to which requests are sent. */
export interface Server {
  readonly origin: string
  readonly attributes: Attributes
}

/** Cached servers by origin; a process has few. */
const servers = new Map<string, Server>()
const SERVERS_KEPT = 100

/** The server of an origin, with the attributes of the conventions. */
export function serverOf(origin: string): Server {
  const known = servers.get(origin)
  if (known !== undefined) return known
  const { hostname, port, protocol } = new URL(origin)
  const server = {
    origin,
    attributes: {
      'server.address': hostname.replace(/^\[|\]$/g, ''),
      'server.port': port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port),
    },
  }
  if (servers.size < SERVERS_KEPT) servers.set(origin, server)
  return server
}
