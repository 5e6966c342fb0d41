import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Context, type LayerOf, stack } from '../../../src/core/index.js'
import { breaker } from '../../../src/layers/breaker/index.js'
import { fallback } from '../../../src/layers/fallback/index.js'
import { hedge } from '../../../src/layers/hedge/index.js'
import { pool } from '../../../src/layers/pool/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import { rateLimit } from '../../../src/layers/rate-limit/index.js'
import {
  ALL,
  around,
  FAILED,
  heldBy,
  type Kind,
  layersOf,
  permutations,
  trial,
  tryAll,
} from '../../support/layer-orders.js'
import { catchWarningsInEachTest } from '../../support/warnings.js'

catchWarningsInEachTest()

const KINDS = Object.keys(ALL) as Kind[]
/** All layers, in any order. */
const order = fc.shuffledSubarray(KINDS, { minLength: KINDS.length })

/** The layers with the options that change how they work. */
const variants = {
  queue: [
    () => queue({ concurrency: 'adaptive' }),
    () => queue({ concurrency: 1, gate: 'model', fairness: false }),
    () => queue({ concurrency: { min: 1, start: 1, max: 2 }, weights: { gold: 3 } }),
  ],
  pool: [
    () => pool({ connections: 1, members: [{ weight: 1 }, { weight: 2 }], affinity: () => 'one' }),
    () => pool({ connections: 1, gate: 'model' }),
  ],
  breaker: [
    () => breaker({ key: 'model', trials: 2 }),
    () => breaker({ slowMs: 20_000, slowRate: 0.9, resetMs: (openings: number) => openings }),
  ],
  rateLimit: [
    () => rateLimit({ tokens: 1e6, by: 'model' }),
    () => rateLimit({ requests: { limit: 1_000, intervalMs: 1_000, burst: 1 }, by: () => 'key' }),
    () => rateLimit({ cost: { limit: 100, per: 'month', price: () => 1 }, by: 'all' }),
  ],
  hedge: [() => hedge(), () => hedge({ delayMs: 20_000, budget: false })],
}

/** All layers in any order, some of them with other options. */
const variant = fc
  .tuple(order, fc.array(fc.nat(100), { minLength: KINDS.length, maxLength: KINDS.length }))
  .map(([kinds, picks]) => {
    const layers = kinds.map((kind, i) => {
      const others = kind in variants ? variants[kind as keyof typeof variants] : []
      const pick = picks[i]! % (others.length + 1)
      return (others[pick - 1] ?? ALL[kind])() as LayerOf<string, unknown>
    })
    return { kinds, layers, toString: () => `${kinds.join(' → ')} (${picks.join()})` }
  })

/** The layers that bring in somebody else, for a base that fails and is silent. */
const needed = (): typeof ALL => {
  const elsewhere = stack(async (request: string): Promise<unknown> => {
    if (request === 'fails') throw FAILED
    return request === 'is silent' ? 'is silent: elsewhere' : `${request}: done`
  })
  return {
    ...ALL,
    fallback: (name) => fallback({ to: [(request) => `${request}: instead`], name }),
    hedge: (name) => hedge({ to: [elsewhere], delayMs: 5, budget: false, name }),
  }
}

/** Asks a stack for what needs somebody else, and says what is not as it should be. */
async function trialInNeed(kinds: readonly Kind[]) {
  let left = 0
  const base = async (request: string, { signal }: Context): Promise<unknown> => {
    if (request === 'fails') throw FAILED
    if (request !== 'is silent') return `${request}: done`
    return new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        left++
        reject(signal.reason)
      }),
    )
  }
  const ask = around(base, layersOf(kinds, needed()))
  const isHedged = kinds.includes('hedge')
  const answers = [await ask('first'), await ask('fails').catch((error: unknown) => error)]
  if (isHedged) answers.push(await ask('is silent'))
  answers.push(await ask('last'))
  await ask.close()
  const failed = kinds.includes('fallback') ? 'fails: instead' : FAILED
  const silent = isHedged ? ['is silent: elsewhere'] : []
  return {
    got: { answers, left, held: heldBy(ask) },
    expected: {
      answers: ['first: done', failed, ...silent, 'last: done'],
      left: silent.length,
      held: 0,
    },
  }
}

describe.each([
  ['loses, doubles and blocks no call', trial],
  ['has somebody else answer what fails and what is silent', trialInNeed],
])('all layers: %s', (_, attempt) => {
  it.each([1, 2, 3])(
    'in any order of %i of them',
    async (count) => {
      const orders = permutations(KINDS, count)
      const n = KINDS.length
      expect(orders.length).toBe([0, n, n * (n - 1), n * (n - 1) * (n - 2)][count])
      await tryAll(orders, attempt)
    },
    120_000,
  )

  it('in random orders of all of them', async () => {
    const orders = fc.sample(order, 500)
    expect(new Set(orders.map((kinds) => kinds.join())).size).toBeGreaterThan(490)
    await tryAll(orders, attempt)
  }, 120_000)
})

describe('all layers', () => {
  it('lose, double and block no call in any order with other options', async () => {
    await fc.assert(
      fc.asyncProperty(variant, async ({ kinds, layers }) => {
        const { got, expected } = await trial(kinds, layers)
        expect(got).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  }, 120_000)
})
