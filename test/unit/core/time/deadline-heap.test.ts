import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeadlineHeap, NOT_WAITING } from '../../../../src/core/index.js'

class Entry {
  deadlineSlot = NOT_WAITING
  constructor(readonly moment: number) {}
  expire(): void {}
}

describe('takeFirst', () => {
  it('removes entries one by one, the earliest first and equal ones in order of arrival', () => {
    const moments = fc.array(fc.record({ moment: fc.nat(20), leaves: fc.boolean() }))
    fc.assert(
      fc.property(moments, (plans) => {
        const heap = new DeadlineHeap()
        const entries = plans.map(({ moment }) => new Entry(moment))
        for (const entry of entries) heap.add(entry, entry.moment)
        const stay = entries.filter((entry, i) => {
          if (plans[i]!.leaves) heap.remove(entry)
          return !plans[i]!.leaves
        })
        const taken: unknown[] = []
        for (let one = heap.takeFirst(); one !== undefined; one = heap.takeFirst()) taken.push(one)
        expect(taken).toEqual(stay.toSorted((a, b) => a.moment - b.moment))
        expect(stay.every(({ deadlineSlot }) => deadlineSlot === NOT_WAITING)).toBe(true)
        expect(heap.size).toBe(0)
      }),
    )
  })

  it('returns nothing when the heap is empty', () => {
    expect(new DeadlineHeap().takeFirst()).toBeUndefined()
  })
})
