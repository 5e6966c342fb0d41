import { afterEach, beforeEach, expect, vi } from 'vitest'

export interface FakeTimersOptions {
  /** What the clock on the wall shows when a test begins. Milliseconds. */
  readonly now?: number
  /** Ends what a test has left running, before its timers are counted. */
  readonly atEnd?: () => unknown
}

/**
 * Gives every test of the file fake timers and undoes its spies. At the end of a test no timer may
 * be left, unless the test has gone back to real ones.
 */
export function useFakeTimers({ atEnd, ...options }: FakeTimersOptions = {}): void {
  beforeEach(() => {
    vi.useFakeTimers(options)
  })
  afterEach(async () => {
    await atEnd?.()
    if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
    vi.useRealTimers()
    vi.restoreAllMocks()
  })
}

/** Lets this much time pass, and what is due in it run; without a number, what is due now. */
export const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
