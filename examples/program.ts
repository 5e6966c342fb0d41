/**
 * Runs an example as a program: creates the client and the gateway from the environment variables,
 * starts the example's server, and stops it on SIGTERM.
 */
import type { Server } from 'node:http'
import type { Blossom } from 'blossom-stack'
import {
  blossomFromEnv,
  createGateway,
  type Gateway,
  gatewayOptionsFromEnv,
} from 'blossom-stack/http'
import { stopOnSignals } from './shutdown.js'

export type Start = (
  blossom: Blossom<readonly unknown[]>,
  gateway: Gateway,
  port: number,
  host: string,
) => Promise<Server>

export async function runServer(start: Start): Promise<void> {
  const blossom = blossomFromEnv()
  const gateway = createGateway(blossom, gatewayOptionsFromEnv())
  const port = Number(process.env.PORT || 8787)
  const server = await start(blossom, gateway, port, process.env.HOST || '127.0.0.1')
  stopOnSignals({ server, gateway, blossom })
  console.log('Listening on', server.address())
}
