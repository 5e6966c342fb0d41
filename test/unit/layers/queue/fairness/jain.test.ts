import { describe, expect, it } from 'vitest'
import { jainIndex } from '../../../../../src/layers/queue/fairness/jain.js'

describe('jainIndex', () => {
  it('is 1 when all have the same, and 1 / n when one has everything', () => {
    expect(jainIndex([7, 7, 7])).toBeCloseTo(1)
    expect(jainIndex([7, 0, 0, 0])).toBeCloseTo(0.25)
    expect(jainIndex([3, 1])).toBeCloseTo(0.8)
  })

  it('is 1 when there is nothing to share', () => {
    expect(jainIndex([])).toBe(1)
    expect(jainIndex([0, 0])).toBe(1)
    expect(jainIndex([5])).toBe(1)
  })

  it('holds for numbers whose squares do not', () => {
    expect(jainIndex([1e300, 1e300])).toBeCloseTo(1)
    expect(jainIndex([1e-300, 1e-300])).toBeCloseTo(1)
  })
})
