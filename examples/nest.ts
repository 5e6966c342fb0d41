/** NestJS: the gateway as middleware, and the client as a module for your own providers. */
import type { Server } from 'node:http'
import { type DynamicModule, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { Blossom } from 'blossom-stack'
import { attachWebSocket, toNode } from 'blossom-stack/http'
import { runServer, type Start } from './program.js'

/** The client's token: `constructor(@Inject(BLOSSOM) private readonly blossom: Blossom) {}`. */
export const BLOSSOM = Symbol('blossom')

@Module({})
class BlossomModule {}

/** For the `imports` of your root module. It is global, so every provider can inject the client. */
export const blossomModule = (blossom: Blossom<readonly unknown[]>): DynamicModule => ({
  module: BlossomModule,
  global: true,
  providers: [{ provide: BLOSSOM, useValue: blossom }],
  exports: [BLOSSOM],
})

export const start: Start = async (blossom, gateway, port, host) => {
  const app = await NestFactory.create(blossomModule(blossom), { logger: ['error', 'warn'] })
  // Before Nest's body parser, which listen() adds, so that the gateway's size limits and error
  // messages apply. Paths without a gateway route go to your controllers.
  app.use(toNode(gateway))
  const server: Server = app.getHttpServer()
  attachWebSocket(server, gateway)
  await app.listen(port, host)
  return server
}

// As a program: node --import tsx examples/nest.ts. Do not use app.close(), which waits for
// streams without a time limit.
if (process.argv[1] === import.meta.filename) await runServer(start)
