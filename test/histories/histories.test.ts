import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { HistoryClock } from '../support/history-clock.js'
import { record } from '../support/history-run.js'
import { catchWarnings } from '../support/warnings.js'
import { wrongs } from './all-invariants.js'
import { plan } from './plans.js'

let clock: HistoryClock

beforeEach(() => {
  clock = new HistoryClock().install()
  catchWarnings()
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** A failure is worth the time that its smallest form takes to find. */
const MINIMIZE_MS = 180_000

describe('stack', () => {
  it(
    'keeps every invariant in random storms around random layers in random order',
    async () => {
      const unhandled: unknown[] = []
      const onUnhandled = (reason: unknown) => unhandled.push(reason)
      process.on('unhandledRejection', onUnhandled)
      try {
        await fc.assert(
          fc.asyncProperty(plan(), async (storm) => {
            expect(wrongs(await record(storm, clock))).toEqual([])
            expect(unhandled).toEqual([])
          }),
          { numRuns: 150 },
        )
      } finally {
        process.off('unhandledRejection', onUnhandled)
      }
    },
    MINIMIZE_MS,
  )
})
