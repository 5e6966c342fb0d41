import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Samples } from '../../../../src/layers/hedge/samples.js'

describe('Samples', () => {
  it('gives no quantile for fewer than 20 samples', () => {
    const samples = new Samples()
    for (let i = 0; i < 19; i++) samples.add(i)
    expect(samples.quantile(0.95)).toBeUndefined()
    samples.add(19)
    expect(samples.quantile(0.95)).toBe(18)
    expect(samples.quantile(0.5)).toBe(9)
  })

  it('gives the quantiles of the last 100 samples, whatever they are', () => {
    const some = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 20, maxLength: 300 })
    fc.assert(
      fc.property(some, fc.constantFrom(0.05, 0.5, 0.95, 1), (all, share) => {
        const samples = new Samples()
        for (const ms of all) samples.add(ms)
        const sorted = all.slice(-100).sort((a, b) => a - b)
        expect(samples.quantile(share)).toBe(sorted[Math.ceil(share * sorted.length) - 1])
      }),
    )
  })
})
