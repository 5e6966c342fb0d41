import { describe, expect, it, vi } from 'vitest'
import { base, type CallOptions, stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import {
  type RateLimitNote,
  type RateLimitOptions,
  rateLimit,
} from '../../../../src/layers/rate-limit/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { spy } from '../../../support/layers.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

/** Ten at once, and then one a second. */
const TEN = { requests: 60, by: 'all' } as const

/** A limit around work that notes when each call begins. */
function limited(options: RateLimitOptions, weigh?: (request: string) => number) {
  const started: string[] = []
  const at: number[] = []
  const began = performance.now()
  const work = async (request: string) => {
    started.push(request)
    at.push(performance.now() - began)
    return `answer to ${request}`
  }
  const layer = rateLimit(options)
  const ask = stack(
    weigh ? base(work, { weigh: (r) => ({ input: weigh(r), output: 0 }) }) : work,
    layer,
  )
  const call = (request: string, of?: CallOptions) => watch(ask(request, of))
  const times = (n: number, of?: CallOptions) =>
    Array.from({ length: n }, (_, i) => call(`${i}`, of))
  return { ask, call, times, started, at, layer, stats: () => ask.stats().rateLimit }
}

describe('rateLimit', () => {
  it('lets a sixth of the limit through at once, and then as many as it allows', async () => {
    const { times, at, stats } = limited(TEN)
    times(13)
    await tick()
    expect(stats()).toEqual({ admitted: 10, rejected: 0, waiting: 3, settled: 10, keys: 1 })
    await tick(60_000)
    expect(at.slice(9)).toEqual([0, 1_000, 2_000, 3_000])
    expect(stats()).toEqual({ admitted: 13, rejected: 0, waiting: 0, settled: 13, keys: 1 })
  })

  it('takes a limit with an interval and a burst of its own', async () => {
    const { times, at } = limited({
      requests: { limit: 10, intervalMs: 1_000, burst: 3 },
      by: 'all',
    })
    times(5)
    await tick(1_000)
    expect(at).toEqual([0, 0, 0, 100, 200])
  })

  it.each([
    [{ requests: 6 }, 1, '6 requests per 60000 ms, at most 1 at once. Retry after 10000 ms.'],
    [{ requests: 1 }, 1, '1 request per 60000 ms. Retry after 60000 ms.'],
    [{ requests: { limit: 2, burst: 2 } }, 2, '2 requests per 60000 ms. Retry after 30000 ms.'],
  ])(
    'says of %j how many calls may start at once, if fewer than the limit',
    async (limits, free, rest) => {
      const { ask, times } = limited({ ...limits, mode: 'reject' })
      times(free)
      const { message } = (await failure(ask('one more'))) as Error
      expect(message).toBe(`Rejected: the limit is ${rest}`)
    },
  )

  it('refuses at once in mode reject, with what is allowed and when to come back', async () => {
    const { ask, times, stats } = limited({ ...TEN, mode: 'reject' })
    times(10)
    const error = await failure(ask('one more'))
    expect(error).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      refused: true,
      limit: 60,
      unit: 'requests',
      retryAfter: 1_000,
      layer: 'rateLimit',
      message:
        'Rejected: the limit is 60 requests per 60000 ms, at most 10 at once. Retry after 1000 ms.',
    })
    expect(stats()).toMatchObject({ admitted: 10, rejected: 1, waiting: 0 })
    await tick(1_000)
    expect(await ask('now')).toBe('answer to now')
  })

  it('holds all of its limits, and a call refused by one takes nothing from the others', async () => {
    const { ask, call, stats } = limited(
      { requests: 60, tokens: 600, by: 'all', mode: 'reject' },
      (request) => Number(request),
    )
    await ask('90')
    for (let i = 0; i < 50; i++)
      expect(await failure(ask('20'))).toMatchObject({ unit: 'tokens', limit: 600 })
    // Nine requests are left, and ten tokens.
    for (let i = 0; i < 9; i++) call('1')
    await tick()
    expect(stats()).toMatchObject({ admitted: 10, rejected: 50 })
    expect(await failure(ask('1'))).toMatchObject({ unit: 'requests', retryAfter: 1_000 })
  })

  it('has a call that is dearer than the bucket wait for a full one, and the next for all of it', async () => {
    const { call, at } = limited({ tokens: 600, by: 'all' }, Number)
    call('50')
    call('250')
    call('1')
    await tick(60_000)
    expect(at).toEqual([0, 5_000, 20_100])
  })

  it('charges nothing for a call without a key', async () => {
    const { times, stats } = limited({
      requests: 1,
      by: (request) => (request === '0' ? 'a' : undefined),
    })
    const calls = times(50)
    await tick()
    expect(calls.every(({ state }) => state === 'resolved')).toBe(true)
    expect(stats()).toEqual({ admitted: 1, rejected: 0, waiting: 0, settled: 1, keys: 1 })
  })

  it('notes how long a call has waited, and what is left', async () => {
    const { times, call } = limited(TEN)
    const [first, meta] = [new Map<string, unknown>(), new Map<string, unknown>()]
    const noteIn = (of: Map<string, unknown>) => of.get('rateLimit') as RateLimitNote
    const level = { unit: 'requests', limit: 60, intervalMs: 60_000 }
    call('first', { meta: first })
    expect(noteIn(first).waitedMs).toBe(0)
    expect(noteIn(first).limits).toEqual([{ ...level, remaining: 9, resetMs: 1_000 }])
    times(9)
    call('waits', { meta })
    expect(noteIn(meta).limits).toEqual([{ ...level, remaining: 0, resetMs: 10_000 }])
    await tick(1_000)
    expect(noteIn(meta).waitedMs).toBe(1_000)
    expect(meta.get('timeline')).toContainEqual(
      expect.objectContaining({ type: 'queued', layer: 'rateLimit', waitedMs: 1_000 }),
    )
  })

  it('needs a limit', () => {
    expect(() => rateLimit({})).toThrow(
      'rateLimit: give at least one of the options "requests", "tokens" and "cost".',
    )
  })

  it.each([
    [{ requests: 0 }, /option "requests" must be a number above 0, a function, or an object/],
    [{ tokens: '5' }, /option "tokens" must be/],
    [{ requests: { limit: -1 } }, /rateLimit: option "limit" must be/],
    [{ requests: { limit: 1, intervalMs: 0 } }, /option "intervalMs" must be a duration/],
    [{ tokens: { limit: 1, burst: 0.5 } }, /rateLimit: option "burst" must be/],
    [{ tokens: { limit: 1, window: 5 } }, /option "window" is unknown/],
    [{ requests: {} }, /option "limit" must be/],
    [{ requests: 1, mode: 'drop' }, /option "mode" must be one of "wait", "reject"/],
    [
      { requests: 1, by: 'user' },
      /option "by" must be one of "tenant", "model", "all" or a function/,
    ],
    [{ requests: 1, maxWaiting: -1 }, /option "maxWaiting"/],
    [{ requests: 1, shared: {} }, /option "shared" must be the result of redisShared\(\)/],
    [{ cost: 5 }, /option "cost" must be an object/],
    [{ cost: { limit: 1, per: 'week', price: () => 1 } }, /rateLimit: option "per" must be/],
    [{ cost: { limit: 1, per: 'day' } }, /option "price" must be a function/],
  ])('refuses %o', (options, message) => {
    expect(() => rateLimit(options as never)).toThrow(message)
  })
})

describe('the key', () => {
  it('is the tenant by default, and calls without one share a key, with a warning', async () => {
    const { call, stats } = limited({ requests: 1 })
    const calls = [
      call('a', { tenant: 'a' }),
      call('b', { tenant: 'b' }),
      call('none'),
      call('none'),
      call('empty', { tenant: '' }),
      call('a', { tenant: 'a' }),
    ]
    await tick()
    expect(calls.map(({ state }) => state === 'resolved')).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ])
    expect(stats().keys).toBe(3)
    const about = warnings.filter((text) => text.includes('without a tenant'))
    expect(about.length).toBeLessThanOrEqual(1)
    await tick(200_000)
  })

  it('may be the model', async () => {
    const ask = stack(
      base(async (request: { model?: string }) => request, { model: ({ model }) => model }),
      rateLimit({ requests: 1, by: 'model', mode: 'reject' }),
    )
    await ask({ model: 'a' })
    await ask({ model: 'b' })
    await ask({})
    for (const request of [{ model: 'a' }, { model: 'b' }, {}])
      expect(await failure(ask(request))).toMatchObject({ code: 'RATE_LIMITED' })
  })

  it('is shared by all models when the base knows none', async () => {
    const { ask, call } = limited({ requests: 1, by: 'model', mode: 'reject' })
    call('a')
    expect(await failure(ask('b'))).toMatchObject({ code: 'RATE_LIMITED' })
  })

  it.each([
    ['throws', () => Promise.reject(named('KeyError'))],
    ['gives a number', () => 5],
    ['gives null', () => null],
    [
      'throws at once',
      () => {
        throw named('KeyMistake')
      },
    ],
  ])('is shared when by() %s, which is a warning', async (_, by) => {
    const { ask, call } = limited({ requests: 1, by: by as never, mode: 'reject' })
    call('a')
    expect(await failure(ask('b'))).toMatchObject({ code: 'RATE_LIMITED' })
  })
})

describe('a plan', () => {
  const plans: Record<string, number> = {
    free: 6,
    gold: 600,
    endless: Number.POSITIVE_INFINITY,
    none: 0,
  }

  it('is a limit for each key, read when the call begins', async () => {
    const { call, times, stats } = limited({ requests: (key) => plans[key]!, mode: 'reject' })
    for (const tenant of Object.keys(plans)) times(150, { tenant })
    await tick()
    expect(stats()).toMatchObject({ admitted: 1 + 100 + 150, rejected: 149 + 50 + 150 })
    plans.free = 60
    await tick(10_000)
    const later = [1, 2].map(() => call('x', { tenant: 'free' }))
    await tick()
    plans.free = 6
    // One by the old plan, which filled the bucket until now.
    expect(later.map(({ state }) => state)).toEqual(['resolved', 'rejected'])
  })

  it('of nothing refuses at once, and names no time to come back', async () => {
    const { ask } = limited({ requests: () => 0 })
    const error = await failure(ask('x'))
    expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfter: undefined, limit: 0 })
    expect((error as Error).message).toBe('Rejected: the limit is 0 requests per 60000 ms.')
  })

  it('gets the key and the context of the call', async () => {
    const limit = vi.fn(() => 60)
    const { ask } = limited({ requests: { limit }, by: () => 'mine' })
    await ask('x', { tenant: 't', priority: 5 })
    expect(limit).toHaveBeenCalledWith(
      'mine',
      expect.objectContaining({ tenant: 't', priority: 5 }),
    )
  })

  it.each([
    ['throws', () => Promise.reject(named('PlanError'))],
    ['gives nothing', () => undefined],
    ['gives a text', () => '60'],
    ['gives less than nothing', () => -1],
    ['gives no number', () => Number.NaN],
  ])('that %s limits nothing, with a warning', async (_, limit) => {
    const { times, stats } = limited({ requests: { limit: limit as never }, by: 'all' })
    times(100)
    await tick()
    expect(stats()).toMatchObject({ admitted: 100, waiting: 0 })
    await tick()
  })
})

describe('set', () => {
  it('changes a limit, and leaves to each key what it had, cut to the new one', async () => {
    const { layer, times, ask, stats } = limited({ ...TEN, mode: 'reject' })
    times(4)
    layer.set({ requests: 6_000 })
    times(20)
    await tick()
    expect(stats()).toMatchObject({ admitted: 10, rejected: 14 })
    await tick(60_000)
    layer.set({ requests: 6 })
    times(3)
    await tick()
    expect(stats()).toMatchObject({ admitted: 11, rejected: 16 })
    expect(await failure(ask('x'))).toMatchObject({ limit: 6 })
  })

  it('releases calls that no longer need to wait', async () => {
    const { layer, times, at } = limited(TEN)
    times(12)
    await tick(500)
    layer.set({ requests: { limit: 60_000, burst: 10 } })
    await tick(2)
    expect(at.slice(10)).toEqual([501, 502])
  })

  it('adds a limit, and leaves what it does not name', async () => {
    const { layer, ask } = limited({ requests: 600, by: 'all' }, () => 100)
    layer.set({ tokens: 600, mode: 'reject' })
    await ask('a')
    expect(await failure(ask('b'))).toMatchObject({ unit: 'tokens' })
    layer.set({ tokens: undefined, maxWaitMs: 5 })
    expect(await failure(ask('b'))).toMatchObject({ unit: 'tokens' })
  })

  it('changes nothing when a value is wrong', async () => {
    const { layer, times, stats } = limited({ ...TEN, mode: 'reject' })
    for (const wrong of [
      { requests: { limit: 0 }, mode: 'wait' },
      { requests: 0 },
      { by: 'all' },
      5,
    ])
      expect(() => layer.set(wrong as never)).toThrow(/^rateLimit: /)
    times(11)
    await tick()
    expect(stats()).toMatchObject({ admitted: 10, rejected: 1 })
  })

  it('immediately rejects calls waiting for capacity that will never come', async () => {
    const { layer, times } = limited({ requests: { limit: () => limit }, by: 'all' })
    let limit = 60
    const calls = times(12)
    await tick()
    limit = 0
    layer.set({ maxWaiting: 5 })
    await tick()
    expect(calls.slice(10).map(({ error }) => error)).toMatchObject([
      { code: 'RATE_LIMITED', retryAfter: undefined },
      { code: 'RATE_LIMITED', retryAfter: undefined },
    ])
  })
})

describe('beside other layers', () => {
  it('lets a timeout further out end the wait with its own error', async () => {
    const ask = stack(
      async () => 1,
      timeout({ ms: 2_000 }),
      spy(),
      rateLimit({ ...TEN, requests: 1 }),
    )
    await ask(undefined)
    // It would wait a minute, and is refused at once, as it cannot be done in time.
    expect(await failure(ask(undefined))).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 60_000,
    })
  })

  it('names what is odd about its place', () => {
    const describe = (...layers: Parameters<typeof stack>[1][]) =>
      stack(async (_: string) => 1, ...(layers as never[]))
        .describe()
        .map(({ note }) => note)
    expect(describe(queue(), rateLimit({ requests: 1 }))[1]).toMatch(/holds a slot/)
    expect(describe(queue(), rateLimit({ requests: 1, by: 'all' }))).toEqual([undefined, undefined])
    expect(describe(queue(), rateLimit({ requests: 1, mode: 'reject' }))).toEqual([
      undefined,
      undefined,
    ])
  })
})
