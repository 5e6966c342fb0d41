import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { RetryBudget } from '../../../../src/layers/retry/budget.js'
import { type RetryOptions, retry } from '../../../../src/layers/retry/index.js'
import { busy, failing, server, settle } from '../../../support/failing.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { scripted } from '../../../support/scripted.js'
import { numbers } from '../../../support/streams.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

/** How many retries are granted in a row. */
function takeAll(budget: RetryBudget): number {
  let taken = 0
  while (budget.take()) taken++
  return taken
}

describe('RetryBudget', () => {
  it('grants the floor without any call', () => {
    expect(takeAll(new RetryBudget())).toBe(10)
  })

  it('grants 10 and a fifth of the calls', () => {
    const budget = new RetryBudget()
    for (let i = 0; i < 100; i++) budget.end(budget.begin())
    expect(takeAll(budget)).toBe(30)
  })

  it('rounds down to whole retries', () => {
    const budget = new RetryBudget({ floor: 0, ratio: 0.2 })
    const began = [1, 2, 3, 4].map(() => budget.begin())
    expect(budget.take()).toBe(false)
    began.push(budget.begin())
    expect([budget.take(), budget.take()]).toEqual([true, false])
    for (const call of began) budget.end(call)
  })

  it('grants nothing at all with a floor and a ratio of 0', () => {
    const budget = new RetryBudget({ floor: 0, ratio: 0 })
    budget.begin()
    expect(budget.take()).toBe(false)
  })

  it('forgets calls and retries that are older than the window', () => {
    const budget = new RetryBudget({ windowMs: 1_000 })
    for (let i = 0; i < 50; i++) budget.end(budget.begin())
    expect(takeAll(budget)).toBe(20)
    vi.advanceTimersByTime(900)
    expect(budget.take()).toBe(false)
    vi.advanceTimersByTime(100)
    expect(takeAll(budget)).toBe(10)
  })

  it('counts calls that still run, however long ago they began', () => {
    const budget = new RetryBudget({ windowMs: 1_000 })
    const began = Array.from({ length: 50 }, () => budget.begin())
    vi.advanceTimersByTime(60_000)
    expect(takeAll(budget)).toBe(20)
    vi.advanceTimersByTime(1_000)
    for (const call of began) budget.end(call)
    expect(takeAll(budget)).toBe(10)
  })

  it('counts a call once while it is recent and running', () => {
    const budget = new RetryBudget({ floor: 0, ratio: 1 })
    budget.begin()
    expect(takeAll(budget)).toBe(1)
  })

  it('agrees with a naive count for any history', () => {
    const windowMs = 1_000
    const floor = 3
    const ratio = 0.25
    // Moments lie on the grain of the window's hundredths, where the count is exact.
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant({ kind: 'begin' as const, n: 0 }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), n: fc.nat() }) },
      { weight: 6, arbitrary: fc.constant({ kind: 'take' as const, n: 0 }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('advance' as const),
          n: fc.integer({ min: 1, max: 150 }).map((n) => n * 10),
        }),
      },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        vi.setSystemTime(0)
        const budget = new RetryBudget({ windowMs, floor, ratio })
        const calls: { began: number; running: boolean; end: () => void }[] = []
        const retries: number[] = []
        for (const { kind, n } of steps) {
          const now = performance.now()
          if (kind === 'begin') {
            const slice = budget.begin()
            calls.push({ began: now, running: true, end: () => budget.end(slice) })
          }
          if (kind === 'advance') vi.advanceTimersByTime(n)
          if (kind === 'end') {
            const running = calls.filter((call) => call.running)
            const call = running[n % Math.max(1, running.length)]
            if (call) {
              call.running = false
              call.end()
            }
          }
          if (kind === 'take') {
            const recent = (moment: number) => moment > now - windowMs
            const counted = calls.filter(({ began, running }) => running || recent(began)).length
            const expected = retries.filter(recent).length + 1 <= floor + ratio * counted
            expect(budget.take()).toBe(expected)
            if (expected) retries.push(now)
          }
        }
      }),
    )
  })

  it('never grants more than its formula within any window, between the grains too', () => {
    const windowMs = 1_000
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.double({ min: 0, max: 80, noNaN: true })), {
          maxLength: 400,
        }),
        (steps) => {
          const budget = new RetryBudget({ windowMs, floor: 5, ratio: 0 })
          const taken: number[] = []
          for (const [take, ms] of steps) {
            vi.advanceTimersByTime(Math.round(ms))
            if (take && budget.take()) taken.push(performance.now())
          }
          // One hundredth is the grain.
          return taken.every(
            (last, i) =>
              taken.slice(0, i + 1).filter((at) => at > last - windowMs * 0.99).length <= 5,
          )
        },
      ),
    )
  })
})

describe('retry', () => {
  describe('the budget', () => {
    /** Fails this many calls and tells how many attempts were made in all. */
    async function outage(
      calls: number,
      options: RetryOptions = {},
      error: unknown = server(),
      together = false,
    ) {
      const { ask, calls: made } = failing(error, options)
      if (together)
        await settle(Promise.allSettled(Array.from({ length: calls }, () => ask('x'))), 5_000)
      else
        for (let i = 0; i < calls; i++) {
          const call = watch(ask('x'))
          await tick(0)
          while (call.state === 'pending') await tick(1)
        }
      return { made: made(), stats: ask.stats().retry }
    }

    it('allows 10 and 20 % of the calls of all together', async () => {
      const { made, stats } = await outage(200, {}, server(), true)
      expect(made).toBe(200 + 10 + 40)
      expect(stats.retries).toBe(50)
      expect(stats.refused).toBeGreaterThan(0)
    })

    it('allows 10 and 20 % of the calls one after the other', async () => {
      const { made } = await outage(50, { minDelayMs: 0 })
      expect(made).toBe(50 + 10 + 10)
    })

    it('counts calls that still run', async () => {
      let first = true
      const ask = stack(
        (_: string, { signal }) => {
          if (first)
            return new Promise<never>((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(signal.reason)),
            )
          return Promise.reject(server())
        },
        retry({ retries: 1, budget: { floor: 0, ratio: 0.1 }, random: () => 0 }),
      )
      const caller = new AbortController()
      const long = Array.from({ length: 20 }, () => watch(ask('x', { signal: caller.signal })))
      await tick(60_000)
      first = false
      await settle(Promise.allSettled([1, 2, 3].map(() => ask('x'))))
      expect(ask.stats().retry).toMatchObject({ retries: 2, refused: 1 })
      caller.abort()
      await tick()
      expect(long.every(({ state }) => state === 'rejected')).toBe(true)
    })

    it('counts a stream as running until its end', async () => {
      let streaming = true
      const ask = stack(
        async (_: string): Promise<AsyncGenerator<number>> => {
          if (streaming) return numbers(2)
          throw server()
        },
        retry({ retries: 1, budget: { floor: 0, ratio: 0.5, windowMs: 1_000 }, random: () => 0 }),
      )
      const stream = await ask('x')
      await stream.next()
      streaming = false
      await tick(5_000)
      // Two calls, the one that runs and the one that fails: half of them may be repeated.
      await settle(ask('x'), 10)
      expect(ask.stats().retry.retries).toBe(1)
      await stream.return(undefined)
      await tick(5_000)
      await settle(ask('x'), 10)
      expect(ask.stats().retry.retries).toBe(1)
    })

    it('grows back when the window has passed', async () => {
      const { ask, calls } = failing(server(), {
        retries: 1,
        budget: { ratio: 0, floor: 2, windowMs: 1_000 },
        random: () => 0,
      })
      for (let i = 0; i < 4; i++) await settle(ask('x'), 0)
      expect(calls()).toBe(6)
      await tick(1_000)
      for (let i = 0; i < 4; i++) await settle(ask('x'), 0)
      expect(calls()).toBe(12)
    })

    it('does not weigh waits that upstream asked for', async () => {
      const { made, stats } = await outage(50, { retries: 1, minDelayMs: 0 }, busy(10), true)
      expect(made).toBe(100)
      expect(stats).toEqual({ retries: 50, exhausted: 50, refused: 0 })
    })

    it('belongs to the layer: stacks that share it share the budget', async () => {
      const layer = retry({ retries: 1, budget: { ratio: 0, floor: 3 }, random: () => 0 })
      const base = scripted<string>(server())
      const one = stack(base, layer)
      const other = stack(base, layer)
      for (let i = 0; i < 5; i++) {
        await settle(one('x'), 0)
        await settle(other('x'), 0)
      }
      expect(base.calls).toHaveLength(10 + 3)
    })

    it('can be switched off', async () => {
      const { made } = await outage(100, { budget: false }, server(), true)
      expect(made).toBe(300)
    })

    it('never lets all calls together make more than its share, for any pattern of arrivals and failures', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              wait: fc.integer({ min: 0, max: 400 }),
              fails: fc.integer({ min: 0, max: 4 }),
            }),
            { maxLength: 80 },
          ),
          fc.integer({ min: 0, max: 5 }),
          fc.integer({ min: 0, max: 100 }),
          async (calls, floor, percent) => {
            let made = 0
            const ask = stack(
              async (request: { left: number }) => {
                made++
                if (request.left-- > 0) throw server()
              },
              // The window is longer than the run, so that it holds all of it.
              retry({ budget: { floor, ratio: percent / 100, windowMs: 10 * 60_000 } }),
            )
            const running: Promise<unknown>[] = []
            for (const { wait, fails } of calls) {
              await tick(wait)
              running.push(failureOrValue(ask({ left: fails })))
            }
            await tick(60_000)
            await Promise.all(running)
            expect(made - calls.length).toBeLessThanOrEqual(floor + (percent / 100) * calls.length)
            expect(ask.stats().retry.retries).toBe(made - calls.length)
          },
        ),
        { numRuns: 30 },
      )
    })
  })
})

async function failureOrValue(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    return error
  }
}
