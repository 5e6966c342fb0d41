/**
 * A server in a process of its own, for tests that kill it: `node --import tsx stream-server.ts
 * REDIS_URL UPSTREAM_URL`. It prints its port. At SIGTERM it hands its clients over: it cuts their
 * connections, and finishes what it has begun.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createGateway, toNode } from '../../../src/gateway/index.js'
import { createBlossom } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'

const [, , url, baseURL, graceMs] = process.argv
const shared = redisShared({ url: url as string })
const blossom = createBlossom({ apiKey: 'sk_test', baseURL })
const gateway = createGateway(blossom, { streams: { shared, graceMs: Number(graceMs) } })
const server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
await once(server, 'listening')

process.once('SIGTERM', async () => {
  gateway.drain()
  server.close()
  server.closeAllConnections()
  await gateway.close()
  await blossom.close()
  await shared.close()
  process.exit(0)
})
console.log((server.address() as AddressInfo).port)
