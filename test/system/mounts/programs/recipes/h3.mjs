import { createGateway } from 'blossom-stack/http'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  app.all('/ai/**', (event) => gateway(event.req, event))
  return gateway
}
