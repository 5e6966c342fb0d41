import { afterEach, beforeEach, expect, vi } from 'vitest'

/**
 * Gives every test of the file fake timers and undoes its spies. At the end of a test no timer may
 * be left, unless the test has gone back to real ones.
 */
export function useFakeTimers(options: { readonly now?: number } = {}): void {
  beforeEach(() => {
    vi.useFakeTimers(options)
  })
  afterEach(() => {
    if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
    vi.useRealTimers()
    vi.restoreAllMocks()
  })
}

/** Lets this much time pass, and what is due in it run; without a number, what is due now. */
export const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
