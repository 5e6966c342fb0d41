import { describe, expect, it } from 'vitest'
import { base, type Context, collect, sleep, stack } from '../../../../src/core/index.js'
import { breaker, type HedgeOptions, hedge, pool, queue, retry } from '../../../../src/index.js'
import { fakeClock } from '../../../../src/testing/fake-clock.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { answers, calls, settleAfter } from '../../../support/slow.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

interface Ask {
  readonly ms: number
  readonly model?: string
  readonly stream?: boolean
}

/** A function whose answers take as long as the request says. */
function timed() {
  const contexts: Context[] = []
  const fn = base(
    async ({ ms, stream = false }: Ask, context: Context): Promise<unknown> => {
      contexts.push(context)
      if (!stream) return settleAfter(ms, () => 'x', context)
      return (async function* () {
        await settleAfter(ms, () => {}, context)
        yield 'a'
        await settleAfter(5_000, () => {}, context)
        yield 'b'
      })()
    },
    { model: ({ model }) => model, streams: ({ stream }) => stream === true },
  )
  return { fn, contexts }
}

/** Such a function, hedged by the times of its answers. */
function hedged(options: HedgeOptions = {}) {
  const { fn, contexts } = timed()
  return { ask: stack(fn, hedge({ budget: false, ...options })), contexts }
}

/** Runs one call to its end, and returns how long it was before it was asked twice. */
async function secondTryOf(
  ask: (request: Ask) => Promise<unknown>,
  contexts: Context[],
  request: Ask,
) {
  contexts.length = 0
  const began = performance.now()
  const call = watch(ask(request))
  while (contexts.length < 2 && call.state === 'pending') await tick(1)
  const delayMs = contexts.length < 2 ? undefined : Math.round(performance.now() - began)
  await tick(request.ms)
  await tick(10_000)
  return delayMs
}

async function learn(ask: (request: Ask) => Promise<unknown>, requests: readonly Ask[]) {
  for (const request of requests) {
    const answer = ask(request)
    await tick(request.ms)
    const given = await answer
    if (!request.stream) continue
    const reading = collect(given as AsyncIterable<unknown>)
    await tick(5_000)
    await reading
  }
}

const times = (n: number, ms: (i: number) => number): Ask[] =>
  Array.from({ length: n }, (_, i) => ({ ms: ms(i) }))

describe("hedge({ delayMs: 'p95' })", () => {
  it('makes no second try until 20 answers are known', async () => {
    const { ask, contexts } = hedged()
    await learn(
      ask,
      times(18, () => 600),
    )
    expect(await secondTryOf(ask, contexts, { ms: 3_000 })).toBeUndefined()
    expect(await secondTryOf(ask, contexts, { ms: 600 })).toBeUndefined()
    expect(await secondTryOf(ask, contexts, { ms: 20_000 })).toBe(601)
  })

  it('makes no second try when all calls take equally long', async () => {
    const clock = fakeClock()
    const ask = stack((_: number, { cancel }: Context) => sleep(700, cancel), hedge())
    for (let i = 0; i < 60; i++) {
      const call = ask(i)
      await clock.advance(700)
      await call
    }
    clock.restore()
    expect(ask.stats().hedge).toEqual({ hedged: 0, won: 0, lost: 0, refused: 0 })
  })

  it('is just above the 95th percentile of the last 100', async () => {
    const { ask, contexts } = hedged()
    await learn(
      ask,
      times(50, () => 9_000),
    )
    await learn(
      ask,
      times(100, (i) => 1_000 + i),
    )
    expect(await secondTryOf(ask, contexts, { ms: 20_000 })).toBe(1_095)
  })

  it('lies between minDelayMs and maxDelayMs', async () => {
    for (const [ms, options, expected] of [
      [5, {}, 500],
      [15_000, {}, 10_000],
      [5, { minDelayMs: 50 }, 50],
      [1_000, { maxDelayMs: 800 }, 800],
    ] as const) {
      const { ask, contexts } = hedged(options)
      await learn(
        ask,
        times(20, () => ms),
      )
      expect(await secondTryOf(ask, contexts, { ms: 60_000 })).toBe(expected)
    }
  })

  it('is measured separately for each model and form, and for streams up to the first content', async () => {
    const { ask, contexts } = hedged()
    const of = (more: Partial<Ask>, ms: number) =>
      times(20, () => ms).map((one) => ({ ...one, ...more }))
    await learn(ask, of({ model: 'a' }, 700))
    await learn(ask, of({ model: 'b' }, 2_000))
    await learn(ask, of({ model: 'b', stream: true }, 900))
    const delayOf = (more: Partial<Ask>) => secondTryOf(ask, contexts, { ms: 30_000, ...more })
    expect(await delayOf({ model: 'a' })).toBe(701)
    expect(await delayOf({ model: 'b' })).toBe(2_001)
    expect(await delayOf({ model: 'b', stream: true })).toBe(901)
    expect(await delayOf({ model: 'c' })).toBeUndefined()
    expect(await delayOf({ model: 'a', stream: true })).toBeUndefined()
  })

  it('ignores failures, and learns from a beaten first try that it took longer', async () => {
    let n = 0
    const down = upstreamError('SERVER')
    const { fn, contexts } = calls((context) =>
      n++ % 2 === 0
        ? Promise.reject(down)
        : settleAfter(context.optional ? 100 : 1_000, () => 'x', context),
    )
    const ask = stack(fn, hedge({ budget: false }))
    for (let i = 0; i < 30; i++) {
      const call = watch(ask(`${i}`))
      await tick(1_000)
      expect(call.state).not.toBe('pending')
    }
    expect(contexts.length).toBe(30)
    const beaten = stack(
      async (_: string, context: Context) =>
        settleAfter(context.optional ? 100 : 60_000, () => 'x', context),
      hedge({ delayMs: 1_000, budget: false }),
    )
    for (let i = 0; i < 20; i++) {
      const call = watch(beaten(`${i}`))
      await tick(1_100)
      expect(call.value).toBe('x')
    }
    expect(beaten.stats().hedge.won).toBe(20)
  })
})

describe("hedge's budget", () => {
  const slow = (context: Context) => settleAfter(context.optional ? 10 : 1_000, () => 'x', context)
  const run = async (ask: (request: string) => Promise<unknown>, n: number) => {
    for (let i = 0; i < n; i++) {
      const call = ask(`${i}`)
      await tick(1_000)
      await call
    }
  }

  it('starts with one second try, and gains another after 20 answers', async () => {
    const ask = stack(calls(slow).fn, hedge({ delayMs: 100 }))
    await run(ask, 20)
    expect(ask.stats().hedge).toMatchObject({ hedged: 1, won: 1, refused: 19 })
    await run(ask, 1)
    expect(ask.stats().hedge).toMatchObject({ hedged: 2, refused: 19 })
  })

  it('saves up no more than its size', async () => {
    const quick = async (request: string, context: Context) =>
      settleAfter(request.startsWith('slow') && !context.optional ? 1_000 : 1, () => 'x', context)
    const ask = stack(quick, hedge({ delayMs: 100, budget: { size: 2, start: 0, perSuccess: 1 } }))
    await run(ask, 10)
    const all = ['slow1', 'slow2', 'slow3'].map((request) => ask(request))
    await tick(1_000)
    await Promise.all(all)
    // Three calls in progress: one second try at a time, and as it ended at once, two in all.
    expect(ask.stats().hedge.hedged).toBeLessThanOrEqual(2)
  })

  it('allows one second try at a time, or a tenth of the calls in progress', async () => {
    for (const [n, expected] of [
      [5, 1],
      [30, 3],
    ] as const) {
      const { fn, contexts } = calls(answers(1_000, 'x'))
      const ask = stack(fn, hedge({ delayMs: 100, budget: { size: 100, start: 100 } }))
      const all = Array.from({ length: n }, (_, i) => ask(`${i}`))
      await tick(500)
      expect(contexts.length - n).toBe(expected)
      await tick(1_000)
      await Promise.all(all)
      expect(ask.stats().hedge).toMatchObject({ hedged: expected, refused: n - expected })
    }
  })

  it('draws on the budget of an outer retry layer, and returns what it could not use', async () => {
    const options = { delayMs: 100, budget: false } as const
    const ask = stack(
      calls(slow).fn,
      retry({ budget: { ratio: 0, floor: 2, windowMs: 60_000 } }),
      hedge(options),
    )
    await run(ask, 5)
    expect(ask.stats().hedge).toMatchObject({ hedged: 2, refused: 3 })
    let down = false
    const full = stack(
      async (_: string, context: Context) => {
        if (down) throw upstreamError('SERVER')
        return settleAfter(300, () => 'x', context)
      },
      retry({ budget: { ratio: 0, floor: 1, windowMs: 60_000 }, minDelayMs: 0 }),
      hedge(options),
      queue({ concurrency: 1 }),
    )
    for (let i = 0; i < 3; i++) {
      const call = full(`${i}`)
      await tick(300)
      await call
    }
    expect(full.stats().hedge).toMatchObject({ hedged: 0, refused: 3 })
    down = true
    const failed = failure(full('x'))
    await tick(100)
    await failed
    expect(full.stats().retry).toMatchObject({ retries: 1, refused: 1 })
  })
})

describe('a second try', () => {
  it('is refused by a queue that is full or has waiters, and takes no place in it', async () => {
    const { fn, contexts } = calls(answers(1_000, 'x'))
    const ask = stack(fn, hedge({ delayMs: 100, budget: false }), queue({ concurrency: 2 }))
    const all = ['a', 'b', 'c'].map((request) => watch(ask(request)))
    await tick(500)
    expect(contexts.length).toBe(2)
    expect(ask.stats().queue).toMatchObject({ running: 2, waiting: 1 })
    await tick(2_000)
    expect(all.map(({ value }) => value)).toEqual(['x', 'x', 'x'])
    expect(ask.stats().hedge).toMatchObject({ hedged: 0, refused: 3 })
    expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
  })

  it('takes a free slot, and gives it back when it loses', async () => {
    const ask = stack(
      calls(answers(200, 'first'), answers(500, 'second')).fn,
      hedge({ delayMs: 100, budget: false }),
      queue({ concurrency: 2 }),
    )
    const call = watch(ask('a'))
    await tick(150)
    expect(ask.stats().queue.running).toBe(2)
    await tick(50)
    expect(call.value).toBe('first')
    expect(ask.stats().queue.running).toBe(0)
  })

  it('goes to another member of the pool, or is refused', async () => {
    const { fn, contexts } = calls(answers(1_000, 'first'), answers(10, 'second'))
    const members = [{ apiKey: 'sk_a' }, { apiKey: 'sk_b' }]
    const joining = base(fn, { joins: () => true })
    const ask = stack(
      joining,
      hedge({ delayMs: 100, budget: false }),
      pool({ connections: 1, members }),
    )
    const meta = new Map<string, unknown>()
    const call = watch(ask('a', { meta }))
    await tick(110)
    expect(call.value).toBe('second')
    expect(contexts.map(({ transport }) => transport?.member)).toEqual([0, 1])
    expect(meta.get('answeredBy')).toMatchObject({ member: 1 })
    expect(ask.stats().pool.active).toBe(0)
  })

  it('is refused when the other members are busy, paused or ejected', async () => {
    const ask = stack(
      async (request: string, context: Context) => {
        if (request === 'limit') throw upstreamError('RATE_LIMITED', { retryAfter: 60_000 })
        return settleAfter(1_000, () => 'x', context)
      },
      hedge({ delayMs: 100, budget: false }),
      pool({ connections: 2, members: [{ apiKey: 'sk_a' }, { apiKey: 'sk_b' }] }),
    )
    await failure(ask('limit'))
    const call = watch(ask('a'))
    await tick(1_000)
    expect(call.value).toBe('x')
    expect(ask.stats().hedge).toMatchObject({ hedged: 0, refused: 1 })
  })

  it('does not count as a trial of a breaker', async () => {
    const models: string[] = []
    const fn = base(
      async ({ model = '' }: Ask, context: Context) => {
        models.push(model)
        if (model === 'second') throw upstreamError('SERVER')
        return settleAfter(1_000, () => 'x', context)
      },
      { model: ({ model }) => model, withModel: (ask, model) => ({ ...ask, model }) },
    )
    const ask = stack(
      fn,
      hedge({ delayMs: 100, budget: false, to: ['second'] }),
      breaker({ key: 'model', minimumCalls: 1, resetMs: 5_000 }),
    )
    await failure(ask({ ms: 0, model: 'second' }))
    for (const wait of [0, 5_000]) {
      await tick(wait)
      models.length = 0
      const call = watch(ask({ ms: 0, model: 'first' }))
      await tick(1_000)
      expect(call.value).toBe('x')
      expect(models).toEqual(['first'])
    }
    expect(ask.stats().hedge).toMatchObject({ hedged: 0, refused: 2 })
    await ask.close()
  })
})
