import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import KeyvRedis from '@keyv/redis'
import { createClient } from 'redis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { base, cache, createBlossom, stack } from '../../src/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function startRedis(port: number, folder: string): Promise<ChildProcess> {
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ]
  const redis = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const failed = once(redis, 'error').then(([error]) => {
    throw new Error(
      'These tests need the program redis-server; install it (apt-get install redis-server).',
      { cause: error },
    )
  })
  const ready = (async () => {
    for await (const line of redis.stdout!)
      if (String(line).includes('Ready to accept connections')) return
  })()
  await Promise.race([ready, failed])
  failed.catch(() => {})
  return redis
}

describe('cache in Redis', () => {
  let folder: string
  let port: number
  let redis: ChildProcess
  let client: ReturnType<typeof createClient>
  const asked: string[] = []

  beforeEach(async () => {
    asked.length = 0
    folder = mkdtempSync(join(tmpdir(), 'blossom-redis-'))
    port = await freePort()
    redis = await startRedis(port, folder)
    client = createClient({
      url: `redis://127.0.0.1:${port}`,
      disableOfflineQueue: true,
      socket: { reconnectStrategy: 50 },
    })
    client.on('error', () => {})
    await client.connect()
  })
  afterEach(async () => {
    client.destroy()
    redis.kill('SIGKILL')
    if (redis.exitCode === null && redis.signalCode === null) await once(redis, 'exit')
    rmSync(folder, { recursive: true, force: true })
  })

  const store = () => new KeyvRedis(client as never, { throwOnConnectError: false })
  const ask = base(
    async (request: string) => {
      asked.push(request)
      return { answer: `to ${request}`, bytes: new Uint8Array([1, 2, 3]) }
    },
    { key: (request) => request },
  )
  it('serves what another process has stored', async () => {
    const first = stack(ask, cache({ store: store() }))
    await first('Hi')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const second = stack(ask, cache({ store: store() }))
    const answer = await second('Hi')
    expect(answer).toEqual({ answer: 'to Hi', bytes: Buffer.from([1, 2, 3]) })
    expect(asked).toEqual(['Hi'])
    expect(second.stats().cache.hits).toBe(1)
  })

  it('keeps streams for plain calls, and neither prompt nor key in the clear', async () => {
    const upstream = await startLocalBlossom()
    const make = () =>
      createBlossom({ apiKey: 'sk_secret_of_ours', baseURL: upstream.url }).use(
        cache({ store: store() }),
      )
    const one = make()
    let text = ''
    for await (const piece of await one.text.stream('a very private prompt')) text += piece.text
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const two = make()
    expect(await two.text.generate('a very private prompt')).toMatchObject({
      text,
      cached: true,
      attempts: 0,
    })
    const [key] = await client.keys('*')
    expect(key).not.toMatch(/private|secret/)
    await one.close()
    await two.close()
    await upstream.close()
  })

  it('costs a miss while Redis is dead, and hits again when it is back', async () => {
    const handler = stack(ask, cache({ store: store() }))
    await handler('Hi')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    redis.kill('SIGKILL')
    await once(redis, 'exit')
    expect(await handler('Hi')).toMatchObject({ answer: 'to Hi' })
    expect(handler.stats().cache).toMatchObject({ hits: 0, misses: 2 })
    redis = await startRedis(port, folder)
    await expect
      .poll(
        async () => {
          await handler('Hi')
          return handler.stats().cache.hits
        },
        { timeout: 10_000, interval: 100 },
      )
      .toBeGreaterThan(0)
  })

  it('costs a miss within its time limit while Redis is frozen', async () => {
    const handler = stack(ask, cache({ store: store(), storeTimeoutMs: 100 }))
    await handler('Hi')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    redis.kill('SIGSTOP')
    // The test's own limit is the check: a call that hung on the store would never answer.
    for (let i = 0; i < 20; i++) expect(await handler('Hi')).toMatchObject({ answer: 'to Hi' })
    expect(handler.stats().cache.hits).toBe(0)
    redis.kill('SIGCONT')
    await expect
      .poll(
        async () => {
          await handler('Hi')
          return handler.stats().cache.hits
        },
        { timeout: 10_000, interval: 100 },
      )
      .toBeGreaterThan(0)
  })

  it('forgets everything on clear(), and only its own', async () => {
    await client.set('of another application', '1')
    const layer = cache({ store: store() })
    const handler = stack(ask, layer)
    await handler('Hi')
    await expect.poll(async () => (await client.keys('*')).length).toBe(2)
    await layer.clear()
    expect(await client.keys('*')).toEqual(['of another application'])
    await handler('Hi')
    expect(asked).toEqual(['Hi', 'Hi'])
  })
})
