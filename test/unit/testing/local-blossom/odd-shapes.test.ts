import { describe, expect, it } from 'vitest'
import { cache, collect, createBlossom } from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { ODD_SHAPES, type OddShape } from '../../../../src/testing/local-blossom/odd-shapes.js'

const REPLY = 'Tulips bloom in April.'

/** What a plain call and a stream come to, where that is not the text; and whether it is kept. */
const EXPECTED: Readonly<
  Record<OddShape, readonly [plain: string, streamed: string, plainKept: boolean, kept: boolean]>
> = {
  emptyReason: [REPLY, 'STREAM', false, false],
  openChoice: [REPLY, 'STREAM', false, false],
  failedChoice: ['SERVER', 'STREAM', false, false],
  filtered: [REPLY, REPLY, false, false],
  nothing: ['', '', false, false],
  emptyHead: [REPLY, REPLY, true, true],
  nullChoices: [REPLY, REPLY, true, true],
  pings: [REPLY, REPLY, true, true],
  parts: [REPLY, REPLY, true, true],
  reasoning: ['', '', true, true],
  images: [REPLY, REPLY, true, true],
  sharedIndex: [REPLY, REPLY, true, true],
  blanks: [REPLY, REPLY, true, true],
  notice: ['PAYMENT', 'PAYMENT', false, false],
  mark: [REPLY, REPLY, true, true],
  label: [REPLY, REPLY, true, true],
  detail: ['SERVER', 'SERVER', false, false],
  errors: ['SERVER', 'SERVER', false, false],
  errorObject: ['SERVER', 'SERVER', false, false],
}

const codeOf = (error: { code: string }): string => error.code

describe.each(ODD_SHAPES)('an answer of the shape %s', (odd) => {
  const [plain, streamed, isPlainKept, isKept] = EXPECTED[odd]

  it.each([
    ['JSON', plain, isPlainKept],
    ['a stream', streamed, isKept],
  ])('is what it should be, and kept only when it is good, as %s', async (form, expected, kept) => {
    await using upstream = await startLocalBlossom({ reply: () => REPLY, coalesce: false })
    await using blossom = createBlossom({ baseURL: upstream.url }).use(cache())
    const ask = (): Promise<string> =>
      form === 'JSON'
        ? blossom.text.generate('Hello').then(({ text }) => text, codeOf)
        : blossom.text
            .stream('Hello')
            .then((stream) => collect(stream))
            .then((pieces) => pieces.map(({ text }) => text).join(''), codeOf)
    for (let i = 0; i < 2; i++) {
      upstream.fault({ odd })
      expect(await ask()).toBe(expected)
    }
    expect(upstream.requests).toHaveLength(kept ? 1 : 2)
  })
})

it('a fault of an unknown shape is refused', async () => {
  await using upstream = await startLocalBlossom()
  expect(() => upstream.fault({ odd: 'square' as OddShape })).toThrow(/"odd"/)
})
