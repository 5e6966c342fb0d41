import { isDeepStrictEqual } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Context, type LayerOf, stack } from '../../../src/core/index.js'
import { batcher } from '../../../src/layers/batcher/index.js'
import { breaker } from '../../../src/layers/breaker/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { dedupe } from '../../../src/layers/dedupe/index.js'
import { fallback } from '../../../src/layers/fallback/index.js'
import { hedge } from '../../../src/layers/hedge/index.js'
import { pool } from '../../../src/layers/pool/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import { rateLimit } from '../../../src/layers/rate-limit/index.js'
import { retry } from '../../../src/layers/retry/index.js'
import { timeout } from '../../../src/layers/timeout.js'
import { standard } from '../../../src/standard.js'
import { gate } from '../../support/gate.js'
import { numbers } from '../../support/streams.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

let warnings: string[]

beforeEach(() => {
  warnings = catchWarnings()
})

afterEach(() => {
  vi.restoreAllMocks()
})

const FAILED = new Error('the base failed on purpose')

/** The layers with one slot wherever there are slots, in the recommended order. */
const make = {
  cache: (name?: string) => cache({ name, maxEntries: 10 }),
  dedupe: (name?: string) => dedupe({ name }),
  timeout: (name?: string) => timeout({ ms: 20_000, name }),
  retry: (name?: string) => retry({ retries: 2, minDelayMs: 0, name }),
  breaker: (name?: string) => breaker({ name }),
  queue: (name?: string) => queue({ concurrency: 1, name }),
  pool: (name?: string) => pool({ connections: 1, name }),
}
/** A limit that has calls wait for a moment. */
const limit = (name?: string) =>
  rateLimit({
    requests: { limit: 1_000, intervalMs: 1_000, burst: 2 },
    tokens: 1e6,
    by: 'all',
    name,
  })
type Kind = keyof typeof make
const KINDS = Object.keys(make) as Kind[]

interface Ask {
  (request: string, options?: CallOptions): Promise<unknown>
  stats(): Record<
    string,
    { running?: number; active?: number; waiting?: number; inFlight?: number }
  >
  close(): Promise<void>
}

/** A base that counts its calls by request, and does what the request says. */
function countingBase() {
  const counts: Record<string, number> = {}
  const waits = gate()
  const ask = async (request: string, { signal }: Context): Promise<unknown> => {
    const count = (counts[request] ?? 0) + 1
    counts[request] = count
    if (request === 'fails once' && count === 1) throw FAILED
    if (request.startsWith('stream')) return numbers(3)
    if (request === 'waits') {
      waits.open()
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      )
    }
    await null
    return `${request}: done`
  }
  return { ask, counts, waits: waits.promise }
}

const around = (
  base: (request: string, context: Context) => Promise<unknown>,
  layers: readonly LayerOf<string, unknown>[],
): Ask => stack(base, ...layers) as unknown as Ask

/** Gives a stack of one slot five calls at once, and says what is not as it should be. */
async function trial(
  kinds: readonly Kind[],
  layers: readonly LayerOf<string, unknown>[] = kinds.map((kind) => make[kind]()),
) {
  const { ask: base, counts, waits } = countingBase()
  const ask = around(base, layers)
  const caller = new AbortController()
  const reason = new Error('the caller has left')
  const read = async (request: string, limit: number) => {
    const chunks: unknown[] = []
    for await (const chunk of (await ask(request)) as AsyncIterable<unknown>) {
      chunks.push(chunk)
      if (chunks.length === limit) break
    }
    return chunks.join()
  }
  const abort = async () => {
    const failed = failure(ask('waits', { signal: caller.signal }))
    await waits
    caller.abort(reason)
    return (await failed) === reason
  }
  const answers = await Promise.all([
    ask('ok'),
    ask('fails once').catch((error: unknown) => error),
    abort(),
    read('stream read', Number.POSITIVE_INFINITY),
    read('stream left', 1),
  ])
  const again = [await ask('ok'), await read('stream read', Number.POSITIVE_INFINITY)]
  await ask.close()
  const held = Object.values(ask.stats()).map(
    ({ running = 0, active = 0, waiting = 0, inFlight = 0 }) =>
      running + active + waiting + inFlight,
  )
  const repeats = kinds.includes('retry')
  const cached = kinds.includes('cache')
  const expected = {
    answers: ['ok: done', repeats ? 'fails once: done' : FAILED, true, '0,1,2', '0'],
    again: ['ok: done', '0,1,2'],
    counts: {
      ok: cached ? 1 : 2,
      'fails once': repeats ? 2 : 1,
      waits: 1,
      'stream read': cached ? 1 : 2,
      'stream left': 1,
    },
    held: 0,
  }
  return { got: { answers, again, counts, held: held.reduce((sum, n) => sum + n, 0) }, expected }
}

/**
 * Tries many stacks, some at a time, and fails with the first order that is not as it should be.
 */
async function tryAll(orders: readonly (readonly Kind[])[]) {
  for (let i = 0; i < orders.length; i += 250) {
    await Promise.all(
      orders.slice(i, i + 250).map(async (order) => {
        const { got, expected } = await trial(order)
        // Thousands of times: `expect` only when it has something to show.
        if (!isDeepStrictEqual(got, expected)) expect(got, order.join(' → ')).toEqual(expected)
      }),
    )
  }
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, i) =>
    permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]),
  )
}

const subsets = Array.from({ length: 2 ** KINDS.length }, (_, bits) =>
  KINDS.filter((_, i) => bits & (1 << i)),
)

describe('order', () => {
  it('loses, doubles and blocks no call in any of the 5,040 orders of seven layers with one slot', async () => {
    const orders = permutations(KINDS)
    expect(orders.length).toBe(5_040)
    await tryAll(orders)
  }, 120_000)

  it('loses, doubles and blocks no call in any of the 128 subsets of the layers', async () => {
    expect(subsets.length).toBe(128)
    await tryAll(subsets)
  }, 120_000)

  it.each(KINDS)(
    'takes %s twice, next to itself, or around all others and inside them',
    async (kind) => {
      const beside = KINDS.flatMap((other) =>
        other === kind ? [make[kind](), make[kind]('inner')] : [make[other]()],
      )
      const apart = [
        make[kind]('outer'),
        ...KINDS.filter((other) => other !== kind).map((other) => make[other]()),
        make[kind](),
      ]
      for (const layers of [beside, apart]) {
        const { got, expected } = await trial(KINDS, layers as LayerOf<string, unknown>[])
        expect(got).toEqual(expected)
      }
    },
  )

  it.each([...KINDS, ''].map((_, i) => i))(
    'loses, doubles and blocks no call with a rate limit at place %i of each subset of the layers',
    async (place) => {
      for (const kinds of subsets.filter(({ length }) => length >= place)) {
        const layers = kinds.map((kind) => make[kind]()) as LayerOf<string, unknown>[]
        const { got, expected } = await trial(kinds, layers.toSpliced(place, 0, limit()))
        if (!isDeepStrictEqual(got, expected)) expect(got, kinds.join(' → ')).toEqual(expected)
      }
    },
    120_000,
  )

  it.each(KINDS.map((_, i) => i))(
    'merges calls with the batcher at place %i of a stack of one slot',
    async (place) => {
      const layers = KINDS.map((kind) => make[kind]()) as unknown as LayerOf<number[], number[]>[]
      const asked: number[][] = []
      const ask = stack(
        async (inputs: number[]) => {
          asked.push(inputs)
          return inputs.map((input) => input * 2)
        },
        ...layers.toSpliced(place, 0, batcher({ maxDelayMs: 1 })),
      )
      const answers = await Promise.all([1, 2, 3, 4].map((n) => ask([n])))
      expect(answers).toEqual([[2], [4], [6], [8]])
      expect(asked.flat().toSorted()).toEqual([1, 2, 3, 4])
      await ask.close()
    },
  )
})

/** Layers that bring in somebody else: they change nothing while nobody is needed. */
const others = {
  fallback: (name?: string) => fallback({ to: [() => 'instead'], when: () => false, name }),
  hedge: (name?: string) => hedge({ delayMs: 20_000, name }),
}

describe.each(Object.entries(others))('%s', (_, makeOther) => {
  it.each(KINDS.map((_, i) => i))('changes nothing at place %i', async (place) => {
    const layers = KINDS.map((kind) => make[kind]()) as LayerOf<string, unknown>[]
    const { got, expected } = await trial(KINDS, layers.toSpliced(place, 0, makeOther()))
    expect(got).toEqual(expected)
  })
})

describe('fallback', () => {
  it.each(KINDS.map((_, i) => i))('has another answer at place %i', async (place) => {
    const layers = KINDS.map((kind) => make[kind]()) as LayerOf<string, unknown>[]
    const other = stack(async (request: string): Promise<unknown> => `${request}: instead`)
    const ask = around(
      async (request) => (request === 'ok' ? 'ok: done' : Promise.reject(FAILED)),
      layers.toSpliced(place, 0, fallback({ to: [other] })),
    )
    const answers = await Promise.all(['ok', 'down', 'ok', 'down'].map((request) => ask(request)))
    expect(answers).toEqual(['ok: done', 'down: instead', 'ok: done', 'down: instead'])
    await ask.close()
  })
})

describe('describe', () => {
  const all = {
    ...make,
    ...others,
    batcher: (name?: string) => batcher({ name }),
    rateLimit: (name?: string) => rateLimit({ requests: 60, by: 'tenant', name }),
  }
  type Any = keyof typeof all
  /** What is odd: the outer layer, and those that are better placed outside it. */
  const ODD: Partial<Record<Any, Any[]>> = {
    queue: ['cache', 'dedupe', 'retry', 'breaker', 'batcher', 'rateLimit', 'fallback', 'hedge'],
    pool: [
      'cache',
      'dedupe',
      'retry',
      'breaker',
      'batcher',
      'queue',
      'rateLimit',
      'fallback',
      'hedge',
    ],
    rateLimit: ['cache', 'dedupe'],
    breaker: ['cache', 'fallback', 'hedge'],
    hedge: ['retry', 'fallback'],
    retry: ['fallback'],
    batcher: ['cache'],
  }
  const kinds = Object.keys(all) as Any[]
  const pairs = kinds.flatMap((outer) =>
    kinds.filter((inner) => inner !== outer).map((inner) => ({ outer, inner })),
  )
  const describeOf = (...layers: LayerOf<string, unknown>[]) =>
    stack(async (request: string): Promise<unknown> => request, ...layers).describe()

  it.each(pairs)(
    'says of $inner inside $outer whether that is odd, and why',
    ({ outer, inner }) => {
      const [first, second] = describeOf(
        all[outer]() as LayerOf<string, unknown>,
        all[inner]() as LayerOf<string, unknown>,
      )
      expect(first).not.toHaveProperty('note')
      if (ODD[outer]?.includes(inner)) {
        expect(second!.note).toMatch(
          new RegExp(`^${inner} is inside ${outer}: .+; put ${inner} outside\\.$`),
        )
      } else expect(second).not.toHaveProperty('note')
    },
  )

  it('goes by the kind of a layer, not by its name', () => {
    const [, second] = describeOf(
      queue({ name: 'bulkhead' }),
      timeout({ ms: 1_000 }),
      cache({ name: 'memory' }),
    ).filter(({ name }) => name !== 'timeout')
    expect(second).toMatchObject({
      name: 'memory',
      note: expect.stringMatching(/^memory is inside bulkhead: a hit waits for a slot/),
    })
    expect(
      describeOf(cache({ name: 'queue' }), queue({ name: 'cache' })).some(
        (layer) => 'note' in layer,
      ),
    ).toBe(false)
  })

  it('warns of an odd order once, with the reason', () => {
    const odd = () => describeOf(queue({ name: 'warned' }), retry({ name: 'again' }))
    odd()
    expect(warnings).toEqual([
      'again is inside warned: a call in backoff holds its slot; put retry outside.',
    ])
    odd()
    expect(warnings.length).toBe(1)
  })

  it('has nothing to say about the recommended order', () => {
    const described = describeOf(...(standard() as unknown as LayerOf<string, unknown>[]))
    expect(described.map(({ name }) => name)).toEqual([
      'cache',
      'dedupe',
      'timeout',
      'retry',
      'breaker',
      'queue',
      'attempt',
      'pool',
    ])
    expect(described.filter(({ note }) => note !== undefined)).toEqual([])
    expect(warnings).toEqual([])
  })

  it('tells live stats with each layer', async () => {
    const ask = stack(async (request: string) => request, cache(), queue({ concurrency: 7 }))
    await ask('x')
    await ask('x')
    expect(ask.describe()).toEqual([
      { name: 'cache', stats: expect.objectContaining({ hits: 1, misses: 1 }) },
      { name: 'queue', stats: expect.objectContaining({ concurrency: 7, completed: 1 }) },
    ])
  })
})
