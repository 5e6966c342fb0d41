import { afterEach, beforeEach } from 'vitest'
import { type FakeClock, fakeClock } from '../../src/testing/fake-clock.js'

/** The library's fake clock, anew in each test of the file. */
export function useFakeClock(): FakeClock {
  let clock: FakeClock
  beforeEach(() => {
    clock = fakeClock()
  })
  afterEach(() => clock.restore())
  return {
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    restore: () => clock.restore(),
  }
}
