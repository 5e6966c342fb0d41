/**
 * The server of the image: all routes and WebSockets over node:http. All settings are environment
 * variables.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createBatches } from 'blossom-stack/batches'
import {
  attachWebSocket,
  blossomFromEnv,
  createGateway,
  gatewayOptionsFromEnv,
  toNode,
} from 'blossom-stack/http'
import { redisShared } from 'blossom-stack/redis'

/**
 * How long running calls may take to finish after a SIGTERM, in milliseconds. Less than the time
 * after which Docker or Kubernetes kills the process.
 */
const STOP_MS = 25_000

const port = Number(process.env.PORT || 8787)
let isStopping = false

const { blossom, gateway, batches, shared } = prepare()
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
    const shared = sharedForBatches()
    // The server only accepts batches and returns results; workers run them.
    const batches = shared && createBatches(blossom, { shared })
    const gateway = createGateway(blossom, { ...gatewayOptionsFromEnv(), batches })
    return { blossom, gateway, batches, shared }
  } catch (error) {
    return fail(error.message)
  }
}

function sharedForBatches() {
  const { BLOSSOM_BATCHES = 'off', REDIS_URL: url } = process.env
  if (BLOSSOM_BATCHES === 'off') return undefined
  if (BLOSSOM_BATCHES !== 'on')
    throw new Error('The environment variable BLOSSOM_BATCHES must be on or off.')
  if (!url) throw new Error('The environment variable REDIS_URL must be set for batches.')
  return redisShared({ url })
}

function fail(sentence) {
  console.error(sentence)
  process.exit(1)
}

async function stop() {
  // A second signal ends the process immediately.
  if (isStopping) process.exit(1)
  isStopping = true
  const endsAt = performance.now() + STOP_MS
  const left = () => Math.max(0, endsAt - performance.now())
  gateway.drain()
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'))
  const closed = once(server.close(), 'close')
  await gateway.close({ timeoutMs: left() })
  await batches?.close({ timeoutMs: left() })
  await blossom.close({ timeoutMs: left() })
  await shared?.close()
  // Aborted streams still send a last event.
  await Promise.race([closed, sleep(500)])
  process.exit(0)
}
