import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readRetryAfter } from '../../../../src/client/wire/retry-after.js'

const NOW = Date.UTC(2026, 0, 15, 12, 0, 0)
const waitFor = (header: unknown) => readRetryAfter({ 'retry-after': header }, undefined, NOW)

describe('readRetryAfter', () => {
  it.each([
    ['0', 0],
    ['2', 2_000],
    [' 2 ', 2_000],
    ['1.5', 1_500],
    ['0.25', 250],
    ['007', 7_000],
    ['86400', 86_400_000],
    ['99999999999999999999999999', 1e15],
    ['9'.repeat(5_000), 1e15],
    ['Thu, 15 Jan 2026 12:00:03 GMT', 3_000],
    ['Thursday, 15-Jan-26 12:00:03 GMT', 3_000],
    ['Thu Jan 15 12:00:03 2026 GMT', 3_000],
  ])('reads %s', (header, ms) => {
    expect(waitFor(header)).toBe(ms)
  })

  it.each(
    [
      [
        '',
        '   ',
        '-1',
        '-0.5',
        '+2',
        '1e3',
        '0x10',
        'Infinity',
        '-Infinity',
        'NaN',
        '2s',
        '1,5',
        '.5',
        '5.',
        '1 2',
      ],
      [
        'soon',
        'tomorrow',
        '2026-01-15',
        '2026-01-15T12:00:03Z',
        '15 Jan 2026 12:00:03 GMT',
        'Thu, 99 Jan 2026 12:00:03 GMT',
        'Thu, garbage',
      ],
      [
        'Thu, 15 Jan 2026 11:59:59 GMT',
        'Thu, 15 Jan 2026 12:00:00 GMT',
        'Thu, 01 Jan 1970 00:00:00 GMT',
        'Mon, 01 Jan 0001 00:00:00 GMT',
      ],
      [undefined, null, 5, {}, [], true, ['5', '6']],
    ].flat(),
  )('reads nothing from %j', (header) => {
    expect(waitFor(header)).toBeUndefined()
  })

  it.each([
    ['10 minutes behind', 'Thu, 15 Jan 2026 11:50:00 GMT', 'Thu, 15 Jan 2026 11:50:03 GMT', 3_000],
    ['10 minutes ahead', 'Thu, 15 Jan 2026 12:10:00 GMT', 'Thu, 15 Jan 2026 12:10:03 GMT', 3_000],
    ['right', 'Thu, 15 Jan 2026 12:00:00 GMT', 'Thu, 15 Jan 2026 12:00:03 GMT', 3_000],
    ['unknown', 'yesterday', 'Thu, 15 Jan 2026 12:00:03 GMT', 3_000],
  ])('measures a date against the server’s clock, which is %s', (_, date, header, ms) => {
    expect(readRetryAfter({ date, 'retry-after': header }, undefined, NOW)).toBe(ms)
  })

  it('ignores a date already past by the server’s clock', () => {
    const passed = 'Thu, 15 Jan 2026 12:09:59 GMT'
    const headers = { date: 'Thu, 15 Jan 2026 12:10:00 GMT', 'retry-after': passed }
    expect(readRetryAfter(headers, undefined, NOW)).toBeUndefined()
  })

  it('prefers the milliseconds header and ignores it when invalid', () => {
    expect(readRetryAfter({ 'retry-after-ms': '250', 'retry-after': '9' })).toBe(250)
    expect(readRetryAfter({ 'retry-after-ms': '0.5' })).toBe(0.5)
    for (const wrong of ['-1', '1e3', 'soon', '', 'Infinity']) {
      expect(readRetryAfter({ 'retry-after-ms': wrong, 'retry-after': '9' })).toBe(9_000)
    }
  })

  it('uses the seconds in the body when no header gives a time', () => {
    expect(readRetryAfter({}, { retryAfterSeconds: 12.5 })).toBe(12_500)
    expect(readRetryAfter({}, { error: { retryAfterSeconds: 3 } })).toBe(3_000)
    expect(readRetryAfter({ 'retry-after': 'soon' }, { retryAfterSeconds: 3 })).toBe(3_000)
    expect(readRetryAfter({ 'retry-after': '1' }, { retryAfterSeconds: 3 })).toBe(1_000)
    expect(readRetryAfter({}, { retryAfterSeconds: 1e308 })).toBe(1e15)
    expect(readRetryAfter({}, { retryAfterSeconds: 0 })).toBe(0)
  })

  it.each([
    undefined,
    null,
    5,
    'text',
    [],
    {},
    { retryAfterSeconds: '3' },
    { retryAfterSeconds: -1 },
    { retryAfterSeconds: Number.NaN },
  ])('reads nothing from the body %j', (body) => {
    expect(readRetryAfter({}, body)).toBeUndefined()
  })

  it('is never NaN, infinite or negative, whatever the input', () => {
    const numbers = fc.oneof(
      fc.double().map(String),
      fc.integer().map(String),
      fc.bigInt().map(String),
      fc.date().map((date) => date.toString()),
    )
    const dates = fc.date({ noInvalidDate: true }).map((date) => date.toUTCString())
    const value = fc.oneof(fc.string(), numbers, dates, fc.anything())
    const body = fc.oneof(
      fc.record({ retryAfterSeconds: fc.anything(), error: fc.anything() }),
      fc.anything(),
    )
    fc.assert(
      fc.property(value, value, value, body, (ms, header, date, rest) => {
        const wait = readRetryAfter({ 'retry-after-ms': ms, 'retry-after': header, date }, rest)
        expect(wait === undefined || (Number.isFinite(wait) && wait >= 0)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})
