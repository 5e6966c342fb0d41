import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { VerdictWindow } from '../../../../src/layers/breaker/verdict-window.js'
import { useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()

/** How many calls, all of them failures, the window holds. */
function held(window: VerdictWindow): number {
  for (let count = 0; ; count++) if (!window.reaches(count + 1, failing(0.000_001))) return count
}

const NEVER = Number.POSITIVE_INFINITY
const failing = (failureRate: number) => ({ failureRate, slowRate: NEVER })
const slow = (slowRate: number) => ({ failureRate: 1, slowRate })

describe('VerdictWindow', () => {
  it('holds what was added within its time, and nothing older', () => {
    const window = new VerdictWindow(1_000)
    window.add(true)
    vi.advanceTimersByTime(899)
    expect(held(window)).toBe(1)
    vi.advanceTimersByTime(101)
    expect(held(window)).toBe(0)
  })

  it('forgets as time passes, however long nobody looks', () => {
    const window = new VerdictWindow(1_000)
    for (let i = 0; i < 9; i++) window.add(true)
    vi.advanceTimersByTime(24 * 3_600_000)
    window.add(true)
    expect(held(window)).toBe(1)
  })

  it('has failed when it holds enough calls and the given share of them failed', () => {
    const window = new VerdictWindow(1_000)
    window.add(false)
    expect(window.reaches(1, failing(0.5))).toBe(false)
    window.add(true)
    expect(window.reaches(2, failing(0.5))).toBe(true)
    expect(window.reaches(3, failing(0.5))).toBe(false)
    expect(window.reaches(2, failing(0.51))).toBe(false)
  })

  it('counts slow calls apart from failures', () => {
    const window = new VerdictWindow(1_000)
    window.add(false, true)
    window.add(true, false)
    window.add(true, true)
    window.add(false, false)
    expect(window.reaches(4, slow(0.5))).toBe(true)
    expect(window.reaches(4, slow(0.51))).toBe(false)
    expect(window.reaches(5, slow(0.5))).toBe(false)
    vi.advanceTimersByTime(1_000)
    window.add(false, false)
    expect(window.reaches(1, slow(0.000_001))).toBe(false)
  })

  it('is empty after it is cleared', () => {
    const window = new VerdictWindow(1_000)
    for (let i = 0; i < 5; i++) {
      window.add(true)
      vi.advanceTimersByTime(100)
    }
    window.clear()
    expect(held(window)).toBe(0)
    window.add(true)
    expect(held(window)).toBe(1)
  })

  it('counts everything from the last nine tenths of its time, and nothing older than its time', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 5_000 }),
        fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 60 }),
        (windowMs, pauses) => {
          const window = new VerdictWindow(windowMs)
          const added: number[] = []
          for (const pause of pauses) {
            vi.advanceTimersByTime(pause)
            window.add(true)
            added.push(performance.now())
            const since = (ms: number) => added.filter((at) => at > performance.now() - ms).length
            expect(held(window)).toBeGreaterThanOrEqual(since(0.9 * windowMs))
            expect(held(window)).toBeLessThanOrEqual(since(windowMs))
          }
        },
      ),
    )
  })
})
