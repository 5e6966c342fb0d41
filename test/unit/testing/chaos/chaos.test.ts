import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { ConfigError, cache, createBlossom, stack } from '../../../../src/index.js'
import {
  type ChaosOptions,
  chaos,
  chunkSource,
  layerContract,
  startLocalBlossom,
} from '../../../../src/testing/index.js'
import { failure } from '../../../support/watch.js'
import { readAll, streams, values } from './spoilt.js'

describe('chaos', () => {
  for (const [title, options] of Object.entries<ChaosOptions>({
    'without any fault': {},
    'that only slows': { delayMs: [0, 2], chunkDelayMs: [0, 2] },
  })) {
    describe(title, () => {
      for (const { name, run } of layerContract(() => chaos(options))) it(name, run)
    })
  }

  it('passes on the same answer object when there is nothing to spoil', async () => {
    const answer = { deep: [1] }
    expect(await stack(async () => answer, chaos())()).toBe(answer)
    const ask = stack(async () => answer, chaos({ cutRate: 1, stallRate: 0, chunkDelayMs: 5 }))
    expect(await ask()).toBe(answer)
    expect(ask.stats().chaos).toMatchObject({ calls: 1, cut: 0, slowed: 0 })
  })

  describe('failRate', () => {
    it('fails calls before they start, by default as upstream does when it is overloaded', async () => {
      const upstream = vi.fn(async (n: number) => n)
      const ask = stack(upstream, chaos({ failRate: 1 }))
      const error = await failure(ask(1))
      expect(error).toMatchObject({
        code: 'SERVER',
        status: 503,
        upstreamStatus: 503,
        upstreamCode: 'CHAOS',
        retryable: true,
        refused: false,
      })
      expect(upstream).not.toHaveBeenCalled()
      expect(ask.stats().chaos).toMatchObject({ calls: 1, failed: 1 })
    })

    it('fails with the error given, with one of several, or with what a function makes', async () => {
      const one = new Error('one')
      expect(await failure(values({ failRate: 1, error: one })(1))).toBe(one)
      const several = [new Error('a'), new TypeError('b'), new RangeError('c')]
      const ask = values({ failRate: 1, error: several })
      const met = new Set<unknown>()
      for (let i = 0; i < 50; i++) met.add(await failure(ask(i)))
      expect([...met].sort()).toEqual([...several].sort())
      const made = values({ failRate: 1, error: (call) => `failure ${call}` })
      expect([await failure(made(0)), await failure(made(0))]).toEqual(['failure 1', 'failure 2'])
      const thrown = new Error('thrown')
      const throwing = () => {
        throw thrown
      }
      expect(await failure(values({ failRate: 1, error: throwing })(1))).toBe(thrown)
    })
  })

  it('answers with a 429 that asks for a wait', async () => {
    const ask = values({ rateLimitRate: 1, retryAfterMs: 2_500 })
    expect(await failure(ask(1))).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      retryAfter: 2_500,
      refused: false,
    })
    expect(ask.stats().chaos).toMatchObject({ rateLimited: 1, failed: 0 })
    expect(await failure(values({ rateLimitRate: 1 })(1))).toMatchObject({ retryAfter: 1_000 })
  })

  describe('cutRate', () => {
    it.each([0, 1, 3])(
      'breaks streams after %i chunks, as a lost connection does',
      async (afterChunks) => {
        const { ask, source, layer } = streams({ cutRate: 1, afterChunks })
        const { chunks, error } = await readAll(await ask(1))
        expect(chunks).toEqual(['a', 'b', 'c', 'd'].slice(0, afterChunks))
        expect(error).toMatchObject({
          code: 'STREAM',
          retryable: false,
          chunks,
          cause: { code: 'NETWORK' },
        })
        expect(source).toMatchObject({ open: 0, left: 1 })
        expect(layer.stats()).toMatchObject({ cut: 1, stalled: 0, slowed: 0 })
      },
    )

    it.each([2, 3])(
      'breaks a stream of two chunks at its end when it was to give %i',
      async (afterChunks) => {
        const { ask } = streams({ cutRate: 1, afterChunks }, ['a', 'b'])
        expect(await readAll(await ask(1))).toMatchObject({
          chunks: ['a', 'b'],
          error: { code: 'STREAM' },
        })
      },
    )

    it('draws the place from the whole range', async () => {
      const { ask } = streams({ cutRate: 1, afterChunks: [1, 3] })
      const places = new Set<number>()
      for (let i = 0; i < 40; i++) places.add((await readAll(await ask(i))).chunks.length)
      expect([...places].sort()).toEqual([1, 2, 3])
    })

    it('does not count a stream that is left before its break', async () => {
      const { ask, layer } = streams({ cutRate: 1, afterChunks: 3 })
      for await (const _ of await ask(1)) break
      expect(layer.stats().cut).toBe(0)
    })

    it("passes on the stream's own failure", async () => {
      const error = new Error('of its own')
      const ask = stack(
        () => chunkSource(['a'], { error }),
        chaos({ chunkDelayMs: [0, 1], cutRate: 0.5, afterChunks: 9, seed: 2 }),
      )
      expect(await readAll(await ask())).toEqual({ chunks: ['a'], error })
    })

    it('keeps cut streams out of a cache further out', async () => {
      const ask = stack(
        (_: string) => chunkSource(['a', 'b']),
        cache(),
        chaos({ cutRate: 1, afterChunks: 2 }),
      )
      await readAll(await ask('q'))
      await readAll(await ask('q'))
      expect(ask.stats().cache).toMatchObject({ hits: 0, misses: 2, entries: 0 })
    })

    it('reports the chat text received before the cut', async () => {
      await using upstream = await startLocalBlossom({ words: 20 })
      await using blossom = createBlossom({ baseURL: upstream.url }).use(
        chaos({ cutRate: 1, afterChunks: 5 }),
      )
      const { chunks, error } = await readAll(await blossom.text.stream('Hello'))
      const text = (chunks as { text: string }[]).map((piece) => piece.text).join('')
      expect(text).not.toBe('')
      expect(error).toMatchObject({ code: 'STREAM', text })
    })
  })

  describe('seed', () => {
    const rates = { failRate: 0.2, rateLimitRate: 0.1, cutRate: 0.2, afterChunks: [0, 4] } as const
    const fate = async (ask: ReturnType<typeof streams>['ask'], n: number) => {
      try {
        const { chunks, error } = await readAll(await ask(n))
        return [chunks.length, (error as { code?: string } | undefined)?.code]
      } catch (error) {
        return (error as { code?: string }).code
      }
    }

    it('gives the same calls the same faults, however they overlap', async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer(), async (seed) => {
          const [one, other] = [streams({ ...rates, seed }), streams({ ...rates, seed })]
          const calls = Array.from({ length: 20 }, (_, n) => n)
          const inTurn: unknown[] = []
          for (const n of calls) inTurn.push(await fate(one.ask, n))
          expect(await Promise.all(calls.map((n) => fate(other.ask, n)))).toEqual(inTurn)
          expect(other.layer.stats()).toEqual(one.layer.stats())
        }),
        { numRuns: 30 },
      )
    })

    it('gives different faults for a different seed', async () => {
      const fates = async (seed: number) => {
        const { ask } = streams({ ...rates, seed })
        return JSON.stringify(await Promise.all(Array.from({ length: 30 }, (_, n) => fate(ask, n))))
      }
      expect(new Set(await Promise.all([1, 2, 3, -1, 2 ** 31].map(fates))).size).toBe(5)
    })
  })

  it('follows its configured rates', async () => {
    const layer = chaos({ failRate: 0.3, rateLimitRate: 0.1, cutRate: 0.25, afterChunks: 0 })
    const ask = stack(() => chunkSource(['a']), layer)
    for (let i = 0; i < 2_000; i++) await ask().then(readAll, () => {})
    const { calls, failed, rateLimited, cut } = layer.stats()
    expect(failed / calls).toBeCloseTo(0.3, 1)
    expect(rateLimited / calls).toBeCloseTo(0.1, 1)
    expect(cut / (calls - failed - rateLimited)).toBeCloseTo(0.25, 1)
  })

  it('has stats that survive JSON and begin at nothing', () => {
    expect(JSON.parse(JSON.stringify(chaos().stats()))).toEqual({
      calls: 0,
      failed: 0,
      rateLimited: 0,
      hung: 0,
      delayed: 0,
      cut: 0,
      stalled: 0,
      slowed: 0,
    })
    expect(chaos({ name: 'weather' }).name).toBe('weather')
  })

  it.each<[string, unknown]>([
    ...['failRate', 'rateLimitRate', 'hangRate', 'cutRate', 'stallRate'].flatMap((option) =>
      [-0.1, 1.1, Number.NaN, '0.5', null, true].map((value): [string, unknown] => [option, value]),
    ),
    ...['delayMs', 'chunkDelayMs', 'afterChunks'].flatMap((option) =>
      [
        -1,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        '5',
        null,
        [],
        [1],
        [2, 1],
        [1, 2, 3],
        [0, '5'],
        [-1, 1],
        {},
      ].map((value): [string, unknown] => [option, value]),
    ),
    ...[1.5, Number.NaN, '1', null, 5n].map((value): [string, unknown] => ['seed', value]),
    ...['down', null, {}, [], [new Error('a'), 'b']].map((value): [string, unknown] => [
      'error',
      value,
    ]),
    ...[-1, Number.NaN, '1'].map((value): [string, unknown] => ['retryAfterMs', value]),
    ['afterChunks', 1.5],
    ['afterChunks', 10_001],
    ['name', '2nd'],
    ['failrate', 0.5],
  ])('refuses a wrong %s, case %#', (option, value) => {
    expect(() => chaos({ [option]: value } as ChaosOptions)).toThrow(ConfigError)
    expect(() => chaos({ [option]: value } as ChaosOptions)).toThrow(`chaos: option "${option}"`)
  })

  it('refuses rates that exclude each other and come to more than 1', () => {
    expect(() => chaos({ failRate: 0.6, hangRate: 0.5 })).toThrow(
      'failRate, rateLimitRate and hangRate are mutually exclusive',
    )
    expect(() => chaos({ cutRate: 0.6, stallRate: 0.5 })).toThrow(
      'cutRate and stallRate are mutually exclusive',
    )
    expect(() =>
      chaos({ failRate: 0.1, rateLimitRate: 0.2, hangRate: 0.7, cutRate: 0.9, stallRate: 0.1 }),
    ).not.toThrow()
  })
})
