import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Batches, createBatches } from '../../../src/batches/index.js'
import { createGateway } from '../../../src/gateway/index.js'
import { createBlossom } from '../../../src/index.js'
import { type RedisShared, redisShared } from '../../../src/redis/index.js'
import { all, clientOf, echo, numbered } from '../../support/batches-contract.js'
import { RedisServer } from '../../support/redis-server.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

const PROGRAM = join(import.meta.dirname, 'programs/held.mjs')
const STALLED_MS = 1_000

let redis: RedisServer
let shared: RedisShared
let batches: Batches
const workers = new Set<ChildProcess>()
beforeEach(async () => {
  catchWarnings()
  redis = await RedisServer.start('--appendonly', 'yes')
  shared = redisShared({ url: redis.url })
  batches = createBatches(clientOf(echo), { shared, stalledMs: STALLED_MS })
})
afterEach(async () => {
  for (const worker of workers) worker.kill('SIGKILL')
  await batches.close({ timeoutMs: 0 })
  await shared.close()
  await redis.remove()
  vi.restoreAllMocks()
})

/** A worker that is killed in the middle of its first call. */
async function dieInACall(): Promise<unknown> {
  const worker = fork(PROGRAM, [redis.url], { execArgv: [] })
  workers.add(worker)
  const [n] = await once(worker, 'message')
  worker.kill('SIGKILL')
  await once(worker, 'exit')
  return n
}

it('a line runs once more when its worker dies, and is lost when the second worker dies too', async () => {
  const { id } = await batches.create(numbered(1))
  expect(await dieInACall()).toBe(0)
  expect(await dieInACall()).toBe(0)
  const diedAt = performance.now()
  batches.worker()
  expect(await all(batches.results(id))).toEqual([
    { customId: '0', ok: false, error: { code: 'lost', message: expect.any(String) } },
  ])
  // It is found within three times that.
  expect(performance.now() - diedAt).toBeLessThan(3 * STALLED_MS + 5_000)
  expect(batches.stats()).toMatchObject({ lost: 1, completed: 0 })
  expect((await batches.status(id)).requestCounts).toEqual({ total: 1, completed: 0, failed: 1 })
})

it('a line whose worker has died is answered by the next one', async () => {
  const { id } = await batches.create(numbered(3))
  expect(await dieInACall()).toBe(0)
  batches.worker()
  expect((await all(batches.results(id))).map(({ ok }) => ok)).toEqual([true, true, true])
})

it('jobs that Redis has lost are queued again', async () => {
  const { id } = await batches.create(numbered(30))
  const { createClient } = await import('redis')
  const client = createClient({ url: redis.url })
  await client.connect()
  // Before a worker has seen any of them.
  for (const key of await client.keys('*:batches:*'))
    if (!key.includes(':of:')) await client.del(key)
  client.destroy()
  batches.worker()
  expect(await all(batches.results(id))).toHaveLength(30)
})

it('a batch that Redis cannot keep is refused, and one that it keeps outlives its end', async () => {
  const { id } = await batches.create(numbered(3), { tenant: 'alice' })
  await redis.kill()
  const startedAt = performance.now()
  const error = await failure(batches.create(numbered(3)))
  expect(error).toMatchObject({
    status: 503,
    retryable: true,
    message: 'The storage of batches is unavailable. Try again later.',
  })
  expect(await failure(batches.status(id))).toMatchObject({ status: 503 })
  expect(performance.now() - startedAt).toBeLessThan(10_000)
  const gateway = createGateway(createBlossom(), { batches, call: () => ({ tenant: 'alice' }) })
  const response = await gateway(new Request(`http://localhost/v1/batches/${id}`))
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ error: { type: 'server_error' } })
  await redis.start()
  await expect
    .poll(async () => (await batches.status(id).catch(() => undefined))?.status, {
      timeout: 20_000,
    })
    .toBe('validating')
  batches.worker()
  expect(await all(batches.results(id))).toHaveLength(3)
})

it('an answer that comes while Redis is down is kept until it is back', async () => {
  let calls = 0
  let answer = (_: unknown): void => {}
  const others = createBatches(
    clientOf(() => {
      calls++
      return new Promise((resolve) => {
        answer = resolve
      })
    }),
    { shared, stalledMs: 10_000 },
  )
  const { id } = await others.create(numbered(1))
  others.worker()
  await expect.poll(() => calls, { timeout: 20_000 }).toBe(1)
  await redis.kill()
  answer({ paid: true })
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  await redis.start()
  await expect
    .poll(async () => (await others.status(id).catch(() => undefined))?.status, {
      timeout: 20_000,
    })
    .toBe('completed')
  expect(await all(others.results(id))).toMatchObject([{ ok: true, answer: { paid: true } }])
  expect(calls).toBe(1)
  await others.close()
})
