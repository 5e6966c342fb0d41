import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TransientMap } from '../../../src/core/index.js'

describe('TransientMap', () => {
  it('behaves like a Map, whatever is added and removed', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 40 }).map(String), adds: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600, size: 'max' }), (steps) => {
        const transient = new TransientMap<{ n: number }>()
        const plain = new Map<string, { n: number }>()
        for (const [n, { key, adds }] of steps.entries()) {
          const held = plain.get(key)
          if (adds && held === undefined) {
            const value = { n }
            transient.set(key, value)
            plain.set(key, value)
          } else if (!adds && held !== undefined) {
            transient.delete(key, held)
            plain.delete(key)
          }
          expect(transient.get(key)).toBe(plain.get(key))
        }
        for (let key = 0; key <= 40; key++)
          expect(transient.get(String(key))).toBe(plain.get(String(key)))
      }),
    )
  })

  it('deletes a key only while it holds the given value', () => {
    const map = new TransientMap<object>()
    const [first, second] = [{}, {}]
    map.set('a', first)
    map.delete('a', second)
    expect(map.get('a')).toBe(first)
    map.delete('a', first)
    map.delete('a', first)
    expect(map.get('a')).toBeUndefined()
    map.set('a', second)
    expect(map.get('a')).toBe(second)
  })
})
