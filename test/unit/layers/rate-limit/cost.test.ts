import { describe, expect, it, vi } from 'vitest'
import {
  type BaseTraits,
  base,
  type CallOptions,
  onEvent,
  type StackEvent,
  stack,
  type TokenUsage,
} from '../../../../src/core/index.js'
import {
  type LimitCostOptions,
  type RateLimitOptions,
  rateLimit,
} from '../../../../src/layers/rate-limit/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { isRetryable } from '../../../../src/layers/retry/retryable.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure, states, watch } from '../../../support/watch.js'

const HOUR = 3_600_000

useFakeTimers({ now: Date.UTC(2026, 10, 29, 22) })
catchWarningsInEachTest()

interface Ask {
  readonly model?: string
  readonly output?: number
  readonly own?: boolean
  readonly usage?: TokenUsage
  readonly fails?: unknown
}

const traits: BaseTraits<Ask> = {
  weigh: ({ output = 10 }) => ({ input: 0, output }),
  model: ({ model }) => model,
  ownKey: ({ own }) => own === true,
  usage: (answer) => (answer as { usage?: TokenUsage }).usage,
}

/** A tenth for each token of output. */
const COST: LimitCostOptions = { limit: 10, per: 'day', price: (_, { output }) => output / 10 }

function limited(cost: Partial<LimitCostOptions> = {}, more: RateLimitOptions = {}) {
  const fn = async ({
    output = 10,
    usage = { input: 0, output },
    fails,
  }: Ask): Promise<unknown> => {
    await new Promise((resolve) => setTimeout(resolve, 10))
    if (fails) throw fails
    return { usage }
  }
  const layer = rateLimit({ cost: { ...COST, ...cost }, by: 'all', ...more })
  const ask = stack(base(fn, traits), layer)
  const settled = async (request: Ask = {}, of?: CallOptions) => {
    const call = watch(ask(request, of))
    await tick(10)
    return call
  }
  return { ask, layer, settled, stats: () => ask.stats().rateLimit }
}

describe('cost', () => {
  it('immediately rejects calls that may cost more than is left, until the window ends', async () => {
    const { ask, settled, stats } = limited()
    for (let i = 0; i < 10; i++) expect((await settled()).state).toBe('resolved')
    const error = await failure(ask({}))
    expect(error).toMatchObject({
      name: 'BudgetError',
      code: 'BUDGET',
      status: 402,
      refused: true,
      retryable: false,
      layer: 'rateLimit',
      retryAfter: 2 * HOUR - 100,
      message: `Rejected: the cost limit is used up. Retry after ${2 * HOUR - 100} ms.`,
    })
    expect(isRetryable(error)).toBe(false)
    expect(stats()).toMatchObject({ admitted: 10, rejected: 1, waiting: 0 })
    await tick(2 * HOUR - 100)
    expect((await settled()).state).toBe('resolved')
  })

  it('reserves the worst case and settles the actual cost', async () => {
    const { ask, settled } = limited()
    const dear = watch(ask({ output: 100, usage: { input: 0, output: 20 } }))
    expect((await failure(ask({}))) as Error).toMatchObject({ code: 'BUDGET' })
    await tick(10)
    expect(dear.state).toBe('resolved')
    // Eight tenths are left.
    expect((await settled({ output: 80 })).state).toBe('resolved')
    expect((await settled({ output: 81 })).state).toBe('rejected')
  })

  it('counts costs that exceed the estimate', async () => {
    const { ask, settled } = limited()
    await settled({ output: 10, usage: { input: 0, output: 95 } })
    expect(await failure(ask({}))).toMatchObject({ code: 'BUDGET' })
    expect((await settled({ output: 5, usage: { input: 0, output: 50 } })).state).toBe('resolved')
    expect(await failure(ask({ output: 1 }))).toMatchObject({ code: 'BUDGET' })
    // What costs nothing is not refused.
    expect((await settled({ output: 0 })).state).toBe('resolved')
  })

  it('adds up prices without floating-point residue', async () => {
    const { ask, settled } = limited({ limit: 0.3, price: () => 0.1 })
    for (let i = 0; i < 3; i++) expect((await settled()).state).toBe('resolved')
    expect(await failure(ask({}))).toMatchObject({ code: 'BUDGET' })
  })

  it('rounds the smallest prices up, so that nothing is free that is not', async () => {
    const { settled, stats } = limited({ limit: 0.00001, price: () => 0.0000001 })
    for (let i = 0; i < 12; i++) await settled()
    expect(stats()).toMatchObject({ admitted: 10, rejected: 2 })
  })

  it('names no time to come back to a call that never fits', async () => {
    const { ask } = limited()
    expect(await failure(ask({ output: 101 }))).toMatchObject({
      code: 'BUDGET',
      retryAfter: undefined,
      message:
        'Rejected: this call may cost more than the whole cost limit. Allow fewer tokens, or raise the limit.',
    })
  })

  it('prices the model, with the tokens that came from a cache', async () => {
    const price = vi.fn(() => 1)
    const { settled } = limited({ price })
    await settled({ model: 'm', output: 7, usage: { input: 5, output: 3, cachedInput: 2 } })
    expect(price.mock.calls).toEqual([
      ['m', { input: 0, output: 7 }],
      ['m', { input: 5, output: 3, cachedInput: 2 }],
    ])
  })

  it('gives back the reserved cost of a call that upstream refuses', async () => {
    const { settled, stats } = limited({ limit: 1 })
    for (let i = 0; i < 5; i++) await settled({ fails: upstreamError('SERVER') })
    expect(stats()).toMatchObject({ admitted: 5, settled: 5 })
    expect((await settled()).state).toBe('resolved')
  })

  it('takes nothing of the other limits where it refuses, nor they of it', async () => {
    const { settled, ask } = limited(
      { limit: 1 },
      { requests: { limit: 60, burst: 2 }, mode: 'reject' },
    )
    await settled()
    for (let i = 0; i < 5; i++) expect(await failure(ask({}))).toMatchObject({ code: 'BUDGET' })
    expect((await settled({ output: 0 })).state).toBe('resolved')
    expect(await failure(ask({ output: 0 }))).toMatchObject({ unit: 'requests' })
  })

  it('rejects calls at the head of the line when earlier ones have used up the budget', async () => {
    const { ask, stats } = limited({ limit: 2 }, { requests: { limit: 60, burst: 1 } })
    const calls = [1, 2, 3, 4].map(() => watch(ask({})))
    await tick(10_000)
    expect(states(calls)).toBe('resolved resolved rejected rejected')
    expect(calls[3]?.error).toMatchObject({ code: 'BUDGET' })
    expect(stats()).toMatchObject({ admitted: 2, rejected: 2, waiting: 0 })
  })

  it('settles a call in the window in which it began', async () => {
    const { ask, settled, stats } = limited({ per: 1_000 })
    await tick(995)
    const old = watch(ask({ output: 100 }))
    await tick(5)
    expect((await settled({ output: 100 })).state).toBe('resolved')
    expect(old.state).toBe('resolved')
    expect((await settled({ output: 1 })).state).toBe('rejected')
    expect(stats()).toMatchObject({ admitted: 2, rejected: 1 })
  })

  it('may be a plan', async () => {
    const limits: Record<string, number> = { free: 1, gold: 3, endless: Number.POSITIVE_INFINITY }
    const { settled, stats } = limited({ limit: (key) => limits[key]! }, { by: 'tenant' })
    for (const tenant of Object.keys(limits))
      for (let i = 0; i < 5; i++) await settled({}, { tenant })
    expect(stats()).toMatchObject({ admitted: 1 + 3 + 5, rejected: 4 + 2 })
  })

  it('is not charged for a call that pays by a key of its own, which is limited all the same', async () => {
    const { ask, settled } = limited(
      { limit: 1 },
      { requests: { limit: 60, burst: 4 }, mode: 'reject' },
    )
    await settled()
    for (let i = 0; i < 3; i++) expect((await settled({ own: true })).state).toBe('resolved')
    expect(await failure(ask({ own: true }))).toMatchObject({ unit: 'requests' })
  })

  it('changes by set(), which keeps what is spent', async () => {
    const { ask, layer, settled } = limited()
    await settled({ output: 90 })
    layer.set({ cost: { ...COST, limit: 5, per: 'month' } })
    expect(await failure(ask({}))).toMatchObject({ code: 'BUDGET', retryAfter: 26 * HOUR - 10 })
    layer.set({ cost: { ...COST, limit: 20 } })
    expect((await settled({ output: 110 })).state).toBe('resolved')
  })
})

describe('a price that nobody knows', () => {
  it.each([
    ['throws', () => Promise.reject(named('PriceError'))],
    ['gives nothing', () => undefined],
    ['gives no number', () => Number.NaN],
    ['gives less than nothing', () => -1],
  ])('refuses the call when price() %s', async (_, price) => {
    const { ask, stats } = limited({ price: price as never })
    expect(await failure(ask({ model: 'secret' }))).toMatchObject({
      code: 'BUDGET',
      refused: true,
      retryAfter: undefined,
      message:
        "Rejected: the price of this model is unknown. Return it from cost.price, or set onUnknownPrice: 'zero'.",
    })
    expect(stats()).toMatchObject({ admitted: 0, rejected: 1, keys: 0 })
  })

  it('is zero where the operator wants it so', async () => {
    const { settled, stats } = limited({ price: () => undefined, onUnknownPrice: 'zero' })
    for (let i = 0; i < 50; i++) await settled({ output: 1_000 })
    expect(stats()).toMatchObject({ admitted: 50 })
  })

  it('leaves what was reserved where it is not known at the end', async () => {
    const price = vi.fn().mockReturnValueOnce(6).mockReturnValue(undefined)
    const { settled } = limited({ price })
    await settled({ usage: { input: 1, output: 1 } })
    price.mockReset().mockReturnValue(5)
    expect((await settled()).state).toBe('rejected')
  })
})

describe('the event budget', () => {
  it('is emitted once per window, when four fifths are spent', async () => {
    const events: StackEvent[] = []
    const stop = onEvent((event) => {
      if (event.type === 'budget') events.push(event)
    })
    const { settled, layer } = limited({}, { by: 'tenant' })
    await settled({ output: 100, usage: { input: 0, output: 79 } }, { tenant: 'acme' })
    expect(events).toEqual([])
    await settled({ output: 10, usage: { input: 0, output: 10 } }, { tenant: 'acme' })
    await settled({ output: 10, usage: { input: 0, output: 1 } }, { tenant: 'acme' })
    await settled({ output: 80 }, { tenant: 'other' })
    await tick(24 * HOUR)
    await settled({ output: 100 }, { tenant: 'acme' })
    stop()
    expect(events.map(({ call: _call, at: _at, ...rest }) => rest)).toEqual([
      { type: 'budget', stack: 'fn', layer: 'rateLimit', tenant: 'acme', spent: 8.9, limit: 10 },
      { type: 'budget', stack: 'fn', layer: 'rateLimit', tenant: 'other', spent: 8, limit: 10 },
      { type: 'budget', stack: 'fn', layer: 'rateLimit', tenant: 'acme', spent: 10, limit: 10 },
    ])
    expect(layer.stats().settled).toBe(5)
  })

  it('is not emitted for cost that is only reserved', async () => {
    const events: string[] = []
    const stop = onEvent(({ type }) => events.push(type))
    const { settled } = limited()
    await settled({ output: 100, usage: { input: 0, output: 1 } })
    stop()
    expect(events).not.toContain('budget')
  })

  it('appears in the timeline of the call that triggers it', async () => {
    const { settled } = limited()
    const meta = new Map<string, unknown>()
    await settled({ output: 90 }, { meta })
    expect(meta.get('timeline')).toContainEqual({
      type: 'budget',
      afterMs: 10,
      layer: 'rateLimit',
      spent: 9,
      limit: 10,
    })
  })
})

describe('a budget inside retry', () => {
  it('is not asked again after it refuses a call', async () => {
    const ask = stack(
      async () => 1,
      retry({ retries: 3 }),
      rateLimit({ cost: { ...COST, price: () => 11 }, by: 'all' }),
    )
    expect(await failure(ask())).toMatchObject({ code: 'BUDGET' })
    expect(ask.stats()).toMatchObject({ retry: { retries: 0 }, rateLimit: { rejected: 1 } })
  })
})
