import { createGateway, toRequest } from 'blossom-stack/http'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  app.all('/ai/*', (request, reply) =>
    gateway(toRequest(request.raw, reply.raw, { body: request.body }), { request, reply }),
  )
  return gateway
}
