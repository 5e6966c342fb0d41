import { createServer } from 'node:http'
import { createGateway, toNode } from 'blossom-stack/http'

export function serve(blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  return createServer(toNode(gateway))
}
