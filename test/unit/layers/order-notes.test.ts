import { describe, expect, it } from 'vitest'
import { type LayerOf, stack } from '../../../src/core/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { pool } from '../../../src/layers/pool/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import { rateLimit } from '../../../src/layers/rate-limit/index.js'
import { retry } from '../../../src/layers/retry/index.js'
import { timeout } from '../../../src/layers/timeout.js'
import { standard } from '../../../src/standard.js'
import { ALL } from '../../support/layer-orders.js'
import { STANDARD_NAMES } from '../../support/standard-names.js'
import { catchWarningsInEachTest } from '../../support/warnings.js'

const warnings = catchWarningsInEachTest()

describe('describe', () => {
  const { attempt: _, providerLimit: __, ...layers } = ALL
  const all = {
    ...layers,
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
          new RegExp(`^${inner} is inside ${outer}: .+\\. Move ${inner} outside\\.$`),
        )
      } else expect(second).not.toHaveProperty('note')
    },
  )

  it.each([
    ['tenant', true],
    ['model', true],
    [() => 'key', true],
    ['all', false],
  ] as const)('says of a limit by %s inside queue whether its waits hold slots', (by, isOdd) => {
    const notes = describeOf(queue(), rateLimit({ requests: 60, by })).map(({ note }) => note)
    expect(notes).toEqual([
      undefined,
      isOdd
        ? 'rateLimit is inside queue: a call that waits for its limit holds a slot that others could use. Move rateLimit outside.'
        : undefined,
    ])
  })

  it('has nothing to say of a limit that nobody waits for', () => {
    const limit = rateLimit({ requests: 60, by: 'tenant', mode: 'reject' })
    expect(describeOf(queue(), pool(), limit).filter(({ note }) => note !== undefined)).toEqual([])
  })

  it('says that a limit for all calls holds connections', () => {
    const [, inner] = describeOf(pool(), rateLimit({ requests: 60, by: 'all' }))
    expect(inner?.note).toBe(
      'rateLimit is inside pool: a call that waits for its limit holds a connection. Move rateLimit outside.',
    )
  })

  it.each([
    ['tenant', 1],
    ['all', 0],
  ] as const)('says of providerLimit by %s in standard() so many odd things: %i', (by, count) => {
    const limits = { providerLimit: { requests: 60, by } }
    const layers = standard(limits) as unknown as LayerOf<string, unknown>[]
    const notes = describeOf(...layers).filter(({ note }) => note !== undefined)
    expect(notes.map(({ name }) => name)).toEqual(Array(count).fill('providerLimit'))
  })

  it('goes by the kind of a layer, not by its name', () => {
    const [, second] = describeOf(
      queue({ name: 'bulkhead' }),
      timeout({ ms: 1_000 }),
      cache({ name: 'memory' }),
    ).filter(({ name }) => name !== 'timeout')
    expect(second).toMatchObject({
      name: 'memory',
      note: expect.stringMatching(/^memory is inside bulkhead: a cache hit waits for a slot/),
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
      'again is inside warned: a call holds its slot while it waits to retry. Move retry outside.',
    ])
    odd()
    expect(warnings.length).toBe(1)
  })

  it('has nothing to say about the recommended order', () => {
    const described = describeOf(...(standard() as unknown as LayerOf<string, unknown>[]))
    expect(described.map(({ name }) => name)).toEqual(STANDARD_NAMES)
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
