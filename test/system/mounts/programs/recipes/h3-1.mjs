import { createGateway, toNode } from 'blossom-stack/http'
import { fromNodeMiddleware } from 'h3'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, options)
  app.use('/ai', fromNodeMiddleware(toNode(gateway)))
  return gateway
}
