import { describe, expect, it } from 'vitest'
import { Baseline } from '../../../../../src/layers/queue/concurrency/baseline.js'

describe('Baseline', () => {
  it('is the mean of what it has learned, where that does not differ', () => {
    const baseline = new Baseline()
    for (let i = 0; i < 5; i++) baseline.learn(300)
    expect(baseline.ms).toBe(300)
  })

  it('is higher where little is known and it differs, and comes down to the mean', () => {
    const baseline = new Baseline()
    const seen: number[] = []
    for (let i = 0; i < 200; i++) {
      baseline.learn(i % 2 === 0 ? 100 : 300)
      seen.push(baseline.ms)
    }
    expect(seen[3]).toBeCloseTo(225)
    expect(seen[99]).toBeCloseTo(205)
  })

  it('goes back 200 times', () => {
    const baseline = new Baseline()
    for (let i = 0; i < 1_000; i++) baseline.learn(100)
    for (let i = 0; i < 200; i++) baseline.learn(200)
    expect(baseline.ms).toBeGreaterThan(160)
    for (let i = 0; i < 2_000; i++) baseline.learn(200)
    expect(baseline.ms).toBeCloseTo(200, 0)
  })

  it('takes the calls that began before the fourth answer, however late theirs comes', () => {
    const baseline = new Baseline()
    expect(baseline.takes(0, 10)).toBe(true)
    expect(baseline.takes(0, 20)).toBe(true)
    expect(baseline.takes(10, 30)).toBe(true)
    expect(baseline.takes(0, 40)).toBe(true)
    expect(baseline.takes(39, 50)).toBe(true)
    expect(baseline.takes(40, 60)).toBe(false)
    expect(baseline.takes(20, 5_000)).toBe(true)
  })
})
