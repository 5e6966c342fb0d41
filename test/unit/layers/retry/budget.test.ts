import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RetryBudget } from '../../../../src/layers/retry/budget.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

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
