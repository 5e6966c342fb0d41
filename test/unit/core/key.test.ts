import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digest, stableKey } from '../../../src/core/index.js'

const shuffled = (value: unknown, order: (keys: string[]) => string[]): unknown => {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, order))
  if (typeof value !== 'object' || value === null) return value
  // As entries: `__proto__` as a field must stay a field.
  return Object.fromEntries(
    order(Object.keys(value)).map((key) => [
      key,
      shuffled((value as Record<string, unknown>)[key], order),
    ]),
  )
}

const nested = (depth: number): unknown => {
  let value: unknown = 'core'
  for (let i = 0; i < depth; i++) value = [value]
  return value
}

describe('stableKey', () => {
  it('ignores the order of fields', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(stableKey(shuffled(value, (keys) => keys.reverse()))).toBe(stableKey(value))
      }),
    )
  })

  it('gives equal keys for equal values and different keys for different ones', () => {
    const canonical = (value: unknown) => JSON.stringify(shuffled(value, (keys) => keys.sort()))
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        // Compared by their sorted JSON; integer-like fields come first in both.
        expect(stableKey(a) === stableKey(b)).toBe(canonical(a) === canonical(b))
      }),
    )
  })

  it('changes with every small difference', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (value, field) => {
        const keys = [
          value,
          [value],
          [value, null],
          { [field]: value },
          { [`${field}x`]: value },
          { [field]: [value] },
        ].map(stableKey)
        expect(new Set(keys).size).toBe(keys.length)
      }),
    )
  })

  it.each([
    [['a', 'b'], ['a,b']],
    [
      ['a', ['b']],
      [['a'], 'b'],
    ],
    [[], {}],
    [null, 'null'],
    [1, '1'],
    [true, 'true'],
    [[undefined], [null]],
    [[], [undefined]],
    [undefined, 'undefined'],
    [{ a: '1","b":"2' }, { a: '1', b: '2' }],
    ['\uD800', '\uD801'],
    [JSON.parse('{"__proto__":1}'), {}],
  ])('distinguishes %j from %j', (a, b) => {
    expect(stableKey(a)).toBeDefined()
    expect(stableKey(a)).not.toBe(stableKey(b))
  })

  it('ignores fields that are undefined', () => {
    expect(stableKey({ a: 1, b: undefined })).toBe(stableKey({ a: 1 }))
  })

  it('treats objects without a prototype as plain ones', () => {
    expect(stableKey(Object.assign(Object.create(null), { a: 1 }))).toBe(stableKey({ a: 1 }))
  })

  const cycle: unknown[] = []
  cycle.push({ cycle })

  it.each([
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a bigint', 10n],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a Map', new Map([['a', 1]])],
    ['a Set', new Set()],
    ['a Date', new Date(0)],
    ['a RegExp', /x/],
    ['bytes', new Uint8Array(2)],
    ['a class instance', new (class Thing {})()],
    ['an object with toJSON', { toJSON: () => 1 }],
    ['an object with symbol fields', { [Symbol('s')]: 1 }],
    ['a cycle', cycle],
    ['a value that is too deep', nested(100)],
  ])('gives no key for %s, at the top level or nested', (_, value) => {
    expect(stableKey(value)).toBeUndefined()
    expect(stableKey({ field: value })).toBeUndefined()
    expect(stableKey(['a', value])).toBeUndefined()
  })

  it('gives a key for nesting as deep as that of real requests', () => {
    expect(stableKey(nested(50))).toBeDefined()
  })
})

describe('digest', () => {
  it('has a fixed length and shows nothing of its input', () => {
    const made = [digest(), digest('secret'), digest('secret'.repeat(1000), 'more')]
    for (const one of made) {
      expect(one).toMatch(/^[\w-]{43}$/)
      expect(one).not.toContain('secret')
    }
  })

  it('is equal only for equal parts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary' })),
        fc.array(fc.string({ unit: 'binary' })),
        (a, b) => {
          expect(digest(...a) === digest(...b)).toBe(JSON.stringify(a) === JSON.stringify(b))
        },
      ),
    )
  })

  it.each([
    [
      ['ab', 'c'],
      ['a', 'bc'],
    ],
    [[''], []],
    [
      ['', 'a'],
      ['a', ''],
    ],
    [['1:a'], ['1', 'a']],
    [['","'], ['', '']],
    [['\uD800'], ['\uD801']],
    [['\uD800'], ['\uFFFD']],
  ])('distinguishes %j from %j', (a, b) => {
    expect(digest(...a)).not.toBe(digest(...b))
  })
})
