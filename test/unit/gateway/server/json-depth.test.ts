import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isTooDeep } from '../../../../src/gateway/server/json-depth.js'

const judge = (json: string) => isTooDeep(Buffer.from(json))
const nested = (depth: number, inside: string) =>
  `${'['.repeat(depth)}${inside}${']'.repeat(depth)}`

/** Longer than what is too short to be deep. */
const FILLER = `"${'x'.repeat(2_000)}"`

describe('isTooDeep', () => {
  test('refuses more than 500 levels of lists and objects', () => {
    expect(judge(nested(500, FILLER))).toBe(false)
    expect(judge(nested(501, FILLER))).toBe(true)
    expect(judge('{"a":['.repeat(251) + FILLER)).toBe(true)
    expect(judge(`[${'[],'.repeat(2_000)}[]]`)).toBe(false)
  })

  test('ignores brackets in strings, whatever escapes they contain', () => {
    const strings = fc.array(fc.constantFrom('[', '{', '"', '\\', 'é', '💐', ' ', 'x'), {
      maxLength: 150,
    })
    fc.assert(
      fc.property(strings, fc.integer({ min: 0, max: 500 }), (characters, depth) => {
        const text = `${characters.join('')}${'['.repeat(600)}`
        const json = nested(depth, `${JSON.stringify(text)},${FILLER}`)
        expect(judge(json)).toBe(false)
        expect(judge(nested(501 - depth, json))).toBe(true)
      }),
    )
  })

  test('leaves an unterminated string to the parser', () => {
    expect(judge(`["${'['.repeat(2_000)}`)).toBe(false)
    expect(judge(`["${'\\"'.repeat(2_000)}`)).toBe(false)
  })

  test('quickly finds the end of a string with many escaped quotes', () => {
    const json = JSON.stringify(['"\\'.repeat(1_000_000)])
    const began = performance.now()
    expect(judge(json)).toBe(false)
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})
