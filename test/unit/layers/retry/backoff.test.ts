import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fullJitter } from '../../../../src/layers/retry/backoff.js'

const delay = (attempt: number, random: () => number) =>
  fullJitter(attempt, { minDelayMs: 500, maxDelayMs: 8_000, random })

describe('fullJitter', () => {
  it('doubles its upper bound with each attempt, up to the cap', () => {
    const most = [1, 2, 3, 4, 5, 6, 100].map((attempt) => delay(attempt, () => 1))
    expect(most).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000])
  })

  it('is a number for any attempt, from no base as well', () => {
    for (const attempt of [1_025, 1e6, Number.MAX_SAFE_INTEGER]) {
      expect(delay(attempt, () => 1)).toBe(8_000)
      const none = { minDelayMs: 0, maxDelayMs: 8_000, random: () => 1 }
      expect(fullJitter(attempt, none)).toBe(0)
    }
  })

  it('draws from 0, not from the bound itself', () => {
    expect(delay(3, () => 0)).toBe(0)
    expect(delay(3, () => 0.25)).toBe(500)
  })

  it('lies within 0 and the cap and comes close to both, whatever the attempt', () => {
    const numbers = { min: 0, max: 1, maxExcluded: true, noNaN: true }
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 0, max: 1e6 }),
        fc.integer({ min: 0, max: 1e9 }),
        fc.double(numbers),
        (attempt, minDelayMs, maxDelayMs, drawn) => {
          const of = (random: number) =>
            fullJitter(attempt, { minDelayMs, maxDelayMs, random: () => random })
          const cap = Math.min(maxDelayMs, minDelayMs * 2 ** (attempt - 1))
          const got = of(drawn)
          return got >= 0 && got <= maxDelayMs && got <= cap && of(1) === cap && of(0) === 0
        },
      ),
    )
  })

  it('spreads its draws evenly', () => {
    const draws = Array.from({ length: 4_000 }, () => delay(10, Math.random) / 8_000)
    const quarters = [0, 1, 2, 3].map(
      (quarter) => draws.filter((draw) => Math.floor(draw * 4) === quarter).length,
    )
    // 1000 each, with a deviation of 27: 200 off would be seven of them.
    for (const quarter of quarters) expect(Math.abs(quarter - 1_000)).toBeLessThan(200)
  })
})
