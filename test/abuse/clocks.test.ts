import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { collect, createBlossom, isStackError, stack, TimeoutError } from '../../src/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { rateLimit } from '../../src/layers/rate-limit/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { chunkSource, startLocalBlossom } from '../../src/testing/index.js'
import { never } from '../support/gate.js'
import { upstreamError } from '../support/upstream.js'
import { catchWarnings } from '../support/warnings.js'
import { failure, watch } from '../support/watch.js'

beforeEach(() => void catchWarnings())
afterEach(() => void vi.restoreAllMocks())

const DAY_MS = 24 * 3_600_000

describe.each([
  ['a day ahead', DAY_MS],
  ['a day back', -DAY_MS],
  ['ten years ahead', 3_650 * DAY_MS],
])('a wall clock that jumps %s', (_, jumpMs) => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0)
    vi.useRealTimers()
  })

  const jump = () => vi.setSystemTime(Date.now() + jumpMs)
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

  it('shifts no time limit of a layer or a call', async () => {
    const calls = [
      watch(stack(() => never(), timeout({ ms: 1_000 }))()),
      watch(stack(() => never())(undefined, { timeoutMs: 1_000 })),
      watch(stack(() => never())(undefined, { deadline: performance.now() + 1_000 })),
    ]
    await pass(500)
    jump()
    await pass(499)
    expect(calls.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending'])
    await pass(1)
    expect(calls.map(({ error }) => isStackError(error, 'TIMEOUT'))).toEqual([true, true, true])
  })

  it('shifts neither the silence limit of a stream nor the time limit of its reader', async () => {
    const silent = stack(
      () => chunkSource(['a'], { stall: true }),
      timeout({ ms: 600_000, idleMs: 1_000 }),
    )
    const read = watch(silent().then(collect))
    const unread = await stack(() => chunkSource(['a', 'b']))()
    await pass(500)
    jump()
    await pass(499)
    expect(read.state).toBe('pending')
    await pass(1)
    expect(read.error).toMatchObject({ code: 'TIMEOUT', phase: 'idle' })
    await pass(28_999)
    jump()
    await pass(1)
    expect(await failure(unread.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
  })

  it('opens, half-opens and closes no breaker', async () => {
    let isUp = false
    const states: string[] = []
    const ask = stack(
      async () => (isUp ? 'ok' : Promise.reject(new Error('down'))),
      breaker({
        minimumCalls: 4,
        windowMs: 10_000,
        resetMs: 1_000,
        onStateChange: (state) => states.push(state),
      }),
    )
    for (let i = 0; i < 3; i++) await failure(ask())
    jump()
    // The window has not been passed over: this is the fourth.
    await failure(ask())
    expect(states).toEqual(['open'])
    jump()
    expect(await failure(ask())).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 1_000 })
    await pass(999)
    expect(ask.stats().breaker.state).toBe('open')
    await pass(1)
    expect(ask.stats().breaker.state).toBe('half-open')
    isUp = true
    jump()
    expect(await ask()).toBe('ok')
    expect(states).toEqual(['open', 'half-open', 'closed'])
    await ask.close()
  })

  it('leaves the rate of a limit and the pause of a pool unchanged', async () => {
    const begun: number[] = []
    const ask = stack(
      async () => void begun.push(performance.now()),
      rateLimit({ by: 'all', requests: { limit: 2, intervalMs: 2_000, burst: 2 } }),
    )
    const since = performance.now()
    const all = Promise.all([ask(), ask(), ask(), ask()])
    await pass(400)
    jump()
    await pass(599)
    expect(begun).toHaveLength(2)
    await pass(1_001)
    await all
    expect(begun.map((at) => at - since)).toEqual([0, 0, 1_000, 2_000])
    const asked: (number | undefined)[] = []
    const members = stack(
      async (_: string, { transport }) => {
        asked.push(transport?.member)
        if (asked.length === 1) throw upstreamError('RATE_LIMITED', { retryAfter: 1_000 })
      },
      pool({ members: [{}, {}] }),
    )
    await failure(members('a'))
    jump()
    await pass(999)
    for (let i = 0; i < 3; i++) await members('b')
    expect(new Set(asked.slice(1))).toEqual(new Set([1]))
    await pass(1)
    for (let i = 0; i < 4; i++) await members('c')
    expect(new Set(asked.slice(4))).toEqual(new Set([0, 1]))
    await members.close()
  })

  it('neither lengthens nor shortens a backoff or a requested wait', async () => {
    const at: number[] = []
    const failing = (error: Error) => async () => {
      at.push(performance.now())
      throw error
    }
    const backoff = stack(
      failing(new Error('down')),
      retry({ retries: 2, minDelayMs: 1_000, random: () => 0.5, budget: false }),
    )
    const asked = stack(
      failing(upstreamError('RATE_LIMITED', { retryAfter: 2_000 })),
      retry({ retries: 1, random: () => 0 }),
    )
    for (const [ask, waits] of [[backoff, [500, 1_000]] as const, [asked, [2_000]] as const]) {
      at.length = 0
      const call = watch(ask())
      for (let i = 0; i < 40; i++) {
        await pass(50)
        if (i % 3 === 0) jump()
      }
      expect(call.state).toBe('rejected')
      expect(at.slice(1).map((moment, i) => moment - at[i]!)).toEqual(waits)
    }
  })

  it('ages nothing in memory', async () => {
    let calls = 0
    const ask = stack(async () => ++calls, cache({ ttlMs: 1_000, staleMs: 1_000 }))
    await ask()
    await pass(999)
    jump()
    expect(await ask()).toBe(1)
    expect(ask.stats().cache).toMatchObject({ hits: 1, stale: 0 })
    await pass(2)
    expect(await ask()).toBe(1)
    expect(ask.stats().cache.stale).toBe(1)
    await pass(0)
    expect(calls).toBe(2)
  })

  it('leaves the retry budget and a filling batch unchanged', async () => {
    const ask = stack(
      async () => Promise.reject(new Error('down')),
      retry({ retries: 1, minDelayMs: 0, budget: { ratio: 0, floor: 2, windowMs: 10_000 } }),
    )
    for (let i = 0; i < 4; i++) {
      const call = watch(ask())
      await pass(10)
      jump()
      expect(call.state).toBe('rejected')
    }
    expect(ask.stats().retry).toMatchObject({ retries: 2, refused: 2 })
    const batches: number[][] = []
    const keep = async (list: number[]) => {
      batches.push(list)
      return list
    }
    const batched = stack(keep, batcher({ maxDelayMs: 100 }))
    const both = Promise.all([batched([1]), batched([2])])
    await pass(50)
    jump()
    await pass(49)
    expect(batches).toEqual([])
    await pass(1)
    expect([await both, batches]).toEqual([[[1], [2]], [[1, 2]]])
  })
})

/** Keeps the event loop from turning. */
const block = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('an event loop that was blocked', () => {
  it('runs each overdue attempt once', async () => {
    const asked = new Map<number, number>()
    const ask = stack(
      async (n: number) => {
        const attempt = (asked.get(n) ?? 0) + 1
        asked.set(n, attempt)
        if (attempt < 3) throw new Error('down')
        return n
      },
      retry({ retries: 2, minDelayMs: 20, maxDelayMs: 40, random: () => 0.9, budget: false }),
    )
    const calls = Promise.all(Array.from({ length: 20 }, (_, n) => ask(n)))
    await pause(1)
    block(200)
    expect(await calls).toHaveLength(20)
    expect([...asked.values()].every((attempts) => attempts === 3)).toBe(true)
  })

  it('lets no more calls run than a queue allows, begins none that was too late, and keeps a limit', async () => {
    let running = 0
    let most = 0
    const begun: number[] = []
    const ask = stack(
      async (_: number) => {
        begun.push(performance.now())
        most = Math.max(most, ++running)
        await pause(90)
        running--
      },
      rateLimit({ by: 'all', requests: { limit: 4, intervalMs: 100, burst: 1 } }),
      queue({ concurrency: 3 }),
    )
    const calls = Array.from({ length: 12 }, (_, n) => ask(n))
    const late = failure(ask(99, { timeoutMs: 30 }))
    await pause(1)
    block(300)
    await Promise.all(calls)
    expect(isStackError(await late)).toBe(true)
    expect(begun).toHaveLength(12)
    expect(most).toBe(3)
    // Never more than four in any 100 ms; they are seen a little after they begin.
    for (let i = 4; i < begun.length; i++) expect(begun[i]! - begun[i - 4]!).toBeGreaterThan(50)
    expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
  })

  it('lets exactly one trial through when a breaker half-opened meanwhile, and gives the permit of a lost one back', async () => {
    let trials = 0
    let isUp = false
    const ask = stack(
      async () => {
        if (isUp) return 'ok'
        if (trials++ > 0) await never()
        throw new Error('down')
      },
      breaker({ minimumCalls: 1, resetMs: 50 }),
    )
    await failure(ask())
    block(200)
    await pause(1)
    const watched = Array.from({ length: 10 }, () => watch(ask()))
    await pause(1)
    // One waits for its verdict, the others are refused.
    expect(watched.filter(({ state }) => state === 'pending')).toHaveLength(1)
    expect(watched.filter(({ error }) => isStackError(error, 'BREAKER_OPEN'))).toHaveLength(9)
    expect(trials).toBe(2)
    isUp = true
    block(200)
    expect(await ask()).toBe('ok')
    expect(ask.stats().breaker.state).toBe('closed')
    await ask.close({ timeoutMs: 0 })
  })

  it('does not treat a stream as silent when its chunks came meanwhile within the process', async () => {
    const source = chunkSource(
      Array.from({ length: 12 }, (_, i) => i),
      { delayMs: 10 },
    )
    const ask = stack(() => source, timeout({ ms: 60_000, idleMs: 100 }))
    const read = ask().then(collect)
    await pause(25)
    block(300)
    expect(await read).toHaveLength(12)
    expect(ask.stats().timeout.fired).toBe(0)
  })

  it('delivers a batch, a shared call and its notes once', async () => {
    let calls = 0
    const ask = stack(
      async (list: number[]) => {
        calls++
        await pause(5)
        return list.map((n) => n * 2)
      },
      dedupe(),
      batcher({ maxDelayMs: 20 }),
    )
    const all = Promise.all([ask([1]), ask([2]), ask([1]), ask([2])])
    block(200)
    expect(await all).toEqual([[2], [4], [2], [4]])
    expect(calls).toBe(1)
    expect(ask.stats()).toMatchObject({
      batcher: { batches: 1 },
      dedupe: { joined: 2, inFlight: 0 },
    })
  })

  it('ends a call over the network as an answer or as too late, once, and the next one well', async () => {
    await using upstream = await startLocalBlossom({ latencyMs: 20 })
    await using blossom = createBlossom({ baseURL: upstream.url }).use(
      timeout({ ms: 100 }),
      queue({ concurrency: 2 }),
    )
    await blossom.text.generate('warm', { timeoutMs: 10_000 }).catch(() => {})
    const before = blossom.stats()
    for (let round = 0; round < 5; round++) {
      const call = blossom.text.generate(`Hello ${round}`).then(
        ({ text }) => text,
        (error: unknown) => error,
      )
      await pause(10 * round)
      block(250)
      const ended = await call
      // A limit that has passed is kept, also when the answer lies unread in the socket: timers go
      // before it is read.
      if (typeof ended !== 'string') expect(ended).toBeInstanceOf(TimeoutError)
    }
    const { timeout: limits, queue: slots } = blossom.stats()
    expect(slots).toMatchObject({ running: 0, waiting: 0 })
    expect(slots.completed - before.queue.completed + (slots.failed - before.queue.failed)).toBe(5)
    expect(limits.fired - before.timeout.fired).toBe(slots.failed - before.queue.failed)
  })
})
