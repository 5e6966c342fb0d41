import { createSecureServer } from 'node:http2'
import { createGateway, toNode } from 'blossom-stack/http'

export function serve(blossom, { key, cert, ...options }) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  return createSecureServer({ key, cert, allowHTTP1: true }, toNode(gateway))
}
