import { execFileSync } from 'node:child_process'
import { createCluster } from 'redis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { all, clientOf, numbered } from '../../support/batches-contract.js'
import { freePort, RedisServer } from '../../support/redis-server.js'

let servers: RedisServer[]

beforeAll(async () => {
  const start = async () =>
    RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
  servers = [await start(), await start(), await start()]
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
  execFileSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes'])
})

afterAll(async () => {
  for (const server of servers) await server.remove()
})

it('runs batches in a cluster, on whichever server the names lead to', async () => {
  const client = createCluster({ rootNodes: [{ url: servers[0]!.url }] })
  client.on('error', () => {})
  await client.connect()
  for (const name of ['one', 'two', 'three', 'four']) {
    const shared = redisShared({ client })
    const asked: unknown[] = []
    const batches = createBatches(
      clientOf(({ n }) => {
        asked.push(n)
        return { n }
      }),
      { shared, name },
    )
    const { id } = await batches.create(numbered(60))
    const worker = batches.worker()
    expect(await all(batches.results(id))).toHaveLength(60)
    expect(asked).toHaveLength(60)
    await batches.create(numbered(600), { id: 'cancelled' })
    await worker.close()
    await batches.cancel('cancelled')
    expect((await batches.status('cancelled')).status).toBe('cancelled')
    await batches.close()
    await shared.close()
  }
  client.destroy()
})
