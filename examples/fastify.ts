/**
 * The gateway as a Fastify plugin. Fastify sends a web `Response` as it is, so nothing is
 * translated by hand.
 */
import type { Server } from 'node:http'
import type { Blossom } from 'blossom-stack'
import {
  attachWebSocket,
  blossomFromEnv,
  createGateway,
  type Gateway,
  gatewayOptionsFromEnv,
  toRequest,
} from 'blossom-stack/http'
import fastify, { type FastifyPluginCallback } from 'fastify'
import { stopOnSignals } from './shutdown.js'

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

export async function start(
  _: Blossom<readonly unknown[]>,
  gateway: Gateway,
  port: number,
  host: string,
): Promise<Server> {
  const app = fastify()
  // Beside other routes: give the gateway a `prefix`, and `scope.all` the same one.
  await app.register(blossomRoutes, { gateway })
  attachWebSocket(app.server, gateway)
  await app.listen({ port, host })
  return app.server
}

// As a program: node --import tsx examples/fastify.ts
if (process.argv[1] === import.meta.filename) {
  const blossom = blossomFromEnv()
  const gateway = createGateway(blossom, gatewayOptionsFromEnv())
  const server = await start(
    blossom,
    gateway,
    Number(process.env.PORT || 8787),
    process.env.HOST || '127.0.0.1',
  )
  // In this order, because app.close() by itself waits for streams without a limit.
  stopOnSignals({ server, gateway, blossom })
  console.log('Listening on', server.address())
}
