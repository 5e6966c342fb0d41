import { describe, expect, it } from 'vitest'
import type { TokenUsage } from '../../../src/core/index.js'
import { base, onEvent, rateLimit, type StackEvent, stack } from '../../../src/index.js'
import type { RateLimitOptions } from '../../../src/layers/rate-limit/index.js'
import { failure } from '../../support/watch.js'
import { sharedRedis } from './shared-redis.js'

const redis = sharedRedis()

interface Ask {
  readonly input: number
  readonly output?: number
  /** What is reserved for the output. */
  readonly allows?: number
  readonly fails?: boolean
}

/** One of several processes: a stack with shared state of its own. */
async function join(options: RateLimitOptions<'rateLimit', Ask>) {
  const shared = redis.open()
  const layer = rateLimit({ mode: 'reject', by: 'all', ...options, shared })
  const ask = base(
    async ({ input, output = 0, fails }: Ask) => {
      if (fails) throw new Error('the function failed')
      return { usage: { input, output } }
    },
    {
      weigh: ({ input, output = 0, allows = output }: Ask) => ({ input, output: allows }),
      usage: (answer) => (answer as { usage: TokenUsage }).usage,
    },
  )
  const handler = stack(ask, layer)
  await expect.poll(() => shared.stats().operations, { timeout: 10_000 }).toBeGreaterThan(0)
  return { shared, layer, handler }
}

const ONE: Ask = { input: 1 }
/** How many of so many calls at once are let through. */
async function admitted(
  { handler }: Awaited<ReturnType<typeof join>>,
  calls: number,
  ask = ONE,
): Promise<number> {
  const results = await Promise.allSettled(Array.from({ length: calls }, () => handler(ask)))
  return results.filter(({ status }) => status === 'fulfilled').length
}

/** A bucket that hardly fills while a test runs. */
const slow = (limit: number) => ({ limit, intervalMs: 24 * 3_600_000, burst: limit })

describe('a limit that several processes share', () => {
  it('lets exactly as many through as one process would, when it is exact', async () => {
    const limits = { requests: slow(100), exact: true }
    const processes = await Promise.all([join(limits), join(limits), join(limits)])
    const counts = await Promise.all(processes.map((process) => admitted(process, 60)))
    expect(counts.reduce((sum, count) => sum + count)).toBe(100)
  })

  it('takes no more than the limit where processes borrow, and wastes at most what they hold', async () => {
    const limits = { requests: slow(100) }
    const processes = await Promise.all([join(limits), join(limits), join(limits)])
    const counts = await Promise.all(processes.map((process) => admitted(process, 60)))
    const all = counts.reduce((sum, count) => sum + count)
    expect(all).toBeLessThanOrEqual(100)
    expect(all).toBeGreaterThanOrEqual(100 - 3 * 5)
  })

  it('asks Redis once for a share, then decides alone', async () => {
    const process = await join({ requests: slow(1_000) })
    await process.handler(ONE)
    const { operations } = process.shared.stats()
    expect(await admitted(process, 40)).toBe(40)
    expect(process.shared.stats().operations - operations).toBeLessThanOrEqual(1)
  })

  it('gives back what it has borrowed and not used', async () => {
    const limits = { requests: slow(100) }
    const [one, two] = [await join(limits), await join({ ...limits, exact: true })]
    await one.handler(ONE)
    await expect.poll(() => admitted(two, 1), { timeout: 10_000, interval: 100 }).toBe(1)
    await one.handler.close()
    await one.shared.close()
    let rest = 0
    while ((await admitted(two, 10)) > 0) rest += 10
    expect(rest).toBeGreaterThanOrEqual(90)
  })

  it('refuses by all limits or by none, and a refused call takes nothing', async () => {
    const tokens = slow(50)
    const [one, two] = [
      await join({ requests: slow(100), tokens, exact: true }),
      await join({ requests: slow(100), exact: true }),
    ]
    await one.handler({ input: 20, output: 20 })
    for (let i = 0; i < 20; i++)
      expect(await failure(one.handler({ input: 10, output: 10 }))).toMatchObject({
        code: 'RATE_LIMITED',
        unit: 'tokens',
      })
    expect(await admitted(two, 120)).toBe(99)
  })

  it('settles the actual usage of a call', async () => {
    const limits = { tokens: slow(1_000), exact: true }
    const [one, two] = [await join(limits), await join(limits)]
    await one.handler({ input: 100, output: 100, allows: 700 })
    await expect.poll(() => admitted(two, 1, { input: 790, allows: 0 })).toBe(1)
    expect(await admitted(one, 1, { input: 20, allows: 0 })).toBe(0)
  })

  it('enforces a budget across processes, warns once, and refuses calls beyond it', async () => {
    const price = (_: string, { input }: TokenUsage) => input
    const limits = { cost: { limit: 10, per: 'day', price }, exact: true } as const
    const [one, two] = [await join(limits), await join(limits)]
    const told: StackEvent[] = []
    const stop = onEvent((event) => void (event.type === 'budget' && told.push(event)))
    await one.handler({ input: 5 })
    await two.handler({ input: 4, allows: 0 })
    expect(await failure(one.handler({ input: 2 }))).toMatchObject({ code: 'BUDGET', status: 402 })
    await two.handler({ input: 1, allows: 0 })
    await expect.poll(() => told).toHaveLength(1)
    // By when it is settled, the last call is in it.
    expect([9, 10]).toContain((told[0] as { spent?: number }).spent)
    stop()
  })

  it('lets everything in Redis expire, even for a call that is refused at once', async () => {
    const price = (_: string, { input }: TokenUsage) => input
    const cost = { limit: 10, per: 'day', price } as const
    const { handler } = await join({ cost, tokens: slow(100), by: 'tenant', exact: true })
    expect(await failure(handler({ input: 11 }, { tenant: 'a' }))).toMatchObject({ code: 'BUDGET' })
    await handler({ input: 1, allows: 5 }, { tenant: 'b' })
    await expect.poll(async () => (await redis.client.keys('*')).length).toBeGreaterThan(2)
    for (const key of await redis.client.keys('*'))
      expect(await redis.client.pTTL(key)).not.toBe(-1)
  })

  it('keeps no name of a tenant in Redis', async () => {
    const { handler } = await join({ requests: 60, by: 'tenant' })
    await handler(ONE, { tenant: 'a-secret-tenant' })
    const keys = await redis.client.keys('*')
    expect(keys).toHaveLength(1)
    expect(keys[0]).toMatch(/^blossom:limit:/)
    expect(keys[0]).not.toContain('tenant')
  })
})

describe('a shared limit whose Redis fails', () => {
  it('gives each process its share while Redis is gone, says so, and is shared again', async () => {
    const limits = { requests: slow(100), exact: true }
    const [one, two] = [await join(limits), await join(limits)]
    await expect
      .poll(() => [one, two].map(({ shared }) => shared.stats().processes), { timeout: 15_000 })
      .toEqual([2, 2])
    expect(await admitted(one, 30)).toBe(30)
    await redis.server.kill()
    const meta = new Map<string, unknown>()
    await one.handler(ONE, { meta })
    expect(meta.get('rateLimit')).toMatchObject({ alone: true })
    expect(await admitted(one, 100)).toBe(49)
    expect(await admitted(two, 100)).toBe(50)
    await redis.server.start()
    await expect.poll(() => admitted(one, 1), { timeout: 20_000, interval: 200 }).toBe(1)
  })

  it('keeps no call for longer than its time limit while Redis is frozen', async () => {
    const process = await join({ requests: slow(1_000), exact: true })
    redis.server.freeze()
    const { operations } = process.shared.stats()
    for (let i = 0; i < 50; i++) await process.handler(ONE)
    expect(process.shared.stats().operations - operations).toBeLessThanOrEqual(6)
    redis.server.thaw()
  })

  it('forgets its levels when Redis is wiped, and carries on', async () => {
    const process = await join({ requests: slow(10), exact: true })
    expect(await admitted(process, 20)).toBe(10)
    await redis.client.flushAll()
    expect(await admitted(process, 20)).toBe(10)
  })
})
