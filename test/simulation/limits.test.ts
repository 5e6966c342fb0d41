import { describe, expect, it } from 'vitest'
import { Bucket } from '../../src/layers/rate-limit/bucket.js'
import type { Rate } from '../../src/layers/rate-limit/limits.js'
import { useFakeClock } from '../support/fake-clock.js'
import { FixedWindow } from '../support/fixed-window.js'
import { excess, MINUTE } from '../support/sliding-minute.js'
import { type Ledger, playSchedule, type Schedule, scheduleOf } from './limited-calls.js'

const clock = useFakeClock()

/** Beside the 10,000 of `test/unit/layers/rate-limit/memory-store.test.ts`, of the store alone. */
const SCHEDULES = 600

const rate = (limit: number): Rate => ({
  limit,
  intervalMs: MINUTE,
  capacity: Math.max(1, limit / 6),
  perMs: limit / MINUTE,
})

/** What is left of a limit by nothing but what was granted and what came of it. */
function leftOf({ entries }: Ledger, key: string, unit: 'requests' | 'tokens', limit: number) {
  const own = entries.filter((entry) => entry.key === key)
  const bucket = new Bucket(rate(limit), own[0]?.at ?? 0)
  for (const { at, amounts, settled } of own) {
    bucket.fill(at)
    const change = settled === undefined ? undefined : settled[unit] - amounts[unit]
    if (change === undefined) bucket.take(amounts[unit])
    else if (change < 0) bucket.giveBack(-change)
    else bucket.takeMore(change, at)
  }
  return (at: number) => bucket.remaining(at)
}

const keysOf = ({ entries }: Ledger) => new Set(entries.map(({ key }) => key))
const limitsOf = ({ requests, tokens }: Schedule) =>
  ({ requests: rate(requests), tokens: rate(tokens), cost: undefined }) as const

describe('rateLimit()', () => {
  it(`lets no minute see more than 1.17 times the limit and one call, over ${SCHEDULES} schedules`, async () => {
    let rejected = 0
    for (let seed = 0; seed < SCHEDULES; seed++) {
      const schedule = scheduleOf(seed)
      const { ledger, begun, calls, stats } = await playSchedule(clock, schedule)
      rejected += stats.rejected
      expect(stats.admitted + stats.rejected).toBe(calls)
      expect(stats).toMatchObject({ waiting: 0, settled: stats.admitted })
      for (const own of begun.values())
        expect(excess(own, schedule.requests)).toBeLessThanOrEqual(1e-6)
      for (const key of keysOf(ledger))
        for (const unit of ['requests', 'tokens'] as const)
          expect(excess(ledger.takenOf(key, unit), schedule[unit])).toBeLessThanOrEqual(1e-3)
    }
    expect(rejected).toBeGreaterThan(10 * SCHEDULES)
  }, 120_000)

  it('charges nothing for a call it refuses', async () => {
    let rejected = 0
    for (let seed = 0; seed < 200; seed++) {
      const schedule = scheduleOf(seed)
      const { ledger, stats } = await playSchedule(clock, { ...schedule, minutes: 1 })
      rejected += stats.rejected
      for (const key of keysOf(ledger)) {
        const levels = ledger.levels(key, limitsOf(schedule))
        expect(levels).toHaveLength(2)
        for (const { unit, limit, remaining } of levels)
          expect(remaining).toBe(leftOf(ledger, key, unit, limit)(clock.now()))
      }
    }
    expect(rejected).toBeGreaterThan(1_000)
  }, 120_000)
})

describe('a fixed window, for comparison', () => {
  it('lets up to twice the limit through around its edge', async () => {
    let worst = 0
    for (let seed = 1; seed < 60; seed += 3) {
      const schedule = { ...scheduleOf(seed), tenants: 1, tokens: 1e6, requests: 30 }
      const { begun } = await playSchedule(clock, schedule, new FixedWindow())
      for (const own of begun.values()) worst = Math.max(worst, excess(own, 30) + 1.17 * 30 + 1)
    }
    expect(worst).toBeGreaterThan(1.8 * 30)
    expect(worst).toBeLessThanOrEqual(2 * 30)
  })
})
