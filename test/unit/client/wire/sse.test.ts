import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readEvents } from '../../../../src/client/wire/sse.js'

interface Event {
  readonly data: string
  readonly event: string | undefined
}

/** The events of bytes that come in these pieces. */
function eventsOf(
  pieces: readonly Uint8Array[],
  maxEventBytes = 1_000_000,
): { events: Event[]; tooLong: number } {
  const events: Event[] = []
  let tooLong = 0
  const feed = readEvents(
    { onData: (data, event) => events.push({ data, event }), onTooLong: () => tooLong++ },
    maxEventBytes,
  )
  for (const piece of pieces) feed(Buffer.from(piece))
  return { events, tooLong }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const datasOf = (text: string): string[] => eventsOf([bytesOf(text)]).events.map(({ data }) => data)

/** The bytes cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [
    0,
    ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]
  return sorted.slice(1).map((end, i) => bytes.slice(sorted[i], end))
}

describe('readEvents', () => {
  it.each([
    ['line feeds', 'data: a\n\ndata: b\n\n'],
    ['carriage returns and line feeds', 'data: a\r\n\r\ndata: b\r\n\r\n'],
    ['carriage returns', 'data: a\r\rdata: b\r\r:\r'],
    ['no space', 'data:a\n\ndata:b\n\n'],
    ['comments', ': hello\n\ndata: a\n\n:\n: OPENROUTER PROCESSING\n\ndata: b\n\n: bye\n\n'],
    ['a byte order mark', '\ufeffdata: a\n\ndata: b\n\n'],
    ['other fields', 'id: 1\nretry: 100\ndata: a\n\nretry: soon\nunknown: x\nnothing\ndata: b\n\n'],
    ['blank lines', '\n\n\ndata: a\n\n\n\ndata: b\n\n\n'],
  ])('reads %s', (_name, text) => {
    expect(datasOf(text)).toEqual(['a', 'b'])
  })

  it('joins the lines of one event', () => {
    expect(datasOf('data: {\ndata: "a": 1\ndata:\ndata: }\n\n')).toEqual(['{\n"a": 1\n\n}'])
  })

  it('gives the name of an event to that event only', () => {
    expect(eventsOf([bytesOf('event: error\ndata: a\n\ndata: b\n\n')]).events).toEqual([
      { data: 'a', event: 'error' },
      { data: 'b', event: undefined },
    ])
  })

  it('does not deliver an event before its blank line', () => {
    expect(datasOf('data: a\n\ndata: b')).toEqual(['a'])
    expect(datasOf('data: a\n\ndata: b\n')).toEqual(['a'])
    expect(datasOf('event: x\n\n')).toEqual([])
  })

  it('keeps what lies inside a line: separators of other kinds, brackets, [DONE]', () => {
    const inside = 'a\u2028b\u2029c\u0085d\u000be\u000cf data: [DONE] :'
    expect(datasOf(`data: ${inside}\n\n`)).toEqual([inside])
  })

  it('replaces invalid UTF-8 with the replacement character', () => {
    const bytes = Buffer.concat([bytesOf('data: a'), Uint8Array.of(0xff, 0xfe), bytesOf('b\n\n')])
    expect(eventsOf([bytes]).events[0]?.data).toBe('a\ufffd\ufffdb')
  })

  it.each([
    ['one endless line', (i: number) => (i === 0 ? 'data: ' : 'x'.repeat(1_000))],
    ['endless lines of one event', () => `data: ${'x'.repeat(1_000)}\n`],
    ['an endless comment', () => ':'.repeat(1_000)],
  ])('stops at %s, reports it once, and reads nothing more', (_name, part) => {
    const pieces = Array.from({ length: 50 }, (_, i) => bytesOf(part(i)))
    const { events, tooLong } = eventsOf(
      [bytesOf('data: first\n\n'), ...pieces, bytesOf('\n\ndata: last\n\n')],
      10_000,
    )
    expect({ events: events.map(({ data }) => data), tooLong }).toEqual({
      events: ['first'],
      tooLong: 1,
    })
  })

  it('gives the same events however the bytes are split', () => {
    const line = fc.oneof(
      fc.string({ unit: 'grapheme' }).map((text) => `data: ${text.replace(/[\r\n]/g, ' ')}`),
      fc.json().map((text) => `data:${text}`),
      fc.constantFrom(
        '',
        '',
        ':',
        ': comment',
        'event: error',
        'id: 1',
        'data',
        'data:',
        'data: [DONE]',
        'retry: x',
        'data: 😀é\u2028',
      ),
    )
    const end = fc.constantFrom('\n', '\r\n', '\r')
    const text = fc
      .array(fc.tuple(line, end), { maxLength: 30 })
      .map((lines) => `${lines.flat().join('')}\n\n`)
    const mark = fc.boolean().map((has) => (has ? '\ufeff' : ''))
    fc.assert(
      fc.property(
        fc.tuple(mark, text),
        fc.array(fc.nat(), { maxLength: 40 }),
        ([start, rest], places) => {
          const bytes = bytesOf(start + rest)
          const whole = eventsOf([bytes])
          expect(eventsOf(cut(bytes, places))).toEqual(whole)
          expect(eventsOf([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(whole)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('returns any text unchanged as the data of its event', () => {
    const point = fc.oneof(
      fc.nat({ max: 0xd7ff }),
      fc.integer({ min: 0xe000, max: 0x10ffff }),
      fc.constantFrom(0, 10, 13, 0xfeff, 0x2028),
    )
    const text = fc.array(point, { maxLength: 30 }).map((points) => String.fromCodePoint(...points))
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (texts, places) => {
          const bytes = bytesOf(texts.map((text) => `data: ${JSON.stringify(text)}\n\n`).join(''))
          expect(eventsOf(cut(bytes, places)).events.map(({ data }) => JSON.parse(data))).toEqual(
            texts,
          )
        },
      ),
    )
  })
})
