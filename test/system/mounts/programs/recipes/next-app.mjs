import { createGateway } from 'blossom-stack/http'

/** For `app/ai/[...path]/route.js`: `export const { GET, HEAD, POST, … } = routes(blossom)`. */
export function routes(blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  const answer = (request, context) => gateway(request, context)
  return { GET: answer, HEAD: answer, POST: answer, DELETE: answer, OPTIONS: answer }
}
