import { beforeEach, describe, expect, it } from 'vitest'
import { base, cache, createBlossom, stack } from '../../../src/index.js'
import type { RedisShared } from '../../../src/redis/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { sharedRedis } from './shared-redis.js'

const redis = sharedRedis()
const asked: string[] = []

beforeEach(() => {
  asked.length = 0
})

const ask = base(
  async (request: string) => {
    asked.push(request)
    return { answer: `to ${request}`, none: undefined, bytes: new Uint8Array([1, 2, 3]) }
  },
  { name: 'ask', key: (request) => request },
)

/** One of several processes: a stack with shared state of its own. */
async function join() {
  const shared = redis.open()
  const layer = cache({ shared })
  const handler = stack(ask, layer)
  // Until it is heard it would miss the messages of the others.
  await expect.poll(async () => (await subscribers()) >= redis.processes).toBe(true)
  return { shared, layer, handler }
}

const subscribers = async () =>
  Object.values(await redis.client.pubSubNumSub('blossom:messages')).reduce(
    (sum, one) => sum + one,
    0,
  )
const keys = () => redis.client.keys('blossom:cache:*')
const stored = (count: number) => expect.poll(async () => (await keys()).length).toBe(count)

/** Commands that the server has run for caches so far. */
async function commands(): Promise<number> {
  const text = await redis.client.info('commandstats')
  return ['get', 'set', 'unlink'].reduce(
    (sum, name) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(text)?.[1] ?? 0),
    0,
  )
}

describe('a cache that several processes share', () => {
  it('serves unchanged what another process has stored', async () => {
    const [one, two] = [await join(), await join()]
    await one.handler('Hi')
    await stored(1)
    expect(await two.handler('Hi')).toEqual({
      answer: 'to Hi',
      none: undefined,
      bytes: Buffer.from([1, 2, 3]),
    })
    expect(asked).toEqual(['Hi'])
    expect(two.handler.stats().cache).toMatchObject({ hits: 1, misses: 0, entries: 1 })
  })

  it('sends nothing to Redis for entries in memory, whether its own or fetched', async () => {
    const [one, two] = [await join(), await join()]
    await one.handler('Hi')
    await stored(1)
    await two.handler('Hi')
    const before = await commands()
    for (let i = 0; i < 20; i++) {
      await one.handler('Hi')
      await two.handler('Hi')
    }
    expect(await commands()).toBe(before)
    expect(asked).toEqual(['Hi'])
  })

  it('keeps the age an entry had in another process', async () => {
    const { handler } = await join()
    await handler('Hi')
    await stored(1)
    const [key = ''] = await keys()
    const entry = JSON.parse((await redis.client.get(key)) ?? '')
    await redis.client.set(key, JSON.stringify({ ...entry, at: entry.at - 30 * 60_000 + 400 }))
    const late = await join()
    await late.handler('Hi')
    expect(late.handler.stats().cache.hits).toBe(1)
    await expect
      .poll(async () => {
        await late.handler('Hi')
        return asked.length
      })
      .toBe(2)
  })

  it('keeps streams for plain calls, and neither prompt nor key in the clear', async () => {
    const upstream = await startLocalBlossom()
    const make = (shared: RedisShared) =>
      createBlossom({ apiKey: 'sk_secret_of_ours', baseURL: upstream.url }).use(cache({ shared }))
    const [one, two] = [make((await join()).shared), make((await join()).shared)]
    let text = ''
    for await (const piece of await one.text.stream('a very private prompt')) text += piece.text
    await stored(1)
    expect(await two.text.generate('a very private prompt')).toMatchObject({
      text,
      cached: true,
      attempts: 0,
    })
    const [key] = await keys()
    expect(key).not.toMatch(/private|secret/)
    expect(await redis.client.get(key ?? '')).not.toMatch(/very private prompt|secret/)
    for (const blossom of [one, two]) await blossom.close()
    await upstream.close()
  })

  it('forgets in all processes only what one of them deletes or clears', async () => {
    await redis.client.set('of another application', '1')
    const [one, two] = [await join(), await join()]
    for (const request of ['a', 'b']) {
      await one.handler(request)
      await expect.poll(async () => (await keys()).length).toBeGreaterThan(0)
    }
    await stored(2)
    for (const request of ['a', 'b']) await two.handler(request)
    const meta = new Map<string, unknown>()
    await two.handler('a', { meta })
    expect(await two.layer.delete((meta.get('cache') as { key: string }).key)).toBe(true)
    await expect.poll(() => one.handler.stats().cache.entries).toBe(1)
    await one.handler('b')
    expect(asked).toEqual(['a', 'b'])
    await one.handler('a')
    expect(asked).toEqual(['a', 'b', 'a'])
    await one.layer.clear()
    expect(await redis.client.keys('*')).toEqual(['of another application'])
    await expect.poll(() => two.handler.stats().cache.entries).toBe(0)
    await two.handler('b')
    expect(asked).toEqual(['a', 'b', 'a', 'b'])
  })

  it('does not store an answer that was under way when another process cleared it', async () => {
    let open: ((answer: string) => void) | undefined
    const slow = base((_: string) => new Promise<string>((resolve) => (open = resolve)), {
      name: 'slow',
    })
    const [one, two] = [await join(), await join()]
    const handler = stack(slow, two.layer)
    await two.handler('known')
    await stored(1)
    const answer = handler('Hi')
    // Redis has been asked before: what is asked of upstream after the message is of its time.
    await expect.poll(() => open).toBeDefined()
    await one.layer.clear()
    // By this it is seen that the message has arrived.
    await expect.poll(() => two.handler.stats().cache.entries).toBe(0)
    open?.('late')
    expect(await answer).toBe('late')
    expect(two.handler.stats().cache.entries).toBe(0)
    await stored(0)
  })

  it('keeps functions with different names apart, and requires a name', async () => {
    const { shared } = await join()
    const of = (name: string) =>
      stack(
        base(async () => name, { name }),
        cache({ shared }),
      )
    expect([await of('a')(), await of('b')()]).toEqual(['a', 'b'])
    expect(() => stack(async () => 'x', cache({ shared }))).toThrow(/needs a name/)
  })
})

describe('a shared cache whose Redis fails', () => {
  it('costs a miss while Redis is gone, says so, and shares again when it is back', async () => {
    const [one, two] = [await join(), await join()]
    await one.handler('Hi')
    await stored(1)
    await redis.server.kill()
    const meta = new Map<string, unknown>()
    expect(await two.handler('Hi', { meta })).toMatchObject({ answer: 'to Hi' })
    expect(meta.get('cache')).toMatchObject({ status: 'miss', alone: true })
    expect(meta.get('timeline')).toContainEqual(
      expect.objectContaining({ type: 'alone', layer: 'cache' }),
    )
    await redis.server.start()
    await one.handler('again')
    await expect
      .poll(
        async () => {
          await one.handler(`again ${asked.length}`)
          return (await keys()).length
        },
        { timeout: 20_000, interval: 200 },
      )
      .toBeGreaterThan(0)
  })

  it('lets go of what is in memory once Redis is back, as messages may have been missed', async () => {
    const { handler } = await join()
    await handler('Hi')
    await redis.server.kill()
    await handler('Hi')
    expect(handler.stats().cache).toMatchObject({ hits: 1, entries: 1 })
    await redis.server.start()
    await expect.poll(() => handler.stats().cache.entries, { timeout: 20_000 }).toBe(0)
  })

  it('makes no call wait for a frozen Redis after the first ones', async () => {
    const { handler, shared } = await join()
    await handler('Hi')
    await stored(1)
    redis.server.freeze()
    const { operations } = shared.stats()
    for (let i = 0; i < 50; i++) expect(await handler(`frozen ${i}`)).toBeDefined()
    // A read and a write fail each, and after three failures nothing is asked for 5 s.
    expect(shared.stats().operations - operations).toBeLessThanOrEqual(6)
    expect(shared.stats().failures).toBeGreaterThanOrEqual(3)
    redis.server.thaw()
    await expect
      .poll(
        async () => {
          await handler(`thawed ${asked.length}`)
          return (await keys()).length
        },
        { timeout: 20_000, interval: 200 },
      )
      .toBeGreaterThan(1)
  })

  it.each([
    ['wiped', async () => void (await redis.client.flushAll())],
    ['full', async () => void (await redis.client.configSet('maxmemory', '1'))],
    ['read-only', async () => void (await redis.client.configSet('min-replicas-to-write', '3'))],
  ])('answers every call while Redis is %s', async (_, fail) => {
    const [one, two] = [await join(), await join()]
    await one.handler('Hi')
    await stored(1)
    await fail()
    for (const { handler } of [one, two])
      for (let i = 0; i < 10; i++)
        expect(await handler(`question ${i}`)).toMatchObject({ answer: `to question ${i}` })
  })
})
