import { createGateway, toNode } from 'blossom-stack/http'

/** For `pages/api/ai/[...path].js`: `export default handler(blossom)`. */
export function handler(blossom, options) {
  return toNode(createGateway(blossom, { ...options, prefix: '/api/ai' }))
}

/** The gateway reads bodies itself, so its own limits hold here. */
export const config = { api: { bodyParser: false, externalResolver: true } }
