import KeyvRedis from '@keyv/redis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { base, cache, createBlossom, stack } from '../../src/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { impatientClient, RedisServer } from '../support/redis-server.js'

const PATIENTLY = { timeout: 10_000, interval: 100 }

describe('cache in Redis', () => {
  let redis: RedisServer
  let client: Awaited<ReturnType<typeof impatientClient>>
  const asked: string[] = []

  beforeEach(async () => {
    asked.length = 0
    redis = await RedisServer.start()
    client = await impatientClient(redis.url)
  })
  afterEach(async () => {
    client.destroy()
    await redis.remove()
  })

  const store = () => new KeyvRedis(client as never, { throwOnConnectError: false })
  const ask = base(
    async (request: string) => {
      asked.push(request)
      return { answer: `to ${request}`, bytes: new Uint8Array([1, 2, 3]) }
    },
    { key: (request) => request },
  )
  /** Asks once more, and gives the hits of the cache. */
  const hitsOf = async (handler: {
    (request: string): Promise<unknown>
    stats(): { readonly cache: { readonly hits: number } }
  }) => {
    await handler('Hi')
    return handler.stats().cache.hits
  }

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
    await redis.kill()
    expect(await handler('Hi')).toMatchObject({ answer: 'to Hi' })
    expect(handler.stats().cache).toMatchObject({ hits: 0, misses: 2 })
    await redis.start()
    await expect.poll(() => hitsOf(handler), PATIENTLY).toBeGreaterThan(0)
  })

  it('costs a miss within its time limit while Redis is frozen', async () => {
    const handler = stack(ask, cache({ store: store(), storeTimeoutMs: 100 }))
    await handler('Hi')
    await expect.poll(async () => (await client.keys('*')).length).toBe(1)
    redis.freeze()
    // The test's own limit is the check: a call that hung on the store would never answer.
    for (let i = 0; i < 20; i++) expect(await handler('Hi')).toMatchObject({ answer: 'to Hi' })
    expect(handler.stats().cache.hits).toBe(0)
    redis.thaw()
    await expect.poll(() => hitsOf(handler), PATIENTLY).toBeGreaterThan(0)
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
