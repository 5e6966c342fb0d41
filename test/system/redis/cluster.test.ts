import { execFileSync } from 'node:child_process'
import { createCluster } from 'redis'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { base, cache, rateLimit, stack } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { freePort, RedisServer } from '../../support/redis-server.js'

let servers: RedisServer[]

beforeAll(async () => {
  // Servers of a cluster talk to each other at a port that is higher by 10,000 unless it is told.
  const start = async () =>
    RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
  servers = [await start(), await start(), await start()]
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
  execFileSync('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes'])
})

afterAll(async () => {
  for (const server of servers) await server.remove()
})

/** One of several processes, with a client of its own. */
async function join(asked: (request: string) => Promise<string>) {
  const client = createCluster({ rootNodes: [{ url: servers[0]!.url }] })
  client.on('error', () => {})
  await client.connect()
  const shared = redisShared({ client })
  const layer = cache({ shared })
  const limit = rateLimit({
    by: 'all',
    requests: { limit: 30, intervalMs: 24 * 3_600_000, burst: 30 },
    mode: 'reject',
    shared,
    exact: true,
  })
  const ask = stack(base(asked, { name: 'ask' }), layer, limit)
  const close = async () => {
    await shared.close()
    client.destroy()
  }
  return { ask, layer, shared, close }
}

it('shares a cache, what is forgotten in it, and a limit, over all servers of a cluster', async () => {
  const asked = vi.fn(async (request: string) => `answer to ${request}`)
  const [one, two] = [await join(asked), await join(asked)]
  // Both hear each other.
  await expect
    .poll(() => [one, two].map(({ shared }) => shared.stats().processes), { timeout: 20_000 })
    .toEqual([2, 2])
  const questions = Array.from({ length: 20 }, (_, i) => `question ${i}`)
  for (const question of questions) await one.ask(question)
  await expect
    .poll(async () => {
      await two.ask(questions.at(-1)!)
      return two.ask.stats().cache.hits
    })
    .toBeGreaterThan(0)
  const before = asked.mock.calls.length
  for (const question of questions) await two.ask(question)
  expect(asked).toHaveBeenCalledTimes(before)
  await one.layer.clear()
  await expect.poll(() => two.ask.stats().cache.entries).toBe(0)
  await two.ask(questions[0]!)
  expect(asked).toHaveBeenCalledTimes(before + 1)
  const others = Array.from({ length: 20 }, (_, i) => two.ask(`another ${i}`))
  const admitted = (await Promise.allSettled(others)).filter(({ status }) => status === 'fulfilled')
  expect(before + 1 + admitted.length).toBe(30)
  await Promise.all([one.close(), two.close()])
})
