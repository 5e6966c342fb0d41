import { createHash } from 'node:crypto'
import KeyvRedis from '@keyv/redis'
import { createClient } from 'redis'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { base, cache, queue, stack } from '../../src/index.js'
import { impatientClient, RedisServer } from '../support/redis-server.js'
import { catchWarnings } from '../support/warnings.js'

/** What a store that hangs may cost a call: its own limit. */
const LIMIT_MS = 100
/** How long it is left alone then. */
const REST_MS = 1_000
/** What a busy machine may add to a call. */
const SLACK_MS = 2_000

let redis: RedisServer
let client: Awaited<ReturnType<typeof impatientClient>>
let warnings: string[]
let unhandled: unknown[]
const onUnhandled = (reason: unknown) => void unhandled.push(reason)

beforeEach(async () => {
  warnings = catchWarnings()
  unhandled = []
  process.on('unhandledRejection', onUnhandled)
  redis = await RedisServer.start()
  client = await impatientClient(redis.url)
})
afterEach(async () => {
  client.destroy()
  await redis.remove()
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
  vi.restoreAllMocks()
})

const digest = (text: string) => createHash('sha256').update(text).digest('hex')

/** A stack over Redis, whose right answers can be told from wrong ones. */
function cached(limitMs = LIMIT_MS) {
  let asked = 0
  const ask = base(
    async (request: string) => {
      asked++
      return { to: request, digest: digest(request) }
    },
    { key: (request) => request },
  )
  const layer = cache({
    store: new KeyvRedis(client as never, { throwOnConnectError: false }),
    storeTimeoutMs: limitMs,
  })
  const handler = stack(ask, layer, queue({ concurrency: 8, maxWaiting: 10_000 }))
  const waits: number[] = []
  const call = async (request: string) => {
    const before = performance.now()
    expect(await handler(request)).toEqual({ to: request, digest: digest(request) })
    waits.push(performance.now() - before)
  }
  return {
    handler,
    call,
    waits,
    get asked() {
      return asked
    },
  }
}

const slowest = (waits: readonly number[]) => waits.reduce((most, ms) => Math.max(most, ms), 0)

/** Calls without a pause, from several hands, until it is stopped. */
function load(call: (request: string) => Promise<void>, hands = 6) {
  let goesOn = true
  let calls = 0
  const hand = async (of: number) => {
    for (let i = 0; goesOn; i++) {
      await call(`question ${(of * 7 + i) % 20}`)
      calls++
      // A turn of the event loop between two calls, as a server has.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const ended = Promise.all(Array.from({ length: hands }, (_, of) => hand(of)))
  return {
    get calls() {
      return calls
    },
    async more(count: number) {
      const from = calls
      await expect
        .poll(() => calls - from, { timeout: 30_000, interval: 10 })
        .toBeGreaterThanOrEqual(count)
    },
    async stop() {
      goesOn = false
      await ended
    },
  }
}

const hitsAgain = (handler: ReturnType<typeof cached>['handler']) => {
  const { hits } = handler.stats().cache
  return expect
    .poll(() => handler.stats().cache.hits - hits, { timeout: 20_000, interval: 20 })
    .toBeGreaterThan(20)
}

describe('a cache whose Redis fails under load', () => {
  it('answers every call while Redis is killed and started again, twice, and then hits again', async () => {
    const { handler, call, waits } = cached()
    const traffic = load(call)
    await hitsAgain(handler)
    for (let round = 0; round < 2; round++) {
      await redis.kill()
      await traffic.more(200)
      await redis.start()
      await hitsAgain(handler)
    }
    await traffic.stop()
    expect(slowest(waits)).toBeLessThan(LIMIT_MS + SLACK_MS)
    expect(handler.stats().queue).toMatchObject({ running: 0, waiting: 0, failed: 0 })
    expect(
      warnings.filter((text) => text.startsWith('cache: its store')).length,
    ).toBeLessThanOrEqual(1)
  })

  it('answers every call while Redis is frozen and thawed, slowed only by finding out', async () => {
    const { handler, call, waits } = cached()
    const traffic = load(call)
    await hitsAgain(handler)
    for (let round = 0; round < 2; round++) {
      const from = waits.length
      redis.freeze()
      await traffic.more(500)
      await new Promise((resolve) => setTimeout(resolve, 1.5 * REST_MS))
      redis.thaw()
      // Only those who found out that it hangs have waited for it; all others went past it.
      const met = waits.slice(from)
      const slow = met.filter((ms) => ms > LIMIT_MS * 0.9).length
      expect(slow).toBeGreaterThan(0)
      expect(slow / met.length).toBeLessThan(0.2)
      await hitsAgain(handler)
    }
    await traffic.stop()
    expect(slowest(waits)).toBeLessThan(LIMIT_MS + SLACK_MS)
    expect(handler.stats().queue).toMatchObject({ running: 0, waiting: 0, failed: 0 })
  })

  it('answers every call while Redis cuts connections again and again', async () => {
    const { handler, call } = cached()
    const traffic = load(call)
    await hitsAgain(handler)
    const admin = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    await admin.connect()
    for (let i = 0; i < 10; i++) {
      await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
      await traffic.more(30)
    }
    await hitsAgain(handler)
    await traffic.stop()
    admin.destroy()
  })
})

describe('a Redis that refuses', () => {
  it.each<[string, string[], string[]]>([
    [
      'writes, as a replica is read-only',
      ['REPLICAOF', '127.0.0.1', '1'],
      ['REPLICAOF', 'NO', 'ONE'],
    ],
    [
      'writes, as its memory is full',
      ['CONFIG', 'SET', 'maxmemory', '1'],
      ['CONFIG', 'SET', 'maxmemory', '0'],
    ],
    [
      'everything, as a password is asked for',
      ['CONFIG', 'SET', 'requirepass', 'secret'],
      ['AUTH', 'secret'],
    ],
  ])('%s costs misses, and is used again when it takes them', async (_, refuse, allow) => {
    const { handler, call, waits, asked } = cached()
    expect(asked).toBe(0)
    await call('before')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const admin = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    await admin.connect()
    await admin.sendCommand(refuse)
    // A password is asked of new connections.
    if (allow[0] === 'AUTH')
      await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
    for (let i = 0; i < 20; i++) await call(`meanwhile ${i % 5}`)
    expect(handler.stats().cache.hits).toBe(0)
    await admin.sendCommand(allow)
    if (allow[0] === 'AUTH') await admin.sendCommand(['CONFIG', 'SET', 'requirepass', ''])
    await expect
      .poll(
        async () => {
          await call('after')
          return handler.stats().cache.hits
        },
        { timeout: 20_000, interval: 50 },
      )
      .toBeGreaterThan(0)
    expect(slowest(waits)).toBeLessThan(LIMIT_MS + SLACK_MS)
    admin.destroy()
  })
})

describe('wrong data in Redis', () => {
  const spoilings: [string, (key: string, text: string) => Promise<unknown>][] = [
    ['half an entry', (key, text) => client.set(key, text.slice(0, text.length / 2))],
    ['no JSON', (key) => client.set(key, '<html>')],
    ['nothing', (key) => client.set(key, '')],
    ['null', (key) => client.set(key, 'null')],
    ['bytes', (key) => client.set(key, Buffer.from([0, 255, 0xd8, 0]))],
    [
      'fields behind __proto__',
      (key) =>
        client.set(key, '{"__proto__":{"polluted":1},"value":{"__proto__":{"polluted":1,"v":1}}}'),
    ],
    ['a megabyte of brackets', (key) => client.set(key, '['.repeat(2 ** 20))],
    [
      'another version of the envelope',
      (key, text) => client.set(key, text.replace('"v":2', '"v":3')),
    ],
    ['a list', async (key) => [await client.del(key), await client.rPush(key, ['a', 'b'])]],
    ['a hash', async (key) => [await client.del(key), await client.hSet(key, 'value', 'x')]],
    ['a counter', async (key) => [await client.del(key), await client.incr(key)]],
  ]

  it.each(spoilings)('costs a miss and is repaired: %s', async (_, spoil) => {
    const { handler, call } = cached(5_000)
    await call('q')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const [key] = (await client.keys('*')) as [string]
    await spoil(key, (await client.get(key)) ?? '')
    await call('q')
    expect(handler.stats().cache).toMatchObject({ hits: 0, misses: 2 })
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    await expect
      .poll(async () => {
        await call('q')
        return handler.stats().cache.hits
      })
      .toBeGreaterThan(0)
  })

  it('costs a miss when it is the right entry of another request', async () => {
    const { handler, call } = cached(5_000)
    await call('one')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const [one] = (await client.keys('*')) as [string]
    await call('two')
    await expect.poll(async () => (await client.keys('*')).length).toBe(2)
    const two = (await client.keys('*')).find((key) => key !== one) as string
    await client.set(one, (await client.get(two)) ?? '')
    // `call` checks that the answer is its own.
    await call('one')
    expect(handler.stats().cache.hits).toBe(0)
  })

  it('does not return when Redis evicts keys: an entry never outlives its time', async () => {
    const { call } = cached(5_000)
    await call('q')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    const [key] = (await client.keys('*')) as [string]
    const left = await client.pTTL(key)
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(30 * 60_000)
  })
})
