/** The gateway by itself, without a framework. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
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

export async function start(
  _: Blossom<readonly unknown[]>,
  gateway: Gateway,
  port: number,
  host: string,
): Promise<Server> {
  const server = createServer(toNode(gateway))
  attachWebSocket(server, gateway)
  await once(server.listen(port, host), 'listening')
  return server
}

// As a program: node --import tsx examples/node-http.ts
if (process.argv[1] === import.meta.filename) {
  const blossom = blossomFromEnv()
  const gateway = createGateway(blossom, gatewayOptionsFromEnv())
  const server = await start(
    blossom,
    gateway,
    Number(process.env.PORT || 8787),
    process.env.HOST || '127.0.0.1',
  )
  stopOnSignals({ server, gateway, blossom })
  console.log('Listening on', server.address())
}
