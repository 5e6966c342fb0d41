import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBlossom, dedupe } from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { Process } from './process.js'
import { sharedRedis } from './shared-redis.js'

const redis = sharedRedis()
/** Longer than a lease lasts, or than anything takes on a busy machine. */
const LONG = { timeout: 30_000 }
let upstream: LocalBlossom
let started: Process[]

beforeEach(async () => {
  started = []
  // Slow enough for calls of several processes to meet.
  upstream = await startLocalBlossom({
    latencyMs: 300,
    chunkDelayMs: ({ body }) => (JSON.stringify(body).includes('slowly') ? 400 : 15),
    words: 40,
    coalesce: false,
  })
})

afterEach(async () => {
  for (const one of started) await one.kill()
  await upstream.close()
})

/** Real processes. */
async function start(count: number): Promise<Process[]> {
  started = await Promise.all(
    Array.from({ length: count }, () => Process.start(redis.server.url, upstream.url, ['dedupe'])),
  )
  return started
}

/** One of several states in this process. */
async function client() {
  const shared = await redis.connected()
  return createBlossom({ baseURL: upstream.url }).use(dedupe({ shared }))
}

const requests = () => upstream.requests.length
const textOf = async (stream: AsyncIterable<{ text: string }>) => {
  let text = ''
  for await (const piece of stream) text += piece.text
  return text
}

describe('single-flight over four processes', () => {
  it.each(['generate', 'stream'] as const)('makes one call for forty: %s', async (how) => {
    const processes = await start(4)
    const calls = processes.flatMap((one) =>
      Array.from({ length: 10 }, () => one.ask(how, 'What is the sea?')),
    )
    const reports = await Promise.all(calls.map(({ ended }) => ended))
    expect(reports.filter(({ failed }) => failed)).toEqual([])
    expect(new Set(reports.map(({ text }) => text)).size).toBe(1)
    expect(requests()).toBe(1)
  })

  it('gives a late joiner in another process every chunk', async () => {
    const [one, two] = (await start(2)) as [Process, Process]
    const first = one.ask('stream', 'What is the sea?')
    await expect.poll(() => first.pieces.length, LONG).toBeGreaterThan(10)
    const late = two.ask('stream', 'What is the sea?')
    const { text } = await first.ended
    expect((await late.ended).text).toBe(text)
    expect(late.pieces).toEqual(first.pieces)
    expect(requests()).toBe(1)
  })

  it('takes over from a frozen owner, which then writes nothing into the new answer', async () => {
    const [one, two, three] = (await start(3)) as [Process, Process, Process]
    const first = one.ask('stream', 'What is the sea?')
    await upstream.waitFor(() => requests() === 1)
    const followers = [two, three].map((each) => each.ask('stream', 'What is the sea?'))
    one.freeze()
    await expect.poll(() => followers.some(({ pieces }) => pieces.length > 3), LONG).toBe(true)
    one.thaw()
    const reports = await Promise.all([first, ...followers].map(({ ended }) => ended))
    expect(reports.filter(({ failed }) => failed)).toEqual([])
    expect(new Set(reports.map(({ text }) => text)).size).toBe(1)
    // Its own caller has its own answer.
    expect(requests()).toBe(2)
  })

  describe('whose owner is killed', () => {
    it('before it is answered lets another process make the call', async () => {
      const [one, two] = (await start(2)) as [Process, Process]
      upstream.fault({ hang: true })
      one.ask('generate', 'What is the sea?')
      await upstream.waitFor(() => requests() === 1)
      const follower = two.ask('generate', 'What is the sea?')
      await one.kill()
      expect((await follower.ended).text).not.toBe('')
      expect(requests()).toBe(2)
    })

    it('after others have begun to read fails their streams with the reason', async () => {
      const [one, two] = (await start(2)) as [Process, Process]
      one.ask('stream', 'What is the sea? Tell it slowly.')
      await upstream.waitFor(() => requests() === 1)
      const follower = two.ask('stream', 'What is the sea? Tell it slowly.')
      await expect.poll(() => follower.pieces.length, LONG).toBeGreaterThan(3)
      await one.kill()
      expect((await follower.ended).failed).toEqual({ code: 'STREAM', cause: 'OWNER_LOST' })
      expect(requests()).toBe(1)
      // Nothing of it is in the way of the next call.
      expect((await two.ask('stream', 'What is the sea?').ended).text).not.toBe('')
      expect(requests()).toBe(2)
    })
  })
})

describe('single-flight over processes', () => {
  it('shares a failure of upstream', async () => {
    const [one, two] = [await client(), await client()]
    upstream.fault({ status: 400, delayMs: 300 })
    const calls = await Promise.allSettled([one.text.generate('Hi'), two.text.generate('Hi')])
    for (const call of calls)
      expect(call).toMatchObject({
        status: 'rejected',
        reason: { code: 'BAD_REQUEST', status: 400 },
      })
    expect(requests()).toBe(1)
  })

  it('goes on for callers in another process when all of its own have left', async () => {
    const [one, two] = [await client(), await client()]
    const leaving = new AbortController()
    const first = one.text.generate('Hi', { signal: leaving.signal })
    first.catch(() => {})
    await upstream.waitFor(() => requests() === 1)
    const second = two.text.generate('Hi')
    await expect.poll(async () => (await redis.client.keys('*:readers')).length).toBe(1)
    leaving.abort()
    await expect(first).rejects.toThrow()
    expect((await second).text).not.toBe('')
    expect(requests()).toBe(1)
  })

  it('stops when the last caller of any process has left', async () => {
    const [one, two] = [await client(), await client()]
    const leaving = [new AbortController(), new AbortController()] as const
    upstream.fault({ hang: true })
    const first = one.text.generate('Hi', { signal: leaving[0].signal })
    await upstream.waitFor(() => requests() === 1)
    const second = two.text.generate('Hi', { signal: leaving[1].signal })
    await expect.poll(async () => (await redis.client.keys('*:readers')).length).toBe(1)
    leaving[0].abort()
    await expect(first).rejects.toThrow()
    expect(upstream.active).toBe(1)
    leaving[1].abort()
    await expect(second).rejects.toThrow()
    await upstream.waitFor(({ active }) => active === 0)
    expect(requests()).toBe(1)
  })

  it('lets each process make its own call while Redis is frozen, and shares calls again afterwards', async () => {
    const [one, two] = [await client(), await client()]
    redis.server.freeze()
    await Promise.all([one.text.generate('Hi'), two.text.generate('Hi')])
    expect(requests()).toBe(2)
    redis.server.thaw()
    await expect
      .poll(
        async () => {
          upstream.reset()
          await Promise.all([one.text.generate('Hi'), two.text.generate('Hi')])
          return requests()
        },
        { timeout: 20_000 },
      )
      .toBe(1)
  })

  it('sends one command to Redis before the call, and none while it waits for upstream', async () => {
    const one = await client()
    const evals = async () => {
      const text = await redis.client.info('commandstats')
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(text)?.[1] ?? 0)
    }
    await one.text.generate('Hi')
    const before = await evals()
    await one.text.generate('Hello')
    // The claim, and the answer, which nobody waits for.
    await expect.poll(evals).toBe(before + 2)
  })

  it('gives everything in Redis a time to live, and stores no prompt or key', async () => {
    const [one, two] = [await client(), await client()]
    await Promise.all([
      one.text.stream('a very private prompt').then(textOf),
      two.text.stream('a very private prompt').then(textOf),
    ])
    const keys = await redis.client.keys('blossom:*')
    expect(keys.length).toBeGreaterThan(2)
    for (const key of keys) {
      // -2: it is gone; -1 would be for ever.
      expect(await redis.client.ttl(key)).not.toBe(-1)
      expect(key).not.toMatch(/private|sk_/)
    }
  })
})
