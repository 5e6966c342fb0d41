import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { QueueFullError } from '../../../src/core/index.js'
import { toNdjson } from '../../../src/streams/index.js'
import { catchWarnings, named } from '../../support/warnings.js'
import { all, broken, Source, whole } from './sources.js'

describe('toNdjson', () => {
  test('any JSON values come back line by line', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), async (values) => {
        const text = (await all(toNdjson(whole(values)))).join('')
        const lines = text.split('\n')
        expect(lines.pop()).toBe('')
        expect(lines.map((line) => JSON.parse(line))).toEqual(
          values.map((value) => JSON.parse(JSON.stringify(value))),
        )
      }),
    )
  })

  test('a failure is the last line', async () => {
    expect(
      await all(toNdjson(broken([{ text: 'a' }], new QueueFullError(3)), { requestId: 'r' })),
    ).toEqual([
      '{"text":"a"}\n',
      '{"error":{"code":"QUEUE_FULL","message":"Rejected: the maximum number of waiting calls (maxWaiting: 3) is reached. Retry later, or raise maxWaiting.","requestId":"r"}}\n',
    ])
    expect(await all(toNdjson(broken([], new Error('secret'))))).toEqual([
      '{"error":{"code":"INTERNAL","message":"An unexpected error occurred."}}\n',
    ])
  })

  test('error() may replace the last line, leave it out, or fail', async () => {
    expect(await all(toNdjson(broken([], 1), { error: () => ({ oops: true }) }))).toEqual([
      '{"oops":true}\n',
    ])
    expect(await all(toNdjson(broken([], 1), { error: () => undefined }))).toEqual([])
    const said = catchWarnings()
    const bad = () => {
      throw named('NdjsonHook')
    }
    expect(await all(toNdjson(broken([], 1), { error: bad }))).toEqual([
      expect.stringContaining('INTERNAL'),
    ])
    expect(said).toEqual([expect.stringContaining('error() threw NdjsonHook')])
    vi.restoreAllMocks()
  })

  test("the caller's abort just ends the lines", async () => {
    expect(await all(toNdjson(broken([1], new DOMException('x', 'AbortError'))))).toEqual(['1\n'])
  })

  test('a chunk that is not JSON is a failure and returns the source', async () => {
    const source = new Source([1n])
    expect(await all(toNdjson(source))).toEqual([expect.stringContaining('INTERNAL')])
    expect(source.returned).toBe(1)
  })

  test('refuses unknown options', () => {
    expect(() => toNdjson(whole([]), { pretty: true } as never)).toThrow(
      /^toNdjson: option "pretty" is unknown/,
    )
  })
})
