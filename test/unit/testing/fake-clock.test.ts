import { execFileSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Timer } from '../../../src/core/index.js'
import { breaker, cache, collect, rateLimit, retry, stack, timeout } from '../../../src/index.js'
import { chunkSource, type FakeClock, fakeClock, scripted } from '../../../src/testing/index.js'
import { never } from '../../support/gate.js'
import { failure, watch } from '../../support/watch.js'

let clock: FakeClock

beforeEach(() => {
  clock = fakeClock()
})

afterEach(() => clock.restore())

describe('fakeClock', () => {
  it('stands still until it is moved, and moves by exactly the given time', async () => {
    const start = clock.now()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(clock.now()).toBe(start)
    await clock.advance(1_234.5)
    expect(clock.now()).toBe(start + 1_234.5)
  })

  it('starts at the real time, so that call deadlines may use either clock', () => {
    expect(Math.abs(clock.now() - performance.now())).toBeLessThan(1_000)
  })

  it('runs zero-delay timers one after the other as time advances', async () => {
    const start = clock.now()
    const ran: number[] = []
    let left = 5
    const again = () => {
      ran.push(clock.now() - start)
      if (--left > 0) new Timer(0, again)
    }
    new Timer(0, again)
    await clock.advance(10)
    expect(ran).toEqual([1, 2, 3, 4, 5])
    let polls = 0
    const poll = () => {
      polls++
      new Timer(0, poll)
    }
    poll()
    await clock.advance(100)
    expect(polls).toBe(101)
  })

  it("drives a call's time limit to the millisecond", async () => {
    const call = watch(stack(() => never())(undefined, { timeoutMs: 60_000 }))
    await clock.advance(59_999)
    expect(call.state).toBe('pending')
    await clock.advance(1)
    expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: 60_000 })
  })

  it('drives the backoff of a retry and what a layer further out allows', async () => {
    const base = scripted<string, string>([new Error('down'), new Error('down'), 'Hello'])
    const ask = stack(base, retry({ random: () => 0.5 }))
    const call = watch(ask('Hi'))
    await clock.advance(249)
    expect(base.calls).toHaveLength(1)
    await clock.advance(1)
    expect(base.calls).toHaveLength(2)
    await clock.advance(500)
    expect(call.value).toBe('Hello')
  })

  it('drives a limit and its longest wait', async () => {
    const begun: number[] = []
    const start = clock.now()
    const ask = stack(
      async () => void begun.push(clock.now() - start),
      rateLimit({
        by: 'all',
        requests: { limit: 2, intervalMs: 1_000, burst: 1 },
        maxWaitMs: 2_500,
      }),
    )
    const calls = [1, 2, 3, 4, 5, 6, 7].map(() => watch(ask()))
    await clock.advance(10_000)
    expect(begun).toEqual([0, 500, 1_000, 1_500, 2_000, 2_500])
    expect(calls[6]?.error).toMatchObject({ code: 'RATE_LIMITED' })
  })

  it("drives a breaker's window and its recovery", async () => {
    let isUp = false
    const ask = stack(
      async () => (isUp ? 'ok' : Promise.reject(new Error('down'))),
      breaker({ minimumCalls: 3, windowMs: 1_000, resetMs: 5_000 }),
    )
    for (let i = 0; i < 2; i++) await failure(ask())
    await clock.advance(1_000)
    await failure(ask())
    expect(ask.stats().breaker.state).toBe('closed')
    for (let i = 0; i < 2; i++) await failure(ask())
    expect(ask.stats().breaker.state).toBe('open')
    await clock.advance(5_000)
    expect(ask.stats().breaker.state).toBe('half-open')
    isUp = true
    expect(await ask()).toBe('ok')
    await ask.close()
  })

  it('drives the pace of a scripted stream', async () => {
    const ask = stack(() => chunkSource([1, 2, 3], { delayMs: 1_000 }))
    const read = watch(ask().then(collect))
    await clock.advance(2_999)
    expect(read.state).toBe('pending')
    await clock.advance(1)
    expect(read.value).toEqual([1, 2, 3])
  })

  // These two fail until the cache, the stream and `timeout` take their time from `core/time`.
  it('drives the time that a cache keeps an answer', async () => {
    let calls = 0
    const ask = stack(async () => ++calls, cache({ ttlMs: 60_000 }))
    await ask()
    await clock.advance(59_999)
    expect(await ask()).toBe(1)
    await clock.advance(2)
    expect(await ask()).toBe(2)
  })

  it('drives the silence that a stream may keep', async () => {
    const ask = stack(
      () => chunkSource(['a'], { stall: true }),
      timeout({ ms: 600_000, idleMs: 5_000 }),
    )
    const read = watch(ask().then(collect))
    await clock.advance(4_999)
    expect(read.state).toBe('pending')
    await clock.advance(1)
    expect(read.error).toMatchObject({ code: 'TIMEOUT', phase: 'idle' })
  })

  it('runs two concurrent advances one after the other', async () => {
    const start = clock.now()
    const call = watch(stack(() => never())(undefined, { timeoutMs: 150 }))
    const both = [clock.advance(100), clock.advance(100)]
    await both[0]
    expect([clock.now() - start, call.state]).toEqual([100, 'pending'])
    await both[1]
    expect([clock.now() - start, call.state]).toEqual([200, 'rejected'])
  })

  it('allows only one at a time, and can be created again after being restored', () => {
    expect(() => fakeClock()).toThrow(expect.objectContaining({ code: 'CONFIG' }))
    clock.restore()
    clock.restore()
    clock = fakeClock()
    expect(() => fakeClock()).toThrow('Call its restore() first')
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5', undefined])(
    'refuses to advance by %s',
    (ms) => {
      expect(() => clock.advance(ms as number)).toThrow('milliseconds')
    },
  )

  it('restores real time, and its timers continue', async () => {
    const { advance } = clock
    clock.restore()
    expect(() => advance(1)).toThrow('restored')
    const call = watch(stack(() => never())(undefined, { timeoutMs: 5 }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(call.state).toBe('rejected')
  })
})

describe('fakeClock under node:test', () => {
  it('drives the ES copy and the CommonJS copy of the package alike', () => {
    clock.restore()
    const file = 'test/support/clock-under-node-test.mjs'
    const told = execFileSync(process.execPath, ['--test', '--test-reporter=tap', file], {
      encoding: 'utf8',
    })
    expect(told).toMatch(/# pass 3\n# fail 0/)
  })
})
