import { attachWebSocket, type Gateway, toRequest } from 'blossom-stack/http'
import fastify, { type FastifyPluginCallback } from 'fastify'
import { runServer, type Start } from './program.js'

/**
 * A plugin has a scope of its own: parsers that are removed here stay in place for your other
 * routes.
 */
const blossomRoutes: FastifyPluginCallback<{ gateway: Gateway }> = (scope, { gateway }, done) => {
  // The gateway reads bodies itself, so that its limits and its words for a wrong one hold here
  // too.
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null))
  scope.all('/*', (request, reply) =>
    gateway(toRequest(request.raw, reply.raw), { request, reply }),
  )
  done()
}

export const start: Start = async (_, gateway, port, host) => {
  const app = fastify()
  // Beside other routes: give the gateway a `prefix`, and `scope.all` the same one.
  await app.register(blossomRoutes, { gateway })
  attachWebSocket(app.server, gateway)
  await app.listen({ port, host })
  return app.server
}

// As a program: node --import tsx examples/fastify.ts. Its calls stop before the server does,
// because app.close() by itself waits for streams without a limit.
if (process.argv[1] === import.meta.filename) await runServer(start)
