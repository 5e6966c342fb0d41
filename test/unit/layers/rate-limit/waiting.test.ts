import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base, type CallOptions, defineLayer, stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { type RateLimitOptions, rateLimit } from '../../../../src/layers/rate-limit/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure, type Watched, watch } from '../../../support/watch.js'

useFakeTimers()
catchWarningsInEachTest()

/** One at once, and then one a second. */
const ONE = { requests: { limit: 60, burst: 1 }, by: 'all' } as const

/** A limit around work that notes its calls; a request is a name and, behind a colon, its tokens. */
function limited(options: RateLimitOptions = ONE) {
  const started: string[] = []
  const began = performance.now()
  const ask = stack(
    base(
      async (request: string) => {
        started.push(`${request} at ${Math.round(performance.now() - began)}`)
        return request
      },
      { weigh: (request) => ({ input: Number(request.split(':')[1] ?? 0), output: 0 }) },
    ),
    rateLimit(options),
  )
  const call = (request: string, of?: CallOptions) => watch(ask(request, of))
  return { ask, call, started, stats: () => ask.stats().rateLimit }
}

const states = (calls: readonly Watched<unknown>[]) => calls.map(({ state }) => state)

describe('calls that wait', () => {
  it('go by priority, and in the order in which they came', async () => {
    const { call, started } = limited()
    call('first')
    call('a')
    call('b')
    call('urgent', { priority: 5 })
    call('later', { priority: -1 })
    call('c')
    await tick(60_000)
    expect(started.join(', ')).toBe(
      'first at 0, urgent at 1000, a at 2000, b at 3000, c at 4000, later at 5000',
    )
  })

  it('are not overtaken by cheaper ones of their key, nor by those who come when it is their turn', async () => {
    const { call, started } = limited({ tokens: { limit: 60, burst: 10 }, by: 'tenant' })
    call('a:10', { tenant: 't' })
    call('dear:10', { tenant: 't' })
    await tick(5_000)
    call('cheap:1', { tenant: 't' })
    call('other:1', { tenant: 'u' })
    await tick(4_999)
    call('cheaper:0.5', { tenant: 't' })
    await tick(60_000)
    expect(started).toEqual([
      'a:10 at 0',
      'other:1 at 5000',
      'dear:10 at 10000',
      'cheap:1 at 11000',
      'cheaper:0.5 at 11500',
    ])
  })

  it('may be overtaken by a call of larger priority that can begin at once', async () => {
    const { call, started } = limited({ tokens: { limit: 60, burst: 10 }, by: 'all' })
    call('a:5')
    call('dear:10')
    call('urgent:3', { priority: 1 })
    await tick(60_000)
    expect(started).toEqual(['a:5 at 0', 'urgent:3 at 0', 'dear:10 at 8000'])
  })

  it('add up, so that a call whose turn would come too late is rejected immediately', async () => {
    const { ask, call, stats } = limited({ ...ONE, maxWaitMs: 3_500 })
    for (let i = 0; i < 4; i++) call(`${i}`)
    expect(stats()).toMatchObject({ waiting: 3, rejected: 0 })
    expect(await failure(ask('too late'))).toMatchObject({
      code: 'RATE_LIMITED',
      refused: true,
      retryAfter: 4_000,
      limit: 60,
      unit: 'requests',
      message:
        "Rejected because the call's turn would come too late: the limit is 60 requests per 60000 ms, at most 1 at once. Retry after 4000 ms.",
    })
    expect(stats()).toMatchObject({ waiting: 3, rejected: 1 })
    await tick(60_000)
    expect(stats()).toMatchObject({ admitted: 4, settled: 4, waiting: 0 })
  })

  it('wait for a minute at most, by default', async () => {
    const { ask, call, started } = limited({ requests: { limit: 60, burst: 1 }, by: 'all' })
    for (let i = 0; i < 61; i++) call(`${i}`)
    expect(await failure(ask('one more'))).toMatchObject({ retryAfter: 61_000 })
    await tick(60_000)
    expect(started).toHaveLength(61)
  })

  it('are at most maxWaiting for each key; one more is refused at once', async () => {
    const { ask, call, stats } = limited({ ...ONE, by: 'tenant', maxWaiting: 2 })
    for (const tenant of ['a', 'b']) for (let i = 0; i < 3; i++) call(`${i}`, { tenant })
    expect(await failure(ask('x', { tenant: 'a' }))).toMatchObject({
      code: 'RATE_LIMITED',
      refused: true,
      retryAfter: 3_000,
      message: expect.stringMatching(
        /^Rejected because .+ \(maxWaiting: 2\) is reached: the limit is 60 requests/,
      ),
    })
    expect(stats()).toEqual({ admitted: 2, rejected: 1, waiting: 4, settled: 2, keys: 2 })
    await tick(60_000)
  })

  it('are rejected immediately when no call may wait', async () => {
    const { ask, call } = limited({ ...ONE, maxWaiting: 0 })
    call('first')
    expect(await failure(ask('x'))).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 1_000 })
    const none = limited({ ...ONE, maxWaitMs: 0 })
    none.call('first')
    expect(await failure(none.ask('x'))).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 1_000 })
    await tick()
  })

  it('are refused at once when their deadline cannot be met', async () => {
    const { ask, call, started } = limited()
    call('first')
    expect(await failure(ask('x', { timeoutMs: 900 }))).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 1_000,
    })
    const met = call('y', { timeoutMs: 1_500 })
    await tick(1_000)
    expect(met.state).toBe('resolved')
    expect(started).toHaveLength(2)
  })

  it('are rejected just before their deadline when overtaking calls make them miss it', async () => {
    const { call, stats } = limited()
    call('first')
    const waiting = call('x', { timeoutMs: 1_500 })
    call('urgent', { priority: 1 })
    await tick(1_498)
    expect(waiting.error).toMatchObject({
      code: 'RATE_LIMITED',
      refused: true,
      retryAfter: 502,
      message: expect.stringMatching(/^Rejected after waiting 1498 ms: the limit is 60 requests/),
    })
    await tick()
    expect(stats()).toMatchObject({ admitted: 2, rejected: 1, waiting: 0 })
  })

  it('leave at once when their caller does, and the next one goes when it can', async () => {
    const { ask, call, started, stats } = limited({ tokens: { limit: 60, burst: 10 }, by: 'all' })
    const caller = new AbortController()
    call('a:5')
    const left = failure(ask('dear:10', { signal: caller.signal }))
    const next = call('b:4')
    await tick(1_000)
    const reason = new Error('gone')
    caller.abort(reason)
    expect(await left).toBe(reason)
    await tick()
    expect(next.state).toBe('resolved')
    expect(started).toEqual(['a:5 at 0', 'b:4 at 1000'])
    expect(stats()).toEqual({ admitted: 2, rejected: 1, waiting: 0, settled: 2, keys: 1 })
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
  })

  it('that are already aborted on arrival take nothing', async () => {
    const { ask, call, stats } = limited()
    expect(await failure(ask('x', { signal: AbortSignal.abort('no') }))).toBe('no')
    expect(call('y')).toMatchObject({ state: 'pending' })
    await tick()
    expect(stats()).toMatchObject({ admitted: 1, rejected: 0 })
  })

  it('end with CLOSED when their stack closes, and those that run may finish', async () => {
    const { ask, call, stats } = limited()
    const calls = [call('first'), call('a'), call('b')]
    await ask.close()
    expect(states(calls)).toEqual(['resolved', 'rejected', 'rejected'])
    expect(calls[2]?.error).toMatchObject({ code: 'CLOSED', refused: true, layer: 'rateLimit' })
    expect(stats()).toMatchObject({ admitted: 1, rejected: 2, waiting: 0, settled: 1 })
  })

  it('are refused instead when they are optional', async () => {
    const optional = defineLayer({
      name: 'optional',
      wrap: (next) => (request, context) => next(request, context.derive({ optional: true })),
    })
    const ask = stack(async () => 1, optional, rateLimit(ONE))
    expect(await ask(undefined)).toBe(1)
    expect(await failure(ask(undefined))).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 1_000 })
  })

  it('run in the async context of their own caller', async () => {
    const storage = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    const ask = stack(async (_: string) => {
      seen.push(storage.getStore())
    }, rateLimit(ONE))
    const calls = ['a', 'b', 'c'].map((name) => storage.run(name, () => ask(name)))
    await tick(2_000)
    await Promise.all(calls)
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  it('outlive a second stack of the same layer that closes', async () => {
    const layer = rateLimit(ONE)
    const [one, two] = [stack(async () => 1, layer), stack(async () => 2, layer)]
    const calls = [watch(one()), watch(one()), watch(two())]
    await two.close()
    await tick(5_000)
    expect(states(calls)).toEqual(['resolved', 'resolved', 'rejected'])
    await one.close()
  })

  it('are served in order whatever their priorities, aborts and refusals', async () => {
    const plan = fc.record({
      gap: fc.constantFrom(0, 0, 0, 100, 700, 2_500),
      priority: fc.integer({ min: 0, max: 2 }),
      leavesAfter: fc.option(fc.integer({ min: 0, max: 8_000 }), { nil: undefined }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { minLength: 2, maxLength: 25 }), async (plans) => {
        const order: number[] = []
        const ask = stack(async (n: number) => void order.push(n), rateLimit(ONE))
        const came: number[] = []
        const calls: Promise<unknown>[] = []
        for (const [n, { gap, priority, leavesAfter }] of plans.entries()) {
          await tick(gap)
          const signal = leavesAfter === undefined ? undefined : new AbortController()
          came.push(performance.now())
          calls.push(ask(n, { priority, signal: signal?.signal }).catch(() => {}))
          if (signal) setTimeout(() => signal.abort(), leavesAfter)
        }
        await tick(120_000)
        await Promise.all(calls)
        // Of two of one priority, the one that came first goes first.
        for (const [i, n] of order.entries())
          for (const before of order.slice(0, i))
            if (plans[before]!.priority === plans[n]!.priority) expect(before).toBeLessThan(n)
        expect(ask.stats().rateLimit).toMatchObject({ waiting: 0 })
      }),
      { numRuns: 100 },
    )
  })

  it('cost the same to come and to leave, however many there are', async () => {
    const { ask, stats } = limited({ ...ONE, maxWaiting: 20_000, maxWaitMs: 24 * 3_600_000 })
    await ask('first')
    const callers = Array.from({ length: 20_000 }, () => new AbortController())
    const began = process.hrtime.bigint()
    const calls = callers.map(({ signal }) => failure(ask('x', { signal })))
    expect(stats().waiting).toBe(20_000)
    // From the front, where each has the next one ask.
    for (const caller of callers) caller.abort()
    await Promise.all(calls)
    expect(stats()).toMatchObject({ waiting: 0, rejected: 20_000 })
    expect(Number(process.hrtime.bigint() - began) / 1e6).toBeLessThan(5_000)
  })
})

describe('a wait inside a queue', () => {
  it('leaves the slot to other calls when the limit is further out', async () => {
    const ask = stack(
      async (n: number) => n,
      rateLimit({ ...ONE, by: 'tenant' }),
      queue({ concurrency: 1 }),
    )
    const calls = ['a', 'a', 'b'].map((tenant, n) => watch(ask(n, { tenant })))
    await tick()
    expect(states(calls)).toEqual(['resolved', 'pending', 'resolved'])
    await tick(1_000)
    expect(states(calls)).toEqual(['resolved', 'resolved', 'resolved'])
  })
})
