import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { smooth } from '../../../src/streams/index.js'
import { turn } from '../../support/watch.js'
import { all, broken, Source, whole } from './sources.js'

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
const boundaries = (text: string) => new Set([...graphemes.segment(text)].map(({ index }) => index))

const family = '👨‍👩‍👧‍👦'
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({
    unit: fc.constantFrom(
      'a',
      'word ',
      ' ',
      '\n',
      '\r',
      '\r\n',
      '🇩🇪',
      '🇩',
      family,
      'e\u0301',
      '한',
      '\u1100',
      '\u0300',
      '\ud83d',
      '\u200d',
      'क्षि',
    ),
    maxLength: 60,
  }),
)

describe('smooth', () => {
  test('pieces join to the text, are short, and split no grapheme', async () => {
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 30 }), async (input, maxChars) => {
        const pieces = await all(smooth(whole([input]), { maxChars }))
        expect(pieces.join('')).toBe(input)
        const ends = boundaries(input)
        let at = 0
        for (const piece of pieces) {
          if (input !== '') expect(ends.has(at)).toBe(true)
          if (input !== '') expect(piece).not.toBe('')
          if (piece.length > maxChars) expect([...graphemes.segment(piece)]).toHaveLength(1)
          at += piece.length
        }
      }),
    )
  })

  test('cuts after words where possible', async () => {
    expect(await all(smooth(whole(['The quick  brown fox jumps']), { maxChars: 10 }))).toEqual([
      'The quick ',
      ' brown ',
      'fox jumps',
    ])
    expect(await all(smooth(whole(['abcdefghij']), { maxChars: 4 }))).toEqual([
      'abcd',
      'efgh',
      'ij',
    ])
    expect(await all(smooth(whole([`a${family}b`]), { maxChars: 2 }))).toEqual(['a', family, 'b'])
  })

  test('chunks {text} keep their other members in every piece', async () => {
    const chunk = Object.freeze({ text: 'one two three', index: 4 })
    expect(await all(smooth(whole([chunk]), { maxChars: 8 }))).toEqual([
      { text: 'one two ', index: 4 },
      { text: 'three', index: 4 },
    ])
  })

  test('everything else, and what is small enough, is the very same chunk', async () => {
    const chunks = [
      { text: 'small' },
      { text: 5 },
      { choices: [] },
      7,
      null,
      undefined,
      '',
      new Uint8Array(100),
    ]
    const out = await all(smooth(whole<unknown>(chunks)))
    expect(out).toHaveLength(chunks.length)
    for (const [index, chunk] of out.entries()) expect(chunk).toBe(chunks[index])
  })

  test('reads nothing ahead while a large chunk is delivered', async () => {
    const source = new Source(['aaa bbb ccc', 'next'])
    const reader = smooth(source, { maxChars: 4 })
    for (let i = 0; i < 3; i++) await reader.next()
    await turn()
    expect(source.asked).toBe(1)
    expect((await reader.next()).value).toBe('next')
  })

  test('a failure comes after the pieces', async () => {
    const error = new Error('upstream')
    const reader = smooth(broken(['aaa bbb'], error), { maxChars: 4 })
    expect([(await reader.next()).value, (await reader.next()).value]).toEqual(['aaa ', 'bbb'])
    await expect(reader.next()).rejects.toBe(error)
    expect((await reader.next()).done).toBe(true)
  })

  test('concurrent calls share out a chunk', async () => {
    const reader = smooth(whole(['x'.repeat(20_000)]), { maxChars: 1 })
    const results = await Promise.all(Array.from({ length: 20_001 }, () => reader.next()))
    expect(results.map((result) => result.value ?? '').join('')).toBe('x'.repeat(20_000))
  })

  test('leaving amid the pieces returns the source', async () => {
    const source = new Source(['aaa bbb ccc'])
    const reader = smooth(source, { maxChars: 4 })
    for await (const _ of reader) break
    expect(source.returned).toBe(1)
    expect((await reader.next()).done).toBe(true)
  })

  describe('with delayMs', () => {
    afterEach(() => {
      vi.useRealTimers()
    })

    test('pauses between the pieces of one chunk only', async () => {
      vi.useFakeTimers()
      const reader = smooth(whole(['aaa bbb', 'ccc']), { maxChars: 4, delayMs: 20 })
      expect((await reader.next()).value).toBe('aaa ')
      const told = vi.fn()
      const second = reader.next()
      void second.then(told)
      await vi.advanceTimersByTimeAsync(19)
      expect(told).not.toHaveBeenCalled()
      await vi.advanceTimersByTimeAsync(1)
      expect((await second).value).toBe('bbb')
      expect((await reader.next()).value).toBe('ccc')
      expect((await reader.next()).done).toBe(true)
      expect(vi.getTimerCount()).toBe(0)
    })

    test('leaving during a pause settles at once and leaves no timer', async () => {
      vi.useFakeTimers()
      const source = new Source(['aaa bbb'])
      const reader = smooth(source, { maxChars: 4, delayMs: 1000 })
      await reader.next()
      const waiting = reader.next()
      await reader.return(undefined)
      expect((await waiting).done).toBe(true)
      expect(source.returned).toBe(1)
      expect(vi.getTimerCount()).toBe(0)
    })
  })

  test.each([{ maxChars: 0 }, { maxChars: 1.5 }, { delayMs: -1 }, { chars: 4 }])(
    'refuses the options %j',
    (options) => {
      expect(() => smooth(whole([]), options as never)).toThrow(/^smooth: /)
    },
  )
})
