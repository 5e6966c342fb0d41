import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { costOf, readBudget, readPrice } from '../../../src/gateway/env/budget.js'
import { blossomFromEnv, type Environment } from '../../../src/gateway/index.js'
import {
  fakeClock,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../../src/testing/index.js'
import { KEY } from '../../support/secrets.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

beforeEach(() => {
  catchWarnings()
})
afterEach(() => {
  vi.restoreAllMocks()
})

async function around(env: Environment, options?: LocalBlossomOptions) {
  const upstream = await startLocalBlossom(options)
  const blossom = blossomFromEnv({
    POLLINATIONS_API_KEY: KEY,
    BLOSSOM_BASE_URL: upstream.url,
    BLOSSOM_RETRIES: '0',
    BLOSSOM_CACHE: 'off',
    ...env,
  })
  return {
    upstream,
    blossom,
    ask: blossom.text.generate,
    async [Symbol.asyncDispose]() {
      await blossom.close({ timeoutMs: 0 })
      await upstream.close()
    },
  }
}

describe('blossomFromEnv', () => {
  it('adds the layers whose variables are set, each in its place', async () => {
    const { blossom } = await around({
      BLOSSOM_TOKEN_LIMIT_PER_MINUTE: '1000',
      BLOSSOM_TENANT_LIMIT_PER_MINUTE: '60',
      BLOSSOM_FALLBACK_MODELS: 'mistral',
      BLOSSOM_HEDGE_MODELS: 'mistral',
    })
    const layers = blossom.describe()
    expect(layers.map(({ name }) => name).join()).toBe(
      'dedupe,rateLimit,timeout,fallback,retry,hedge,breaker,queue,providerLimit,attempt,pool',
    )
    expect(layers.filter(({ note }) => note !== undefined)).toEqual([])
  })

  it('BLOSSOM_QUEUE_CONCURRENCY may be adaptive', async () => {
    await using scene = await around({ BLOSSOM_QUEUE_CONCURRENCY: 'adaptive' })
    expect(scene.blossom.stats().queue.concurrency).toBe(4)
    for (let i = 0; i < 8; i++) await Promise.all([scene.ask(`${i} a`), scene.ask(`${i} b`)])
    expect(scene.blossom.stats().queue.concurrency).toBeGreaterThan(4)
  })

  it('BLOSSOM_QUEUE_WEIGHTS gives tenants larger shares', async () => {
    const env = { BLOSSOM_QUEUE_CONCURRENCY: '1', BLOSSOM_QUEUE_WEIGHTS: 'gold = 3, plain=1' }
    await using scene = await around(env, { reply: () => 'Yes.' })
    const tenants = Array.from({ length: 32 }, (_, i) => (i < 16 ? 'plain' : 'gold'))
    const order: string[] = []
    const calls = tenants.map((tenant, i) =>
      scene.ask(`Question ${i}`, { tenant }).then(() => order.push(tenant)),
    )
    await Promise.all(calls)
    // Nobody else waits while the first one runs. Of equal tenants each would have eight.
    const { length } = order.slice(1, 17).filter((tenant) => tenant === 'gold')
    expect(length).toBeGreaterThanOrEqual(11)
    expect(length).toBeLessThanOrEqual(13)
  })

  it.each([
    ['member', 'RATE_LIMITED'],
    ['model', undefined],
  ])('BLOSSOM_POOL_GATE %s: after a 429 another model comes to %s', async (gate, code) => {
    await using scene = await around({ BLOSSOM_POOL_GATE: gate })
    scene.upstream.fail(429)
    expect(await failure(scene.ask('one', { model: 'openai' }))).toMatchObject({ status: 429 })
    const other = scene.ask('two', { model: 'mistral', timeoutMs: 500 })
    expect((await other.catch((error) => error)).code).toBe(code)
  })

  it('BLOSSOM_BREAKER_SLOW_MS and BLOSSOM_BREAKER_TRIALS stop a slow model and try it again later', async () => {
    const env = { BLOSSOM_BREAKER_SLOW_MS: '5', BLOSSOM_BREAKER_TRIALS: '2' }
    let latencyMs = 20
    await using scene = await around(env, { latencyMs: () => latencyMs })
    for (let i = 0; i < 2; i++)
      await Promise.all(Array.from({ length: 5 }, (_, n) => scene.ask(`${i} ${n}`)))
    expect(await failure(scene.ask('open'))).toMatchObject({ code: 'BREAKER_OPEN' })
    latencyMs = 0
    const clock = fakeClock()
    try {
      await clock.advance(30_000)
      const trials = ['a', 'b', 'c'].map((prompt) => scene.ask(prompt).then(() => 'answer', codeOf))
      expect(await Promise.all(trials)).toEqual(['answer', 'answer', 'BREAKER_OPEN'])
      expect(scene.blossom.stats().breaker.state).toBe('closed')
    } finally {
      clock.restore()
    }
  })

  it.each([
    ['BLOSSOM_RATE_LIMIT_PER_MINUTE', '6', ['answer', 'RATE_LIMITED', 'RATE_LIMITED']],
    ['BLOSSOM_TOKEN_LIMIT_PER_MINUTE', '100', ['answer', 'RATE_LIMITED', 'RATE_LIMITED']],
    ['BLOSSOM_TENANT_LIMIT_PER_MINUTE', '6', ['answer', 'RATE_LIMITED', 'answer']],
    ['BLOSSOM_TENANT_TOKEN_LIMIT_PER_MINUTE', '100', ['answer', 'RATE_LIMITED', 'answer']],
    ['BLOSSOM_BUDGET', '0.0003/day', ['answer', 'BUDGET', 'BUDGET']],
    ['BLOSSOM_TENANT_BUDGET', '0.0003/month', ['answer', 'BUDGET', 'answer']],
  ])('%s limits two tenants separately', async (name, value, expected) => {
    await using scene = await around({ [name]: value, BLOSSOM_PRICES: '*=1/1' })
    const options = { maxTokens: 200, timeoutMs: 5_000 }
    const calls = ['one', 'one', 'other'].map((tenant, i) =>
      scene.ask(`Question ${i}`, { ...options, tenant }).then(() => 'answer', codeOf),
    )
    expect(await Promise.all(calls)).toEqual(expected)
  })

  it('BLOSSOM_TENANT_LIMIT_MODE rejects at once instead of waiting', async () => {
    const limit = { BLOSSOM_TENANT_LIMIT_PER_MINUTE: '60', BLOSSOM_TENANT_LIMIT_MODE: 'reject' }
    await using scene = await around(limit)
    const calls = Array.from({ length: 12 }, (_, i) => scene.ask(`${i}`).then(() => '', codeOf))
    expect((await Promise.all(calls)).filter((code) => code === 'RATE_LIMITED')).toHaveLength(2)
    expect(scene.blossom.stats()).toMatchObject({ rateLimit: { admitted: 10, rejected: 2 } })
  })

  it('BLOSSOM_PRICES blocks models that have no price', async () => {
    const env = { BLOSSOM_BUDGET: '5/day', BLOSSOM_PRICES: 'mistral=0.1/0.3, openai=0.15/0.6' }
    await using scene = await around(env)
    expect((await scene.ask('one', { model: 'mistral' })).text).not.toBe('')
    expect(await failure(scene.ask('one', { model: 'openai-large' }))).toMatchObject({
      code: 'BUDGET',
      status: 402,
    })
  })

  it('BLOSSOM_HEDGE_MODELS answer in place of a slow model', async () => {
    const env = { BLOSSOM_HEDGE_MODELS: 'openai, mistral', BLOSSOM_HEDGE_DELAY_MS: '20' }
    await using scene = await around(env)
    scene.upstream.fault({ hang: true })
    expect((await scene.ask('one', { model: 'openai' })).model).toBe('mistral')
    expect(scene.blossom.stats()).toMatchObject({ hedge: { hedged: 1, won: 1 } })
    expect(scene.upstream.requests.map(({ body }) => (body as { model: string }).model)).toEqual([
      'openai',
      'mistral',
    ])
  })

  it.each(['BLOSSOM_BUDGET', 'BLOSSOM_TENANT_BUDGET'])('%s needs prices', async (name) => {
    await expect(around({ [name]: '5/day' })).rejects.toMatchObject({
      code: 'CONFIG',
      message:
        'The environment variable BLOSSOM_PRICES must be set if BLOSSOM_BUDGET or BLOSSOM_TENANT_BUDGET is set.',
    })
  })
})

const codeOf = ({ code }: { code: string }) => code

describe('prices', () => {
  const prices = new Map([
    ['openai', readPrice('0.5/2/0.1')!],
    ['mistral', readPrice('1/3')!],
  ])
  const { price } = costOf(readBudget('99.50/month'), prices)!
  const million = { input: 1_000_000, output: 1_000_000 }

  it('are per million tokens of input, output and cached input', () => {
    expect(price('openai', million)).toBeCloseTo(2.5, 9)
    expect(price('openai', { ...million, cachedInput: 500_000 })).toBeCloseTo(2.3, 9)
    // Upstream may report more from its cache than it was given.
    expect(price('openai', { input: 10, output: 0, cachedInput: 50 })).toBeCloseTo(1e-6, 12)
    expect(price('mistral', { ...million, cachedInput: 500_000 })).toBeCloseTo(4, 9)
  })

  it('fall back to those of * for models without their own, and are otherwise unknown', () => {
    expect(price('other', million)).toBeUndefined()
    const all = new Map([...prices, ['*', readPrice('7/0')!] as const])
    expect(costOf(readBudget('1/day'), all)!.price('other', million)).toBeCloseTo(7, 9)
  })
})
