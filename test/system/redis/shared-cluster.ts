import { execFileSync } from 'node:child_process'
import { createCluster } from 'redis'
import { afterAll, beforeAll } from 'vitest'
import { redisShared } from '../../../src/redis/index.js'
import { freePort, RedisServer } from '../../support/redis-server.js'
import { PATIENT_MS } from './shared-redis.js'

/** A cluster of three servers for the tests of a file, and shared states as of several processes. */
export function sharedCluster() {
  let servers: RedisServer[]
  beforeAll(async () => {
    // Servers of a cluster talk to each other at a port that is higher by 10,000 unless it is told.
    const start = async () =>
      RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
    servers = [await start(), await start(), await start()]
    const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
    execFileSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes'])
    // It is made before each of them knows it.
    const state = (port: number) =>
      String(execFileSync('redis-cli', ['-p', String(port), 'cluster', 'info']))
    for (const { port } of servers)
      while (!state(port).includes('cluster_state:ok'))
        await new Promise((resolve) => setTimeout(resolve, 50))
  })
  afterAll(async () => {
    for (const server of servers) await server.remove()
  })
  return {
    /** The shared state of one of several processes, with a client of its own. */
    async open() {
      const client = createCluster({ rootNodes: [{ url: servers[0]!.url }] })
      client.on('error', () => {})
      await client.connect()
      const shared = redisShared({ client, timeoutMs: PATIENT_MS })
      const close = async () => {
        await shared.close()
        if (client.isOpen) client.destroy()
      }
      return { client, shared, close }
    },
  }
}
