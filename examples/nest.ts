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

/** For the `imports` of your root module. Global, so that every provider may ask for the client. */
export const blossomModule = (blossom: Blossom<readonly unknown[]>): DynamicModule => ({
  module: BlossomModule,
  global: true,
  providers: [{ provide: BLOSSOM, useValue: blossom }],
  exports: [BLOSSOM],
})

export const start: Start = async (blossom, gateway, port, host) => {
  const app = await NestFactory.create(blossomModule(blossom), { logger: ['error', 'warn'] })
  // In front of Nest's body parser, which comes with listen(): the gateway's own limit and words
  // hold. Paths it does not know go on to your controllers.
  app.use(toNode(gateway))
  const server: Server = app.getHttpServer()
  attachWebSocket(server, gateway)
  await app.listen(port, host)
  return server
}

// As a program: node --import tsx examples/nest.ts. Its calls stop before the server does,
// because app.close() by itself waits for streams without a limit.
if (process.argv[1] === import.meta.filename) await runServer(start)
