import { createGateway, toNode } from 'blossom-stack/http'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, options)
  // Express takes '/ai' off the URL, so the gateway needs no prefix.
  app.use('/ai', toNode(gateway))
  return gateway
}
