import { describe, expect, it, vi } from 'vitest'
import { base, createBlossom, type StandardOptions, stack, standard } from '../../src/index.js'
import { useFakeTimers } from '../support/fake-timers.js'
import { never } from '../support/gate.js'
import { STANDARD_NAMES } from '../support/standard-names.js'
import { failure, watch } from '../support/watch.js'

const MINUTE = 60_000

const namesOf = (options?: StandardOptions): string[] =>
  createBlossom()
    .use(...standard(options))
    .describe()
    .map(({ name }) => name)

useFakeTimers()

/** How long a call that is never answered takes to fail. Milliseconds. */
async function patienceOf(options: StandardOptions | undefined, request: object): Promise<number> {
  const ask = stack(
    base((_: object) => never(), {
      streams: (asked) => 'stream' in asked,
      key: () => undefined,
    }),
    ...standard({ ...options, retry: false }),
  )
  const start = performance.now()
  const call = watch(ask(request))
  while (call.state === 'pending') await vi.advanceTimersByTimeAsync(1_000)
  expect(call.error).toMatchObject({ code: 'TIMEOUT' })
  await ask.close({ timeoutMs: 0 })
  return performance.now() - start
}

describe('standard', () => {
  it('has all layers, in the recommended order', () => {
    expect(namesOf()).toEqual(STANDARD_NAMES)
    expect(namesOf({})).toEqual(STANDARD_NAMES)
  })

  it.each(STANDARD_NAMES)('leaves out %s when it is false', (name) => {
    expect(namesOf({ [name]: false })).toEqual(STANDARD_NAMES.filter((one) => one !== name))
  })

  it('includes additional layers, each in its place', () => {
    const given = {
      rateLimit: { requests: 60 },
      providerLimit: { tokens: 1_000 },
      fallback: { to: ['mistral'] },
      hedge: {},
    }
    expect(namesOf(given).join(' ')).toBe(
      'cache dedupe rateLimit timeout fallback retry hedge breaker queue providerLimit attempt pool',
    )
    expect(namesOf({ rateLimit: false, fallback: false, hedge: false })).toEqual(STANDARD_NAMES)
    expect(namesOf({ rateLimit: undefined, fallback: undefined })).toEqual(STANDARD_NAMES)
  })

  it('holds providerLimit for all tenants together, and rateLimit for each', async () => {
    const answered = async (options: StandardOptions) => {
      const ask = stack(async (n: number) => n, ...standard({ ...options, cache: false }))
      const calls = ['a', 'b'].map((tenant, n) => watch(ask(n, { tenant })))
      await vi.advanceTimersByTimeAsync(0)
      const { length } = calls.filter(({ state }) => state === 'resolved')
      await ask.close({ timeoutMs: 0 })
      return length
    }
    const requests = { limit: 1, intervalMs: MINUTE }
    expect(await answered({ rateLimit: { requests } })).toBe(2)
    expect(await answered({ providerLimit: { requests } })).toBe(1)
  })

  it('reports nothing odd about its order', () => {
    const limits = { rateLimit: { requests: 60 }, providerLimit: { tokens: 1_000 } }
    const layers = createBlossom()
      .use(...standard({ ...limits, fallback: { to: ['mistral'] }, hedge: {} }))
      .describe()
    expect(layers.filter(({ note }) => note !== undefined)).toEqual([])
  })

  it('can leave out all layers', () => {
    expect(namesOf(Object.fromEntries(STANDARD_NAMES.map((name) => [name, false])))).toEqual([])
  })

  it.each(STANDARD_NAMES)('has the defaults of %s when it is undefined or empty', (name) => {
    expect(namesOf({ [name]: undefined })).toEqual(STANDARD_NAMES)
    expect(namesOf({ [name]: {} })).toEqual(STANDARD_NAMES)
  })

  it('hands the options to their layers', () => {
    const client = createBlossom().use(
      ...standard({ queue: { concurrency: 20 }, pool: { connections: 30 } }),
    )
    expect(client.stats()).toMatchObject({ queue: { concurrency: 20 }, pool: { max: 30 } })
  })

  it.each([
    ['a request', {}, 2],
    ['an image', { path: '/image/roses' }, 5],
    ['an image from the OpenAI route', { path: '/v1/images/generations' }, 5],
    ['the first token of a stream', { stream: true }, 1],
  ])('gives an attempt for %s its time', async (_, request, minutes) => {
    expect(await patienceOf(undefined, request)).toBe(minutes * MINUTE)
  })

  it.each([
    ['a request', {}, 5],
    ['an image', { path: '/image/roses' }, 10],
    ['a stream', { stream: true }, 15],
  ])('gives a call for %s its time', async (_, request, minutes) => {
    expect(await patienceOf({ attempt: false }, request)).toBe(minutes * MINUTE)
  })

  it.each<[string, StandardOptions, number]>([
    ['10 for a queue of 5', {}, 10],
    ['20 for a queue of 20', { queue: { concurrency: 20 } }, 20],
    ['10 for a queue of 2', { queue: { concurrency: 2 } }, 10],
    ['10 without a queue', { queue: false }, 10],
    ['as many as an adaptive queue may reach', { queue: { concurrency: 'adaptive' } }, 200],
    ['as many as it is allowed', { queue: { concurrency: { max: 40 } } }, 40],
    ['200 when only its start is given', { queue: { concurrency: { start: 8 } } }, 200],
    ['what the pool says', { queue: { concurrency: 20 }, pool: { connections: 3 } }, 3],
    [
      'the same when the pool leaves it open',
      { queue: { concurrency: 20 }, pool: { connections: undefined, gate: 'model' } },
      20,
    ],
  ])('gives the pool connections for all calls of the queue: %s', (_, options, connections) => {
    const { pool } = createBlossom()
      .use(...standard(options))
      .stats() as { pool: { max: number } }
    expect(pool.max).toBe(connections)
  })

  it('merges options over the defaults and ignores undefined', async () => {
    const attempt = { ms: 7_000, firstTokenMs: undefined }
    expect(await patienceOf({ attempt }, {})).toBe(7_000)
    expect(await patienceOf({ attempt }, { stream: true })).toBe(MINUTE)
  })

  it('has a circuit for each model, or one for a base that knows no models', async () => {
    const options = {
      breaker: { minimumCalls: 1 },
      retry: false,
      dedupe: false,
      cache: false,
    } as const
    const down = async () => {
      throw new Error('down')
    }
    const ask = stack(
      base((_: { model: string }) => down(), { model: ({ model }) => model }),
      ...standard(options),
    )
    expect(await failure(ask({ model: 'a' }))).toMatchObject({ message: 'down' })
    expect(await failure(ask({ model: 'a' }))).toMatchObject({ code: 'BREAKER_OPEN' })
    expect(await failure(ask({ model: 'b' }))).toMatchObject({ message: 'down' })
    const plain = stack(async (_: number) => down(), ...standard(options))
    expect(await failure(plain(1))).toMatchObject({ message: 'down' })
    expect(await failure(plain(2))).toMatchObject({ code: 'BREAKER_OPEN' })
    await ask.close({ timeoutMs: 0 })
    await plain.close({ timeoutMs: 0 })
  })

  it('has a single circuit when the breaker is given no key', async () => {
    const [, , , , trip] = standard({ breaker: { key: () => 'all', minimumCalls: 1 } })
    const ask = stack(
      base(
        async (_: string) => {
          throw new Error('down')
        },
        { model: (model) => model },
      ),
      trip,
    )
    await failure(ask('a'))
    expect(await failure(ask('b'))).toMatchObject({ code: 'BREAKER_OPEN' })
    await ask.close({ timeoutMs: 0 })
  })

  it.each([
    ['true', { cache: true }, 'option "cache" must be an options object, or false, got true.'],
    ['a number', { queue: 5 }, 'option "queue" must be an options object, or false, got 5.'],
    ['a list', { retry: [] }, 'option "retry" must be an options object, or false'],
    ['null', { pool: null }, 'option "pool" must be an options object, or false, got null.'],
    [
      'an unknown layer',
      { batcher: {} },
      'option "batcher" is unknown; expected one of cache, dedupe,',
    ],
    ['a layer in place of the options', () => {}, 'options must be an object'],
    [
      'another name',
      { queue: { name: 'slots' } },
      'option "name" is not allowed for "queue"; its name is fixed.',
    ],
  ])('refuses %s', (_, options, sentence) => {
    expect(() => standard(options as never)).toThrow(
      expect.objectContaining({
        code: 'CONFIG',
        message: expect.stringContaining(`standard: ${sentence}`),
      }),
    )
  })

  it.each([
    ['queue', { concurrency: 0 }, 'queue: option "concurrency"'],
    ['attempt', { ms: -1 }, 'timeout: option "ms"'],
    ['breaker', { keys: 'model' }, 'breaker: option "keys" is unknown'],
  ])('refuses wrong options of %s as the layer does', (name, options, sentence) => {
    expect(() => standard({ [name]: options } as never)).toThrow(sentence)
  })

  it('says to call it and spread the result when it is passed as a layer', () => {
    expect(() =>
      createBlossom({ apiKey: 'sk_test' })
        .use(standard as never)
        .describe(),
    ).toThrow('call it and spread the list: use(...standard()).')
  })

  it('refuses options that cannot be read', () => {
    const unreadable = new Proxy(
      {},
      {
        ownKeys() {
          throw new Error('on purpose')
        },
      },
    )
    expect(() => standard({ queue: unreadable })).toThrow(
      'standard: reading the options of "queue" threw an error. Pass a plain object.',
    )
    expect(() => standard(unreadable)).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })
})
