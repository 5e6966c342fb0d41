import type { Attributes } from '@opentelemetry/api'

/** Which of OpenTelemetry's conventions for generative AI is followed. */
export type Semconv = 'current' | 'previous' | 'both'

const PROVIDER = 'pollinations'

/** What is known of a call before it runs. */
export interface AskedAttributes {
  readonly operation?: string | undefined
  readonly model?: string | undefined
}

/** Attributes of spans and metrics alike; of a function that is no model's there are none. */
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

/** Adds what is there. */
export function put(attributes: Attributes, more: Readonly<Record<string, unknown>>): Attributes {
  for (const [name, value] of Object.entries(more))
    if (value !== undefined) attributes[name] = value as never
  return attributes
}

/** Where requests go. */
export interface Server {
  readonly origin: string
  readonly attributes: Attributes
}

/** Origins that are known: a process has few. */
const servers = new Map<string, Server>()
const SERVERS_KEPT = 100

/** An origin as the conventions have it. */
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
