import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LastValues } from '../../../src/layers/last-values.js'

const inOrder = (values: LastValues) => Array.from({ length: values.count }, (_, i) => values.at(i))

describe('LastValues', () => {
  it('keeps the last values in order of size, whatever is added', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 })),
        fc.integer({ min: 1, max: 8 }),
        (all, kept) => {
          const values = new LastValues(kept)
          for (const value of all) values.add(value)
          expect(inOrder(values)).toEqual(all.slice(-kept).toSorted((a, b) => a - b))
        },
      ),
    )
  })

  it('gives the value that a given share of them does not exceed', () => {
    const values = new LastValues(10)
    for (const value of [5, 1, 4, 2, 3]) values.add(value)
    expect([0.2, 0.5, 0.75, 1].map((share) => values.quantile(share))).toEqual([1, 3, 4, 5])
  })

  it('begins anew when it is cleared', () => {
    const values = new LastValues(3)
    for (const value of [9, 8, 7, 6]) values.add(value)
    values.clear()
    for (const value of [2, 1]) values.add(value)
    expect(inOrder(values)).toEqual([1, 2])
  })
})
