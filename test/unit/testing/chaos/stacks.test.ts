import { beforeEach, describe, expect, it, vi } from 'vitest'
import { breaker, cache, dedupe, queue, retry, stack, timeout } from '../../../../src/index.js'
import { type ChaosOptions, chaos, chunkSource, scripted } from '../../../../src/testing/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure, turn } from '../../../support/watch.js'
import { readAll } from './spoilt.js'

describe('chaos', () => {
  describe('inside a whole stack', () => {
    useFakeTimers()
    beforeEach(() => void catchWarnings())

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
      'every call ends with its own answer or a documented error, and nothing is left over (seed %i)',
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

  it('works anywhere in a stack: outside a queue its failures take no slot', async () => {
    const ask = stack(scripted<string, string>(['Hello']), chaos({ failRate: 1 }), queue())
    await failure(ask('Hi'))
    await turn()
    expect(ask.stats().queue).toMatchObject({ completed: 0, failed: 0, rejected: 0 })
  })
})
