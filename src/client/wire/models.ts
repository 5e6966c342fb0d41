import { DEFAULT_MODELS, type Outgoing } from './outgoing.js'
import { CHAT, EMBEDDINGS } from './shapes.js'

/** Whose answers any model can give that can talk. */
const FOR_ANY_MODEL: ReadonlySet<string> = new Set([
  CHAT,
  '/v1/responses',
  '/v1/messages',
  '/v1/completions',
])

/** The model in the body, or for images in the query; else the one that upstream would use. */
export function modelOf({ path, body }: Outgoing): string | undefined {
  if (typeof body?.model === 'string') return body.model
  const query = path.indexOf('?')
  return query === -1
    ? DEFAULT_MODELS[path]
    : (new URLSearchParams(path.slice(query)).get('model') ?? undefined)
}

/**
 * The same request for another model, paid by the same key. Vectors of two models cannot be
 * compared, so embeddings never change theirs. Of all else only what is a chat changes it, or what
 * is listed.
 */
export function withModel(
  request: Outgoing,
  model: string,
  endpoints?: readonly string[],
): Outgoing | undefined {
  const { path, payload, upload } = request
  // What is in a form is not changed.
  if (upload !== undefined) return undefined
  const end = path.indexOf('?')
  const address = end === -1 ? path : path.slice(0, end)
  if (address === EMBEDDINGS || !isServed(address, endpoints)) return undefined
  // The bytes that were sent, and not the body: its inner parts may be the caller's own, and have
  // changed since.
  if (payload !== undefined) return request.with({ body: { ...JSON.parse(payload), model } })
  const fields = new URLSearchParams(end === -1 ? '' : path.slice(end))
  fields.set('model', model)
  return request.with({ path: `${address}?${fields}` })
}

/** `/image` stands for all addresses below it. */
function isServed(address: string, endpoints: readonly string[] | undefined): boolean {
  if (endpoints === undefined) return FOR_ANY_MODEL.has(address)
  return endpoints.some((endpoint) => address === endpoint || address.startsWith(`${endpoint}/`))
}
