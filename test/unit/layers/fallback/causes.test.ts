import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addCause } from '../../../../src/layers/fallback/causes.js'

/** The messages along a chain, which must end. */
function messages(error: unknown): unknown[] {
  const found: unknown[] = []
  for (let link = error; link instanceof Error; link = link.cause) {
    found.push(link.message)
    if (found.length > 100) throw new Error('The chain has no end.')
  }
  return found
}

describe('addCause', () => {
  it('puts the earlier error at the end of the chain', () => {
    const error = new Error('a', { cause: new Error('b') })
    addCause(error, new Error('c', { cause: new Error('d') }))
    expect(messages(error)).toEqual(['a', 'b', 'c', 'd'])
    expect(Object.keys(error.cause as Error)).toEqual([])
  })

  it('leaves an error alone that cannot take a cause', () => {
    const before = new Error('before')
    for (const error of [
      undefined,
      null,
      'text',
      { message: 'no error' },
      Object.freeze(new Error('frozen')),
      new Error('other', { cause: 'a text' }),
    ]) {
      expect(() => addCause(error, before)).not.toThrow()
      if (error instanceof Error) expect(error.cause).not.toBe(before)
    }
    expect(() => addCause(before, 'text')).not.toThrow()
    expect(before.cause).toBe('text')
  })

  it('makes no circular or endless chain of errors that are thrown repeatedly', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 100 }), (pairs) => {
        const errors = [0, 1, 2, 3].map((n) => new Error(`${n}`))
        for (const [a, b] of pairs) addCause(errors[a], errors[b])
        for (const error of errors) expect(new Set(messages(error)).size).toBeLessThanOrEqual(4)
      }),
    )
    const constant = new Error('always the same')
    for (let n = 0; n < 1_000; n++) addCause(constant, new Error(`${n}`))
    expect(messages(constant).length).toBeLessThanOrEqual(16)
  })
})
