import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { type RetryOptions, retry } from '../../../../src/layers/retry/index.js'
import { busy, failing, server, settle } from '../../../support/failing.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { scripted } from '../../../support/scripted.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('retry', () => {
  describe('the backoff', () => {
    /** The time between the calls of one that fails for ever. */
    async function gapsOf(options: RetryOptions, error: unknown = server()): Promise<number[]> {
      const at: number[] = []
      const ask = stack(
        async () => {
          at.push(performance.now())
          throw error
        },
        retry({ budget: false, ...options }),
      )
      await settle(ask(), 10 * 60_000)
      return at.slice(1).map((moment, i) => moment - at[i]!)
    }

    it('doubles from 0.5 s to a cap of 8 s', async () => {
      const gaps = await gapsOf({ retries: 7, random: () => 1 })
      expect(gaps).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000])
    })

    it('takes its own bounds', async () => {
      expect(await gapsOf({ retries: 4, minDelayMs: 10, maxDelayMs: 30, random: () => 1 })).toEqual(
        [10, 20, 30, 30],
      )
    })

    it('lies between 0 and the cap, reaches towards it, and differs from time to time', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 500 }),
          fc.integer({ min: 1, max: 4_000 }),
          async (minDelayMs, maxDelayMs) => {
            const gaps = await gapsOf({ retries: 20, minDelayMs, maxDelayMs })
            expect(gaps).toHaveLength(20)
            for (const [i, gap] of gaps.entries()) {
              expect(gap).toBeGreaterThanOrEqual(0)
              expect(gap).toBeLessThanOrEqual(Math.min(maxDelayMs, minDelayMs * 2 ** i))
            }
            if (maxDelayMs >= 500) {
              expect(new Set(gaps).size).toBeGreaterThanOrEqual(5)
              expect(Math.max(...gaps)).toBeGreaterThan(maxDelayMs / 4)
            }
          },
        ),
        { numRuns: 30 },
      )
    })

    it('spreads out the retries of calls that failed at the same moment', async () => {
      const at: number[] = []
      const ask = stack(
        scripted<string>(() => {
          at.push(performance.now())
          return Promise.reject(server())
        }),
        retry({ retries: 1, budget: false }),
      )
      const calls = Array.from({ length: 20 }, () => watch(ask('x')))
      await tick(500)
      expect(calls.every(({ state }) => state === 'rejected')).toBe(true)
      expect(new Set(at.slice(20)).size).toBeGreaterThanOrEqual(5)
    })
  })

  describe('the wait that upstream asks for', () => {
    /** A call that fails with this and is answered when it is repeated. */
    const failingOnce = (error: Error, drawn: number) => {
      const base = scripted<string>(error, 'ok')
      return { base, call: watch(stack(base, retry({ random: () => drawn }))('x')) }
    }

    it.each([
      ['is kept, and spread over the first backoff beyond it', 0.5, 2_250],
      ['is never shortened, not even with the least draw', 0, 2_000],
    ])('%s', async (_, drawn, ms) => {
      const { base, call } = failingOnce(busy(2_000), drawn)
      await tick(ms - 1)
      expect(base.calls).toHaveLength(1)
      await tick(1)
      expect(call.value).toBe('ok')
    })

    it('is kept on errors of any code', async () => {
      const { call } = failingOnce(server({ retryAfter: 3_000 }), 0)
      await tick(2_999)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.value).toBe('ok')
    })

    it('fails the call at once when it is longer than maxRetryAfterMs', async () => {
      const error = busy(60_001)
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
      expect(ask.stats().retry).toEqual({ retries: 0, exhausted: 0, refused: 1 })
    })

    it('is kept up to maxRetryAfterMs', async () => {
      const base = scripted<string>(busy(60_000), 'ok')
      expect((await settle(stack(base, retry())('x'), 61_000)).value).toBe('ok')
    })

    it.each([0, -5, Number.NaN, undefined])(
      'is replaced by the normal backoff when it is %s',
      async (retryAfter) => {
        const { base, call } = failingOnce(busy(retryAfter), 0.5)
        await tick(249)
        expect(base.calls).toHaveLength(1)
        await tick(1)
        expect(call.value).toBe('ok')
      },
    )

    it.each([2 ** 31, 1e12, Number.POSITIVE_INFINITY])(
      'of %d ms fails at once and sets no timer',
      async (retryAfter) => {
        const { ask, calls } = failing(busy(retryAfter))
        await failure(ask('x'))
        expect(calls()).toBe(1)
      },
    )

    it('may be longer than a Node timer when it is allowed to', async () => {
      const month = 30 * 24 * 3_600_000
      const base = scripted<string>(busy(month), 'ok')
      const call = watch(stack(base, retry({ maxRetryAfterMs: 2 * month }))('x'))
      await tick(month - 1)
      expect(base.calls).toHaveLength(1)
      await tick(1_000)
      expect(call.value).toBe('ok')
    })
  })

  describe('the deadline', () => {
    it('fails the call at once when the backoff would outlast it', async () => {
      const error = server()
      const { ask, calls } = failing(error)
      expect(await failure(ask('x', { timeoutMs: 200 }))).toBe(error)
      expect(performance.now()).toBe(0)
      expect(calls()).toBe(1)
      expect(ask.stats().retry.refused).toBe(1)
    })

    it('fails the call at once when the wait asked for would outlast it', async () => {
      const error = busy(2_000)
      const { ask, calls } = failing(error)
      expect(await failure(ask('x', { timeoutMs: 2_000 }))).toBe(error)
      expect(calls()).toBe(1)
    })

    it('lets a retry begin when it fits', async () => {
      const base = scripted<string>(server(), 'ok')
      expect(
        (await settle(stack(base, retry({ random: () => 0.5 }))('x', { timeoutMs: 251 }))).value,
      ).toBe('ok')
    })
  })
})
