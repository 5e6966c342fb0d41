import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RateWindow } from '../../../../src/layers/queue/rate-window.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const waitMs = (window: RateWindow, ahead?: number) =>
  Math.max(0, window.opensAt(ahead) - performance.now())

describe('RateWindow', () => {
  it('lets the limit start at once, and one more when the first of them is an interval old', () => {
    const window = new RateWindow(2, 100)
    expect(waitMs(window)).toBe(0)
    window.take()
    vi.advanceTimersByTime(30)
    expect(waitMs(window)).toBe(0)
    window.take()
    expect(waitMs(window)).toBe(70)
    vi.advanceTimersByTime(70)
    expect(waitMs(window)).toBe(0)
    window.take()
    expect(waitMs(window)).toBe(30)
  })

  it('lets no second batch through at the turn of a fixed window', () => {
    const window = new RateWindow(10, 1_000)
    vi.advanceTimersByTime(999)
    for (let i = 0; i < 10; i++) window.take()
    vi.advanceTimersByTime(1)
    expect(waitMs(window)).toBe(999)
  })

  it('tells when the turn comes behind those who wait already', () => {
    const window = new RateWindow(2, 100)
    window.take()
    vi.advanceTimersByTime(40)
    window.take()
    expect([0, 1, 2, 3, 4].map((ahead) => waitMs(window, ahead))).toEqual([60, 100, 160, 200, 260])
  })

  it('tells so before the limit is reached as well', () => {
    const window = new RateWindow(2, 100)
    expect([0, 1, 2, 3].map((ahead) => waitMs(window, ahead))).toEqual([0, 0, 100, 100])
  })

  it('goes by a clock that nobody can set', () => {
    const window = new RateWindow(1, 100)
    window.take()
    vi.setSystemTime(Date.now() + 3_600_000)
    expect(waitMs(window)).toBe(100)
    vi.setSystemTime(0)
    expect(waitMs(window)).toBe(100)
    vi.advanceTimersByTime(100)
    expect(waitMs(window)).toBe(0)
  })

  it('never lets more than the limit start within an interval, and never makes one wait without need', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 100 }),
        (limit, intervalMs, pauses) => {
          const window = new RateWindow(limit, intervalMs)
          const starts: number[] = []
          for (const pause of pauses) {
            vi.advanceTimersByTime(pause)
            const now = performance.now()
            const recent = starts.filter((at) => at > now - intervalMs)
            expect(waitMs(window)).toBe(
              recent.length < limit ? 0 : recent.at(-limit)! + intervalMs - now,
            )
            if (waitMs(window) === 0) {
              window.take()
              starts.push(now)
            }
          }
        },
      ),
    )
  })
})
