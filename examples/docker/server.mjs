/**
 * The whole server of the image: every route and WebSockets over node:http. All settings are
 * environment variables.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  attachWebSocket,
  blossomFromEnv,
  createGateway,
  gatewayOptionsFromEnv,
  toNode,
} from 'blossom-stack/http'

/**
 * How long running calls may take to finish after a SIGTERM. Less than the time until whoever sent
 * it kills.
 */
const STOP_MS = 25_000

const port = Number(process.env.PORT || 8787)
let isStopping = false

const { blossom, gateway } = prepare()
const server = createServer(toNode(gateway))
attachWebSocket(server, gateway)
server.on('error', (error) => fail(error.message))
server.listen(port, process.env.HOST || '127.0.0.1', () =>
  console.log(JSON.stringify({ level: 'info', listening: server.address() })),
)

process.on('SIGTERM', stop)
process.on('SIGINT', stop)

function prepare() {
  try {
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Error('The environment variable PORT must be an integer from 0 to 65535.')
    const blossom = blossomFromEnv()
    return { blossom, gateway: createGateway(blossom, gatewayOptionsFromEnv()) }
  } catch (error) {
    return fail(error.message)
  }
}

function fail(sentence) {
  console.error(sentence)
  process.exit(1)
}

async function stop() {
  // Whoever asks twice does not want to wait.
  if (isStopping) process.exit(1)
  isStopping = true
  const endsAt = performance.now() + STOP_MS
  const left = () => Math.max(0, endsAt - performance.now())
  gateway.drain()
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'))
  const closed = once(server.close(), 'close')
  await gateway.close({ timeoutMs: left() })
  await blossom.close({ timeoutMs: left() })
  // What was cut has a last event to send.
  await Promise.race([closed, sleep(500)])
  process.exit(0)
}
