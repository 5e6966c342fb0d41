import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { createBlossom } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { RedisServer } from '../../support/redis-server.js'
import { catchWarnings } from '../../support/warnings.js'

const PROGRAM = join(import.meta.dirname, 'programs/worker.mjs')
const LINES = 10_000
const WORKERS = 2
const KILLS = 9

let redis: RedisServer
let upstream: Server
/** How often upstream was asked for each line. */
let calls: Map<string, number>
const workers = new Set<ChildProcess>()

beforeEach(async () => {
  catchWarnings()
  calls = new Map()
  redis = await RedisServer.start('--appendonly', 'yes')
  upstream = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    const { n } = JSON.parse(text)
    calls.set(String(n), (calls.get(String(n)) ?? 0) + 1)
    // Each answer is another one: a second result would show.
    const answer = { data: [{ index: 0, embedding: [n] }], n, nonce: randomUUID() }
    setTimeout(() => response.end(JSON.stringify(answer)), Math.random() * 20)
    response.setHeader('content-type', 'application/json')
  }).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
})
afterEach(async () => {
  for (const worker of workers) worker.kill('SIGKILL')
  upstream.closeAllConnections()
  upstream.close()
  await redis.remove()
})

const upstreamUrl = () => `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Starts a worker, which is followed by another one whenever it is killed. */
async function startWorker(): Promise<void> {
  const worker = fork(PROGRAM, [redis.url, upstreamUrl()], { execArgv: [], stdio: 'ignore' })
  workers.add(worker)
  worker.once('exit', () => workers.delete(worker))
  await Promise.race([once(worker, 'message'), once(worker, 'exit')])
}

it('each of 10,000 lines has one result, whatever workers and Redis are killed meanwhile', {
  timeout: 300_000,
}, async () => {
  const shared = redisShared({ url: redis.url })
  const batches = createBatches(createBlossom({ baseURL: upstreamUrl() }), { shared })
  const items = Array.from({ length: LINES }, (_, n) => ({ n }))
  await batches.create(items, { id: 'killed', endpoint: '/v1/embeddings' })
  for (let i = 0; i < WORKERS; i++) await startWorker()
  let isDone = false
  const kills = { worker: 0, redis: 0 }
  const kill = async () => {
    for (let times = 1; times <= KILLS && !isDone; times++) {
      await pause(100 + Math.random() * 700)
      const victim = times % 3 === 0 ? 'redis' : 'worker'
      kills[victim]++
      if (victim === 'redis') {
        await redis.kill()
        await pause(Math.random() * 600)
        await redis.start()
      } else {
        const [worker] = [...workers].sort(() => Math.random() - 0.5)
        worker?.kill('SIGKILL')
        await startWorker()
      }
    }
  }
  const startedAt = performance.now()
  const killing = kill()
  // Whoever asks while Redis is down is told so, and asks again.
  await expect
    .poll(async () => (await batches.status('killed').catch(() => undefined))?.status, {
      timeout: 240_000,
      interval: 250,
    })
    .toBe('completed')
  const seconds = (performance.now() - startedAt) / 1_000
  isDone = true
  await killing
  const results = new Map<string, string>()
  let count = 0
  for await (const result of batches.results('killed')) {
    count++
    expect(results.has(result.customId)).toBe(false)
    results.set(result.customId, JSON.stringify(result))
    if (result.ok) {
      expect((result.answer as { n: number }).n).toBe(Number(result.customId))
      expect(calls.has(result.customId)).toBe(true)
    }
    // It was running at two deaths, maybe before upstream had heard of it.
    else expect(result.error.code).toBe('lost')
  }
  const expected = Array.from({ length: LINES }, (_, n) => String(n)).sort()
  expect(count).toBe(LINES)
  expect([...results.keys()].sort()).toEqual(expected)
  const { requestCounts } = await batches.status('killed')
  expect(requestCounts.completed + requestCounts.failed).toBe(LINES)
  const repeated = [...calls.values()].reduce((sum, times) => sum + times - 1, 0)
  const lost = requestCounts.failed
  console.log(`${seconds.toFixed(0)} s: ${JSON.stringify({ ...kills, repeated, lost })}`)
  expect(kills).toEqual({ worker: 6, redis: 3 })
  // A line is not called three times, and few were running at two deaths.
  expect(Math.max(...calls.values())).toBeLessThanOrEqual(2)
  expect(lost).toBeLessThan(LINES / 100)
  await batches.close()
  await shared.close()
})
