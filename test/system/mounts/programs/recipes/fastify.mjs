import { createGateway, toRequest } from 'blossom-stack/http'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  // A plugin has a scope of its own: the parsers removed here stay in place for your other routes.
  app.register(async (scope) => {
    // The gateway reads bodies itself, so its own limits hold here.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
    scope.all('/ai/*', (request, reply) =>
      gateway(toRequest(request.raw, reply.raw), { request, reply }),
    )
  })
  return gateway
}
