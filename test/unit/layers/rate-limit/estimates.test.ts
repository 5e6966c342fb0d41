import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OutputEstimates } from '../../../../src/layers/rate-limit/estimates.js'

describe('OutputEstimates', () => {
  it('is 256 until 20 answers of that model are known', () => {
    const estimates = new OutputEstimates()
    for (let i = 1; i < 20; i++) estimates.add('a', 10)
    expect([estimates.of('a'), estimates.of('b')]).toEqual([256, 256])
    estimates.add('a', 10)
    expect([estimates.of('a'), estimates.of('b')]).toEqual([10, 256])
  })

  it('is the length that three of four of the last 100 do not exceed', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 20, maxLength: 350 }), (outputs) => {
        const estimates = new OutputEstimates()
        for (const output of outputs) estimates.add('a', output)
        const last = outputs.slice(-100).toSorted((one, other) => one - other)
        expect(estimates.of('a')).toBe(last[Math.ceil(last.length * 0.75) - 1])
      }),
      { numRuns: 300 },
    )
  })

  it('forgets models that were not met for long, as callers make up their names', () => {
    const estimates = new OutputEstimates()
    for (let i = 0; i < 20; i++) estimates.add('mine', 10)
    for (let i = 0; i < 1_000; i++) estimates.add(`made up ${i}`, 10)
    expect(estimates.of('mine')).toBe(256)
  })
})
