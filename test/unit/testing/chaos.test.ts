import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  breaker,
  ConfigError,
  cache,
  createBlossom,
  dedupe,
  isStackError,
  queue,
  retry,
  stack,
  timeout,
} from '../../../src/index.js'
import {
  type ChaosOptions,
  chaos,
  chunkSource,
  layerContract,
  scripted,
  startLocalBlossom,
} from '../../../src/testing/index.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure, turn, watch } from '../../support/watch.js'

const values = (options: ChaosOptions) => stack(async (n: number) => n, chaos(options))
const streams = (options: ChaosOptions, chunks: readonly string[] = ['a', 'b', 'c', 'd']) => {
  const source = chunkSource(chunks)
  const layer = chaos(options)
  return { source, layer, ask: stack((_: number) => source, layer) }
}

/** What a stream gives, and what it ends with. */
async function readAll(
  stream: AsyncIterable<unknown>,
): Promise<{ chunks: unknown[]; error?: unknown }> {
  const chunks: unknown[] = []
  try {
    for await (const chunk of stream) chunks.push(chunk)
  } catch (error) {
    return { chunks, error }
  }
  return { chunks }
}

describe('chaos', () => {
  for (const [title, options] of Object.entries<ChaosOptions>({
    'without any fault': {},
    'that only slows': { delayMs: [0, 2], chunkDelayMs: [0, 2] },
  })) {
    describe(title, () => {
      for (const { name, run } of layerContract(() => chaos(options))) it(name, run)
    })
  }

  it('hands on the very answer when there is nothing to spoil', async () => {
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

  describe('with time', () => {
    beforeEach(() => {
      vi.useFakeTimers()
    })
    afterEach(() => {
      expect(vi.getTimerCount()).toBe(0)
      vi.useRealTimers()
    })

    it('hangs until the call is aborted, and gives its slot back then', async () => {
      const ask = stack(
        async (n: number) => n,
        timeout({ ms: 1_000 }),
        queue({ concurrency: 1 }),
        chaos({ hangRate: 1 }),
      )
      const caller = new AbortController()
      const [late, left] = [watch(ask(1)), watch(ask(2, { signal: caller.signal }))]
      await vi.advanceTimersByTimeAsync(999)
      expect(late.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(isStackError(late.error, 'TIMEOUT')).toBe(true)
      const last = watch(ask(3, { signal: caller.signal }))
      await vi.advanceTimersByTimeAsync(0)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect([left.state, last.error]).toEqual(['rejected', 'gone'])
      expect(ask.stats()).toMatchObject({ queue: { running: 0, waiting: 0 }, chaos: { hung: 2 } })
    })

    it('lets close() cut a call that hangs', async () => {
      const ask = values({ hangRate: 1 })
      const call = watch(ask(1))
      const closed = ask.close({ timeoutMs: 500 })
      await vi.advanceTimersByTimeAsync(500)
      await closed
      expect(isStackError(call.error, 'CLOSED')).toBe(true)
    })

    it('delays calls, those that fail too, by the time given', async () => {
      for (const options of [{}, { failRate: 1 }]) {
        const ask = values({ ...options, delayMs: 100 })
        const call = watch(ask(1))
        await vi.advanceTimersByTimeAsync(99)
        expect(call.state).toBe('pending')
        await vi.advanceTimersByTimeAsync(1)
        expect(call.state).not.toBe('pending')
        expect(ask.stats().chaos.delayed).toBe(1)
      }
    })

    it('draws a delay from all of its range, and from nowhere else', async () => {
      const ask = values({ delayMs: [100, 200] })
      const waits: number[] = []
      const calls = Array.from({ length: 200 }, async () => {
        const before = performance.now()
        await ask(1)
        waits.push(performance.now() - before)
      })
      await vi.advanceTimersByTimeAsync(300)
      await Promise.all(calls)
      // Node's timers count whole milliseconds.
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(99)
      expect(Math.min(...waits)).toBeLessThan(110)
      expect(Math.max(...waits)).toBeGreaterThan(190)
      expect(Math.max(...waits)).toBeLessThanOrEqual(201)
    })

    it('ends a delay at the abort', async () => {
      const caller = new AbortController()
      const call = watch(values({ delayMs: 60_000 })(1, { signal: caller.signal }))
      await vi.advanceTimersByTimeAsync(10)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect(call.error).toBe('gone')
    })

    it('slows the chunks of a stream down, each by the time given', async () => {
      const { ask, source, layer } = streams({ chunkDelayMs: 50 }, ['a', 'b', 'c'])
      const read: string[] = []
      const done = (async () => {
        for await (const chunk of await ask(1)) read.push(chunk as string)
      })()
      for (const expected of [[], ['a'], ['a', 'b'], ['a', 'b', 'c']]) {
        await vi.advanceTimersByTimeAsync(
          expected.length === 0 ? 49 : expected.length === 1 ? 1 : 50,
        )
        expect(read).toEqual(expected)
      }
      await done
      expect(layer.stats()).toMatchObject({ slowed: 1, cut: 0, stalled: 0 })
      expect(source.open).toBe(0)
    })

    it('stops the wait for a chunk when the reader leaves or the caller aborts', async () => {
      const { ask, source } = streams({ chunkDelayMs: 50 })
      const left = await ask(1)
      const waiting = watch(left.next())
      await vi.advanceTimersByTimeAsync(10)
      await left.return(undefined)
      await vi.advanceTimersByTimeAsync(0)
      expect(waiting.value).toEqual({ done: true, value: undefined })
      const caller = new AbortController()
      const aborted = watch((await ask(1, { signal: caller.signal })).next())
      await vi.advanceTimersByTimeAsync(10)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect(aborted.error).toBe('gone')
      expect(source).toMatchObject({ open: 0, left: 2 })
    })

    it('silences streams after some chunks, until a limit outside cuts them', async () => {
      const source = chunkSource(['a', 'b', 'c'])
      const layers = [
        timeout({ ms: 60_000, idleMs: 1_000 }),
        queue({ concurrency: 1 }),
        chaos({ stallRate: 1, afterChunks: 2 }),
      ] as const
      const ask = stack(() => source, ...layers)
      const read = watch(readAll(await ask()))
      await vi.advanceTimersByTimeAsync(999)
      expect(read.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(read.value).toMatchObject({
        chunks: ['a', 'b'],
        error: { code: 'TIMEOUT', phase: 'idle' },
      })
      expect(ask.stats()).toMatchObject({ queue: { running: 0 }, chaos: { stalled: 1, cut: 0 } })
      expect(source.open).toBe(0)
    })

    it('ends a spoiled stream that nobody reads', async () => {
      const { ask, source } = streams({ cutRate: 1, afterChunks: 1 })
      const stream = await ask(1)
      await vi.advanceTimersByTimeAsync(30_000)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
      expect(source.open).toBe(0)
    })
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

    it('passes on what the stream itself fails with', async () => {
      const error = new Error('of its own')
      const ask = stack(
        () => chunkSource(['a'], { error }),
        chaos({ chunkDelayMs: [0, 1], cutRate: 0.5, afterChunks: 9, seed: 2 }),
      )
      expect(await readAll(await ask())).toEqual({ chunks: ['a'], error })
    })

    it('keeps what it has cut out of a cache further out', async () => {
      const ask = stack(
        (_: string) => chunkSource(['a', 'b']),
        cache(),
        chaos({ cutRate: 1, afterChunks: 2 }),
      )
      await readAll(await ask('q'))
      await readAll(await ask('q'))
      expect(ask.stats().cache).toMatchObject({ hits: 0, misses: 2, entries: 0 })
    })

    it('tells the text of a chat that had arrived', async () => {
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

    it('gives other faults for another', async () => {
      const fates = async (seed: number) => {
        const { ask } = streams({ ...rates, seed })
        return JSON.stringify(await Promise.all(Array.from({ length: 30 }, (_, n) => fate(ask, n))))
      }
      expect(new Set(await Promise.all([1, 2, 3, -1, 2 ** 31].map(fates))).size).toBe(5)
    })
  })

  it('keeps to its rates', async () => {
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
      'failRate, rateLimitRate and hangRate exclude each other',
    )
    expect(() => chaos({ cutRate: 0.6, stallRate: 0.5 })).toThrow(
      'cutRate and stallRate exclude each other',
    )
    expect(() =>
      chaos({ failRate: 0.1, rateLimitRate: 0.2, hangRate: 0.7, cutRate: 0.9, stallRate: 0.1 }),
    ).not.toThrow()
  })

  describe('inside a whole stack', () => {
    beforeEach(() => {
      vi.useFakeTimers()
      catchWarnings()
    })
    afterEach(() => {
      vi.useRealTimers()
      vi.restoreAllMocks()
    })

    const storm: ChaosOptions = {
      ...{ failRate: 0.2, rateLimitRate: 0.05, hangRate: 0.05, retryAfterMs: 200 },
      ...{
        delayMs: [5, 50],
        chunkDelayMs: [0, 5],
        cutRate: 0.1,
        stallRate: 0.05,
        afterChunks: [0, 3],
      },
    }

    it.each([1, 2, 3])(
      'every call ends with its own answer or one of the errors promised, and nothing is left (seed %i)',
      async (seed) => {
        const wanted = (n: number) => [`${n}: a`, `${n}: b`, `${n}: c`]
        const upstream = async (n: number) => (n % 3 === 0 ? chunkSource(wanted(n)) : wanted(n))
        const ask = stack(
          upstream,
          cache({ maxEntries: 20 }),
          dedupe(),
          timeout({ ms: 20_000, idleMs: 1_000 }),
          retry({ retries: 4, minDelayMs: 50, budget: false }),
          breaker({ failureRate: 0.9 }),
          queue({ concurrency: 4, maxWaiting: 1_000 }),
          timeout({ ms: 1_000, streamMs: 5_000, name: 'attempt' }),
          chaos({ ...storm, seed }),
        )
        const ends: { n: number; chunks: unknown[]; error?: unknown }[] = []
        const one = async (n: number) => {
          try {
            const answer = (await ask(n)) as unknown
            ends.push({
              n,
              ...(Array.isArray(answer)
                ? { chunks: answer }
                : await readAll(answer as AsyncIterable<unknown>)),
            })
          } catch (error) {
            ends.push({ n, chunks: [], error })
          }
        }
        const calls = Array.from({ length: 200 }, (_, i) => one(i % 50))
        for (let i = 0; i < 600 && ends.length < calls.length; i++)
          await vi.advanceTimersByTimeAsync(100)
        expect(ends).toHaveLength(calls.length)
        for (const { n, chunks, error } of ends) {
          if (error === undefined) expect(chunks).toEqual(wanted(n))
          else {
            expect(chunks).toEqual(wanted(n).slice(0, chunks.length))
            expect(['SERVER', 'RATE_LIMITED', 'TIMEOUT', 'STREAM', 'BREAKER_OPEN']).toContain(
              (error as { code?: string }).code,
            )
          }
        }
        const good = ends.filter(({ error }) => error === undefined)
        expect(good.length).toBeGreaterThan(calls.length / 2)
        const stats = ask.stats()
        expect(stats.queue).toMatchObject({ running: 0, waiting: 0 })
        expect(stats.dedupe.inFlight).toBe(0)
        for (const fault of ['failed', 'rateLimited', 'hung', 'delayed', 'slowed'] as const)
          expect(stats.chaos[fault]).toBeGreaterThan(0)
        await ask.close()
        expect(vi.getTimerCount()).toBe(0)
      },
    )
  })

  it('goes anywhere in a stack: outside a queue its failures take no slot', async () => {
    const ask = stack(scripted<string, string>(['Hello']), chaos({ failRate: 1 }), queue())
    await failure(ask('Hi'))
    await turn()
    expect(ask.stats().queue).toMatchObject({ completed: 0, failed: 0, rejected: 0 })
  })
})
