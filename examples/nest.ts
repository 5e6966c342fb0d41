/** NestJS: the gateway as middleware, and the client as a module for your own providers. */
import type { Server } from 'node:http'
import { type DynamicModule, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { Blossom } from 'blossom-stack'
import {
  attachWebSocket,
  blossomFromEnv,
  createGateway,
  type Gateway,
  gatewayOptionsFromEnv,
  toNode,
} from 'blossom-stack/http'
import { stopOnSignals } from './shutdown.js'

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

export async function start(
  blossom: Blossom<readonly unknown[]>,
  gateway: Gateway,
  port: number,
  host: string,
): Promise<Server> {
  const app = await NestFactory.create(blossomModule(blossom), { logger: ['error', 'warn'] })
  // In front of Nest's body parser, which comes with listen(): the gateway's own limit and words
  // hold. Paths it does not know go on to your controllers.
  app.use(toNode(gateway))
  const server: Server = app.getHttpServer()
  attachWebSocket(server, gateway)
  await app.listen(port, host)
  return server
}

// As a program: node --import tsx examples/nest.ts
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
