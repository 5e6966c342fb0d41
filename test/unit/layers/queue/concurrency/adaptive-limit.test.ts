import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  AdaptiveLimit,
  type AdaptiveOptions,
} from '../../../../../src/layers/queue/concurrency/adaptive-limit.js'
import { useFakeTimers } from '../../../../support/fake-timers.js'

useFakeTimers()

const USUAL_MS = 100

function limit(options: Partial<AdaptiveOptions> = {}) {
  const one = new AdaptiveLimit({ min: 1, start: 4, max: 200, ...options })
  /** Calls that begin now and are answered after `ms`, with as many in progress as may be. */
  const succeed = (times: number, ms = USUAL_MS, inProgress?: number) => {
    for (let i = 0; i < times; i++) {
      const beganAt = performance.now()
      one.answered({ beganAt: beganAt - ms, ms, kind: 'plain' }, inProgress ?? one.current)
    }
  }
  /** Answers to calls that began just now, and not among the first. */
  const answer = (times: number, ms = USUAL_MS, inProgress?: number) => {
    vi.advanceTimersByTime(2 * USUAL_MS)
    for (let i = 0; i < times; i++)
      one.answered({ beganAt: performance.now(), ms, kind: 'plain' }, inProgress ?? one.current)
  }
  return { one, succeed, answer }
}

describe('AdaptiveLimit', () => {
  it('begins at its start, within its bounds', () => {
    expect(limit().one.current).toBe(4)
    expect(limit({ min: 8 }).one.current).toBe(8)
    expect(limit({ max: 2 }).one.current).toBe(2)
  })

  it('doubles for as many successes as it is, up to its maximum', () => {
    const { one, answer } = limit({ max: 40 })
    const seen: number[] = []
    for (const successes of [3, 1, 7, 1, 16, 32, 40]) {
      answer(successes)
      seen.push(one.current)
    }
    expect(seen).toEqual([4, 8, 8, 16, 32, 40, 40])
  })

  it('does not grow while less than half of it is in progress', () => {
    const { one, answer } = limit()
    answer(100, USUAL_MS, 1)
    expect(one.current).toBe(4)
    answer(4, USUAL_MS, 2)
    expect(one.current).toBe(8)
    answer(100, USUAL_MS, 3)
    expect(one.current).toBe(8)
  })

  it('is cut to three quarters by an overload, and grows by one from then on', () => {
    const { one, answer } = limit()
    answer(4 + 8 + 16)
    expect(one.current).toBe(32)
    one.overloaded(32)
    expect(one.current).toBe(24)
    answer(24)
    expect(one.current).toBe(25)
    answer(25)
    expect(one.current).toBe(26)
  })

  it('is cut once for a burst, until a call that began after the cut succeeds', () => {
    const { one, answer, succeed } = limit()
    answer(28)
    for (let i = 0; i < 5; i++) one.overloaded(40)
    expect(one.current).toBe(24)
    vi.advanceTimersByTime(50)
    // These began before.
    succeed(3)
    one.overloaded(40)
    expect(one.current).toBe(24)
    answer(1)
    one.overloaded(40)
    expect(one.current).toBe(18)
  })

  it('comes for a minute no higher than a tenth above what was in progress', () => {
    const { one, answer } = limit()
    answer(28)
    one.overloaded(21)
    expect(one.current).toBe(22)
    answer(1_000)
    expect(one.current).toBe(22)
    vi.advanceTimersByTime(59_000)
    answer(100)
    expect(one.current).toBe(22)
    vi.advanceTimersByTime(1_000)
    answer(22)
    expect(one.current).toBe(44)
  })

  it('takes for that what the whole burst leaves in progress', () => {
    const { one, answer } = limit()
    answer(28)
    for (let inProgress = 32; inProgress > 10; inProgress--) one.overloaded(inProgress)
    expect(one.current).toBe(11)
  })

  it('finds an account that runs one call at a time', () => {
    const { one, answer } = limit()
    for (const inProgress of [4, 3, 2]) one.overloaded(inProgress)
    expect(one.current).toBe(1)
    answer(50)
    expect(one.current).toBe(1)
    vi.advanceTimersByTime(60_000)
    answer(1)
    expect(one.current).toBe(2)
    one.overloaded(2)
    expect(one.current).toBe(1)
  })

  it('never goes below its minimum', () => {
    const { one, answer } = limit({ min: 6, start: 10 })
    for (let i = 0; i < 20; i++) {
      one.overloaded(2)
      answer(1)
    }
    expect(one.current).toBe(6)
  })

  describe('when first tokens are late', () => {
    it('stops to grow, and is cut by a tenth each 10 seconds', () => {
      const { one, answer } = limit()
      answer(28)
      expect(one.current).toBe(32)
      answer(19, 2.5 * USUAL_MS)
      expect(one.current).toBe(32)
      answer(1, 2.5 * USUAL_MS)
      expect(one.current).toBe(28)
      answer(100, 2.5 * USUAL_MS)
      expect(one.current).toBe(28)
      vi.advanceTimersByTime(9_000)
      answer(20, 2.5 * USUAL_MS)
      expect(one.current).toBe(28)
      vi.advanceTimersByTime(1_000)
      answer(20, 2.5 * USUAL_MS)
      expect(one.current).toBe(25)
    })

    it('does nothing at twice the usual time', () => {
      const { one, answer } = limit()
      answer(28)
      answer(31, 2 * USUAL_MS)
      expect(one.current).toBe(32)
    })

    it('goes by the median: a few that take ages change nothing', () => {
      const { one, answer } = limit()
      answer(28)
      for (let i = 0; i < 30; i++) answer(1, i % 3 === 0 ? 100 * USUAL_MS : USUAL_MS)
      expect(one.current).toBe(32)
      answer(2)
      expect(one.current).toBe(64)
    })

    it('never gets used to it while it is what slows upstream down', () => {
      const { one, answer } = limit()
      answer(28)
      // The time goes with the number in progress, for an hour.
      for (let second = 0; second < 3_600; second++) {
        answer(2, USUAL_MS * Math.max(1, one.current / 10))
        vi.advanceTimersByTime(1_000)
      }
      expect(one.current).toBeGreaterThanOrEqual(10)
      expect(one.current).toBeLessThanOrEqual(25)
    })

    it('takes the time for usual that cuts to half do not change', () => {
      const { one, answer } = limit()
      answer(28)
      let least = one.current
      for (let second = 0; second < 300; second++) {
        answer(5, 3 * USUAL_MS)
        least = Math.min(least, one.current)
        vi.advanceTimersByTime(1_000)
      }
      expect(least).toBeGreaterThanOrEqual(13)
      expect(one.current).toBeGreaterThan(32)
    })

    it('compares calls with others of their kind', () => {
      const { one } = limit()
      for (let i = 0; i < 400; i++) {
        const kind = i < 100 ? 'fast' : 'slow'
        const ms = i < 100 ? 100 : 5_000
        one.answered({ beganAt: performance.now(), ms, kind }, one.current)
      }
      expect(one.current).toBeGreaterThan(100)
    })
  })

  it('stays within its bounds, whatever happens', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('answer' as const),
        ms: fc.integer({ min: 0, max: 5_000 }),
        inProgress: fc.integer({ min: 1, max: 60 }),
        age: fc.integer({ min: 0, max: 20_000 }),
      }),
      fc.record({ kind: fc.constant('overload' as const), inProgress: fc.nat(60) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 70_000 }) }),
    )
    const bounds = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.nat(10), fc.nat(30))
      .map(([min, more, most]) => ({ min, start: min + more, max: min + more + most }))
    fc.assert(
      fc.property(bounds, fc.array(step, { maxLength: 200, size: 'max' }), (bounds, steps) => {
        const { one } = limit(bounds)
        for (const step of steps) {
          const before = one.current
          if (step.kind === 'pass') vi.advanceTimersByTime(step.ms)
          else if (step.kind === 'overload') one.overloaded(step.inProgress)
          else {
            const beganAt = performance.now() - step.age
            one.answered({ beganAt, ms: step.ms, kind: 'plain' }, step.inProgress)
          }
          expect(Number.isInteger(one.current)).toBe(true)
          expect(one.current).toBeGreaterThanOrEqual(bounds.min)
          expect(one.current).toBeLessThanOrEqual(bounds.max)
          if (step.kind === 'overload') expect(one.current).toBeLessThanOrEqual(before)
          if (step.kind === 'answer') expect(one.current).toBeLessThanOrEqual(2 * before)
        }
      }),
    )
  })
})
