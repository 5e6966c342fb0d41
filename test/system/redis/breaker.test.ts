import { describe, expect, it } from 'vitest'
import { base, breaker, onEvent, type StackEvent, stack } from '../../../src/index.js'
import type { BreakerOptions } from '../../../src/layers/breaker/index.js'
import { type Gate, gate } from '../../support/gate.js'
import { failure, watch } from '../../support/watch.js'
import { eventually, PATIENT_MS, sharedRedis, TIMEOUT_MS } from './shared-redis.js'

const redis = sharedRedis()

interface Ask {
  readonly model: string
  readonly fails?: boolean
  readonly work?: Gate<string>
}

const OPTIONS = { minimumCalls: 2, resetMs: 1_500, key: 'model' } as const

/** One of several processes: a stack with shared state of its own. */
async function join(options: BreakerOptions<'breaker', Ask> = {}, timeoutMs = PATIENT_MS) {
  const shared = redis.open({ timeoutMs })
  const layer = breaker({ ...OPTIONS, ...options, shared })
  let ran = 0
  const ask = stack(
    base(
      async ({ fails, work }: Ask) => {
        ran++
        if (work !== undefined) return work.promise
        if (fails) throw new Error('the function failed')
        return 'answer'
      },
      { model: ({ model }) => model },
    ),
    layer,
  )
  const fail = async (model: string) => {
    for (let i = 0; i < 2; i++) await ask({ model, fails: true }).catch(() => {})
  }
  await eventually(() => shared.stats().operations).toBeGreaterThan(1)
  return { shared, layer, ask, fail, ran: () => ran }
}

/** So many processes that hear each other. */
const joinAll = (count: number, options: BreakerOptions<'breaker', Ask> = {}, timeoutMs?: number) =>
  redis.joined(count, () => join(options, timeoutMs))

const MODEL = { model: 'a-secret-model' }
const statesOf = (all: readonly Awaited<ReturnType<typeof join>>[]) =>
  all.map(({ layer }) => layer.state(MODEL.model))
const isOpen = { code: 'BREAKER_OPEN' }

describe('a circuit that several processes share', () => {
  it('opens in all of them by one message, runs one trial, and closes in all', async () => {
    const all = await joinAll(3)
    const [one] = all
    for (const { ask } of all) await ask(MODEL)
    await one!.fail(MODEL.model)
    await eventually(() => statesOf(all), { interval: 1 }).toEqual(['open', 'open', 'open'])
    expect(all.map(({ ask }) => ask.stats().breaker.heard)).toEqual([0, 1, 1])
    expect(await failure(all[1]!.ask(MODEL))).toMatchObject(isOpen)
    await eventually(() => statesOf(all)).toEqual(Array(3).fill('half-open'))
    const work = gate<string>()
    const ranBefore = all.map(({ ran }) => ran())
    const calls = all.flatMap(({ ask }) => [1, 2, 3].map(() => watch(ask({ ...MODEL, work }))))
    await eventually(() => calls.filter(({ state }) => state === 'pending')).toHaveLength(1)
    expect(all.reduce((sum, { ran }, i) => sum + ran() - ranBefore[i]!, 0)).toBe(1)
    for (const { error } of calls.filter(({ state }) => state === 'rejected'))
      expect(error).toMatchObject(isOpen)
    work.open('done')
    await eventually(() => statesOf(all), { interval: 1 }).toEqual(Array(3).fill('closed'))
    for (const { ask } of all) expect(await ask(MODEL)).toBe('answer')
  })

  it('is reported as opened elsewhere by the first call that meets it', async () => {
    const [one, two] = await joinAll(2)
    await two!.ask(MODEL)
    const events: StackEvent[] = []
    const stop = onEvent((event) => void (event.type === 'breaker' && events.push(event)))
    await one!.fail(MODEL.model)
    await eventually(() => two!.layer.state(MODEL.model)).toBe('open')
    await failure(two!.ask(MODEL))
    expect(events).toMatchObject([{ state: 'open' }, { state: 'open', elsewhere: true }])
    stop()
  })

  it('sends nothing to Redis while it is closed, and asks once which circuits are open', async () => {
    await redis.client.configResetStat()
    const one = await join({ minimumCalls: 10 })
    for (let i = 0; i < 200; i++)
      await one.ask({ model: `model ${i % 20}`, fails: i % 50 === 25 }).catch(() => {})
    expect(one.layer.state()).toBe('closed')
    const counts = async () => {
      const said = await redis.client.info('commandstats')
      const all = [...said.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)]
      return Object.fromEntries(all.map(([, name, calls]) => [name, Number(calls)]))
    }
    // The script that reads the open ones, unknown at first; heartbeats are published.
    await eventually(counts).toMatchObject({ evalsha: 1, eval: 1, hgetall: 1 })
    for (const name of ['set', 'get', 'hget', 'hset', 'del', 'hdel'])
      expect(await counts()).not.toHaveProperty(name)
  })

  it('is open from the start for a process that comes later, until its end', async () => {
    const one = await join({ resetMs: 8_000 })
    await one.fail(MODEL.model)
    const two = await join({ resetMs: 8_000 })
    // What it has read is there soon; no call waits for it.
    await eventually(() => two.ask(MODEL).catch(({ code }) => code)).toBe(isOpen.code)
    const error = await failure(two.ask(MODEL))
    expect((error as { retryAfter: number }).retryAfter).toBeLessThanOrEqual(8_000)
    expect(two.ask.stats().breaker).toMatchObject({ opened: 1, heard: 1 })
    one.layer.reset(MODEL.model)
    await eventually(() => two.layer.state(MODEL.model)).toBe('closed')
    const three = await join({ resetMs: 8_000 })
    expect(await three.ask(MODEL)).toBe('answer')
  })

  it('lets everything in Redis expire, and stores no key of a caller', async () => {
    const one = await join()
    await one.fail(MODEL.model)
    await eventually(() => redis.client.keys('*')).not.toEqual([])
    await eventually(() => one.layer.state()).toBe('half-open')
    const work = gate<string>()
    const trial = watch(one.ask({ ...MODEL, work }))
    await eventually(() => redis.client.keys('*:circuits:*')).not.toEqual([])
    for (const key of await redis.client.keys('*')) {
      expect(key).not.toContain('secret')
      // -1 is a key without a limit; one that has just expired is -2.
      expect(await redis.client.pTTL(key)).not.toBe(-1)
    }
    work.open('done')
    await eventually(() => trial.value).toBe('done')
    await eventually(() => redis.client.keys('*')).toEqual([])
  })

  it('passes the trial of a killed process to another one after its time limit', async () => {
    const [one, two] = await joinAll(2)
    await two!.ask(MODEL)
    await one!.fail(MODEL.model)
    await eventually(() => statesOf([one!, two!])).toEqual(['half-open', 'half-open'])
    const never = gate<string>()
    watch(one!.ask({ ...MODEL, work: never }))
    await eventually(() => redis.client.keys('*:circuits:*')).not.toEqual([])
    // From now on it is silent.
    await one!.shared.close()
    expect(await failure(two!.ask(MODEL))).toMatchObject(isOpen)
    await eventually(() => two!.ask(MODEL).catch(() => 'refused'), { interval: 50 }).toBe('answer')
  })

  it('ignores messages that are not from the library', async () => {
    const one = await join()
    await one.ask(MODEL)
    const { client } = redis
    const about = { from: 'somebody', breaker: 'breaker', key: 'x' }
    for (const message of [
      { ...about, type: 'opened' },
      { ...about, type: 'opened', openings: 0, ms: 5 },
      { ...about, type: 'opened', openings: 1, ms: -1 },
      { ...about, type: 'opened', openings: 1.5, ms: 5 },
      { ...about, type: 'opened', openings: 1, ms: '5' },
      { ...about, type: 'closed', key: 5 },
      { from: 'somebody', type: 'freed', queue: 1, to: 2 },
      { from: 'somebody', type: 'freed' },
      null,
      5,
      [],
    ])
      await client.publish('blossom:messages', JSON.stringify(message))
    await client.publish('blossom:messages', '{')
    await client.publish(
      'blossom:messages',
      `{"type":"opened","from":"a","breaker":"breaker","key":"x","openings":1,"ms":1e999}`,
    )
    await one.fail(MODEL.model)
    expect(one.layer.state()).toBe('open')
  })
})

describe('a shared circuit whose Redis fails', () => {
  it.each(['killed', 'frozen'] as const)(
    'decides alone while Redis is %s, and says so for the trial',
    async (how) => {
      const [one, two] = await joinAll(2, { resetMs: 500 }, TIMEOUT_MS)
      await two!.ask(MODEL)
      if (how === 'killed') await redis.server.kill()
      else redis.server.freeze()
      await one!.fail(MODEL.model)
      expect(statesOf([one!, two!])).toEqual(['open', 'closed'])
      expect(await two!.ask(MODEL)).toBe('answer')
      await eventually(() => one!.layer.state(MODEL.model)).toBe('half-open')
      const meta = new Map<string, unknown>()
      const since = performance.now()
      expect(await one!.ask(MODEL, { meta })).toBe('answer')
      expect(performance.now() - since).toBeLessThan(1_000)
      expect(meta.get('breaker')).toEqual({ alone: true })
      expect(one!.layer.state(MODEL.model)).toBe('closed')
      if (how === 'frozen') redis.server.thaw()
    },
  )

  it('is shared again when Redis is back', async () => {
    const [one, two] = await joinAll(2)
    for (const { ask } of [one!, two!]) await ask(MODEL)
    await redis.server.kill()
    await one!.fail(MODEL.model)
    await redis.server.start()
    await eventually(
      async () => {
        one!.layer.reset(MODEL.model)
        await one!.fail(MODEL.model)
        return two!.layer.state(MODEL.model)
      },
      { timeout: 30_000, interval: 200 },
    ).toBe('open')
  })

  it('catches up on messages missed while its connection was lost', async () => {
    const [one, two] = await joinAll(2, { resetMs: 30_000 })
    for (const { ask } of [one!, two!]) await ask(MODEL)
    // Of all connections that listen, none is left.
    await redis.client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub'])
    await one!.fail(MODEL.model)
    await eventually(() => two!.layer.state(MODEL.model), { timeout: 15_000 }).toBe('open')
  })

  it('forgets trials when Redis is wiped, and carries on', async () => {
    const [one, two] = await joinAll(2, { resetMs: 500 })
    await two!.ask(MODEL)
    await one!.fail(MODEL.model)
    await eventually(() => two!.layer.state(MODEL.model)).toBe('open')
    await redis.client.flushAll()
    await eventually(() => two!.ask(MODEL).catch(() => 'refused'), { interval: 50 }).toBe('answer')
    await eventually(() => statesOf([one!, two!])).toEqual(['closed', 'closed'])
  })
})
