import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type LayerOf, stack } from '../../../src/core/index.js'
import { batcher } from '../../../src/layers/batcher/index.js'
import { fallback } from '../../../src/layers/fallback/index.js'
import {
  ALL,
  around,
  FAILED,
  OTHERS,
  permutations,
  SEVEN,
  trial,
  tryAll,
} from '../../support/layer-orders.js'
import { catchWarningsInEachTest } from '../../support/warnings.js'

catchWarningsInEachTest()

const KINDS = Object.keys(SEVEN) as (keyof typeof SEVEN)[]
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
        other === kind ? [SEVEN[kind](), SEVEN[kind]('inner')] : [SEVEN[other]()],
      )
      const apart = [
        SEVEN[kind]('outer'),
        ...KINDS.filter((other) => other !== kind).map((other) => SEVEN[other]()),
        SEVEN[kind](),
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
        const layers = kinds.map((kind) => SEVEN[kind]()) as LayerOf<string, unknown>[]
        const { got, expected } = await trial(kinds, layers.toSpliced(place, 0, ALL.rateLimit()))
        if (!isDeepStrictEqual(got, expected)) expect(got, kinds.join(' → ')).toEqual(expected)
      }
    },
    120_000,
  )

  it.each(KINDS.map((_, i) => i))(
    'merges calls with the batcher at place %i of a stack of one slot',
    async (place) => {
      const layers = KINDS.map((kind) => SEVEN[kind]()) as unknown as LayerOf<number[], number[]>[]
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

describe.each(Object.entries(OTHERS))('%s', (_, makeOther) => {
  it.each(KINDS.map((_, i) => i))('changes nothing at place %i', async (place) => {
    const layers = KINDS.map((kind) => SEVEN[kind]()) as LayerOf<string, unknown>[]
    const { got, expected } = await trial(KINDS, layers.toSpliced(place, 0, makeOther()))
    expect(got).toEqual(expected)
  })
})

describe('fallback', () => {
  it.each(KINDS.map((_, i) => i))('has another answer at place %i', async (place) => {
    const layers = KINDS.map((kind) => SEVEN[kind]()) as LayerOf<string, unknown>[]
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
