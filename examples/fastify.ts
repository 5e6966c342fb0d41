/**
 * The gateway as a Fastify plugin. Fastify can send a web `Response`, so no conversion is needed.
 */
import { attachWebSocket, type Gateway, toRequest } from 'blossom-stack/http'
import fastify, { type FastifyPluginCallback } from 'fastify'
import { runServer, type Start } from './program.js'

/**
 * A plugin has its own scope: the parsers removed here still apply to your other routes.
 */
const blossomRoutes: FastifyPluginCallback<{ gateway: Gateway }> = (scope, { gateway }, done) => {
  // The gateway reads bodies itself, so that its size limits and error messages apply.
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null))
  scope.all('/*', (request, reply) =>
    gateway(toRequest(request.raw, reply.raw), { request, reply }),
  )
  done()
}

export const start: Start = async (_, gateway, port, host) => {
  const app = fastify()
  // If you have other routes, give the gateway a `prefix`, and use the same one in `scope.all`.
  await app.register(blossomRoutes, { gateway })
  attachWebSocket(app.server, gateway)
  await app.listen({ port, host })
  return app.server
}

// As a program: node --import tsx examples/fastify.ts. Do not use app.close(), which waits for
// streams without a time limit.
if (process.argv[1] === import.meta.filename) await runServer(start)
