import { DEFAULT_MODELS, type Outgoing } from './outgoing.js'
import { CHAT, EMBEDDINGS } from './shapes.js'

/** Endpoints that any text model can answer. */
const FOR_ANY_MODEL: ReadonlySet<string> = new Set([
  CHAT,
  '/v1/responses',
  '/v1/messages',
  '/v1/completions',
])

/** The model named in the body or query, or else the one that upstream uses by default. */
export function modelOf({ path, body }: Outgoing): string | undefined {
  if (typeof body?.model === 'string') return body.model
  const query = path.indexOf('?')
  return query === -1
    ? DEFAULT_MODELS[path]
    : (new URLSearchParams(path.slice(query)).get('model') ?? undefined)
}

/**
 * The same request for another model, with the same key. Returns `undefined` if the endpoint does
 * not allow another model: text endpoints do by default, otherwise the listed `endpoints`.
 * Embeddings never do, because vectors of two models cannot be compared.
 */
export function withModel(
  request: Outgoing,
  model: string,
  endpoints?: readonly string[],
): Outgoing | undefined {
  const { path, payload, upload } = request
  // The fields of an uploaded form cannot be changed.
  if (upload !== undefined) return undefined
  const end = path.indexOf('?')
  const address = end === -1 ? path : path.slice(0, end)
  if (address === EMBEDDINGS || !isServed(address, endpoints)) return undefined
  // Parse the payload that was sent: the caller may have changed nested parts of `body` since.
  if (payload !== undefined) return request.with({ body: { ...JSON.parse(payload), model } })
  const fields = new URLSearchParams(end === -1 ? '' : path.slice(end))
  fields.set('model', model)
  return request.with({ path: `${address}?${fields}` })
}

/** An endpoint such as `/image` includes all paths below it. */
function isServed(address: string, endpoints: readonly string[] | undefined): boolean {
  if (endpoints === undefined) return FOR_ANY_MODEL.has(address)
  return endpoints.some((endpoint) => address === endpoint || address.startsWith(`${endpoint}/`))
}
