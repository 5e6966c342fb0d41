import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { replay, StackError, streamFrom, TimeoutError } from '../../../src/core/index.js'
import {
  type ServerSentEventsOptions,
  smooth,
  sseHeaders,
  toServerSentEvents,
} from '../../../src/streams/index.js'
import { catchWarnings, named } from '../../support/warnings.js'
import { turn } from '../../support/watch.js'
import { all, broken, Source, whole } from './sources.js'

/** What a reader understands of `text` when it arrives in pieces of the given sizes. */
function parse(text: string, sizes: number[] = []): EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (event) => events.push(event) })
  let at = 0
  for (let i = 0; at < text.length; i++) {
    const size = sizes.length === 0 ? text.length : (sizes[i % sizes.length] as number)
    parser.feed(text.slice(at, at + size))
    at += size
  }
  return events
}

const written = async <T>(source: AsyncIterable<T>, options?: ServerSentEventsOptions<T>) =>
  (await all(toServerSentEvents(source, options))).join('')

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '[DONE]',
    'data: [DONE]\n\n',
    '\r',
    '\n',
    '\r\n',
    '\n\n',
    '\0',
    '\u2028',
    '\u2029',
    '\uFEFF',
    ' ',
    '',
    ':',
    'event: error\ndata: x',
    '\ud83d',
    '\u0085',
  ),
  fc.string({ unit: fc.constantFrom('\r', '\n', '\0', '\u2028', ':', ' ', 'data', 'a', '[DONE]') }),
)
const cuts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 })

describe('toServerSentEvents', () => {
  test('writes one frame per chunk of text.stream, and [DONE]', async () => {
    expect(await all(toServerSentEvents(whole([{ text: 'Hello' }, { text: ' world\n' }])))).toEqual(
      ['data: {"text":"Hello"}\n\n', 'data: {"text":" world\\n"}\n\n', 'data: [DONE]\n\n'],
    )
  })

  test('objects of any text parse back to themselves, however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyText), cuts, async (texts, sizes) => {
        const events = parse(await written(whole(texts.map((text) => ({ text })))), sizes)
        expect(events.pop()?.data).toBe('[DONE]')
        expect(events.map((event) => JSON.parse(event.data).text)).toEqual(texts)
        expect(events.every((event) => event.event === undefined && event.id === undefined)).toBe(
          true,
        )
      }),
    )
  })

  test('strings parse back to themselves with LF for every line end, one event per chunk', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyText), cuts, async (texts, sizes) => {
        const events = parse(await written(whole(texts), { done: false }), sizes)
        expect(events.map((event) => event.data)).toEqual(
          texts.map((text) => text.replace(/\r\n|\r/g, '\n')),
        )
        expect(events.every((event) => event.event === undefined && event.id === undefined)).toBe(
          true,
        )
      }),
    )
  })

  test('each frame is whole: it ends with its only empty line', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyText, { minLength: 1 }), async (texts) => {
        for (const frame of await all(toServerSentEvents(whole(texts)))) {
          expect(frame.indexOf('\n\n')).toBe(frame.length - 2)
          expect(frame).not.toContain('\r')
        }
      }),
    )
  })

  test('writes each line of a text as its own data line', async () => {
    expect(await written(whole(['a\nb\rc\r\nd']), { done: false })).toBe(
      'data: a\ndata: b\ndata: c\ndata: d\n\n',
    )
  })

  test('uses data, event and id to shape a frame, and lets data omit a chunk', async () => {
    const frames = await written(whole([1, 2, 3]), {
      data: (chunk) => (chunk === 2 ? undefined : `n${chunk}`),
      event: () => 'number',
      id: (_, index) => `i${index}`,
      retryMs: 2500,
      done: 'bye',
    })
    expect(frames).toBe(
      'retry: 2500\n\nevent: number\nid: i0\ndata: n1\n\nevent: number\nid: i2\ndata: n3\n\ndata: bye\n\n',
    )
  })

  test.each([
    ['event', { event: () => 'a\ndata: forged' }],
    ['event', { event: () => 'a\rb' }],
    ['id', { id: () => 'a\nb' }],
    ['id', { id: () => 'a\0b' }],
    ['data', { data: () => 5 as never }],
    [
      'data',
      {
        data: () => {
          throw new Error('secret')
        },
      },
    ],
  ])(
    'a wrong %s() ends the stream with an error event and returns the source',
    async (_, options) => {
      const source = new Source(['x', 'y'])
      const text = await written(source, options)
      expect(parse(text)).toHaveLength(1)
      expect(text).toMatch(
        /^event: error\ndata: \[ERROR\] \{"code":"(CONFIG|INTERNAL)","message":"An unexpected error occurred\."\}\n\n$/,
      )
      expect(source.returned).toBe(1)
    },
  )

  test('null and undefined are JSON null', async () => {
    expect(await written(whole([null, undefined]), { done: false })).toBe(
      'data: null\n\ndata: null\n\n',
    )
  })

  test('headers forbid caching, transforming and buffering', () => {
    expect(new Headers(sseHeaders).get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(sseHeaders['cache-control']).toBe('no-cache, no-transform')
    expect(sseHeaders['x-accel-buffering']).toBe('no')
  })

  describe('failures', () => {
    test('become an error event and a normal end without [DONE]', async () => {
      const source = broken([{ text: 'a' }], new TimeoutError(50, { phase: 'idle' }))
      expect(await all(toServerSentEvents(source, { requestId: 'r1' }))).toEqual([
        'data: {"text":"a"}\n\n',
        'event: error\ndata: [ERROR] {"code":"TIMEOUT","message":"The stream sent nothing for 50 ms.","requestId":"r1"}\n\n',
      ])
      expect(source.returned).toBe(0)
    })

    test('that are unexpected do not reveal their message', async () => {
      const text = await written(broken([], new Error('connect ECONNREFUSED 10.0.0.7\n\ndata: x')))
      expect(text).toBe(
        'event: error\ndata: [ERROR] {"code":"INTERNAL","message":"An unexpected error occurred."}\n\n',
      )
    })

    test('go to error(), which may replace the event or leave it out', async () => {
      const error = new StackError('No.', { code: 'SERVER', status: 502 })
      const seen: unknown[] = []
      const v1 = {
        error: (failure: unknown) => {
          seen.push(failure)
          return { data: '{"error":{}}' }
        },
      }
      expect(await written(broken([], error), v1)).toBe('data: {"error":{}}\n\n')
      expect(seen).toEqual([error])
      expect(await written(broken([], error), { error: () => undefined })).toBe('')
      expect(await written(broken([], error), { error: (_, event) => event })).toContain(
        '"code":"SERVER"',
      )
    })

    test('of error() itself keep the default event', async () => {
      const said = catchWarnings()
      const usual = expect.stringContaining('event: error\ndata: [ERROR] {"code":"TIMEOUT"')
      const bad = () => {
        throw named('EventHook')
      }
      expect(await written(broken([], new TimeoutError(1)), { error: bad })).toEqual(usual)
      expect(
        await written(broken([], new TimeoutError(1)), {
          error: () => ({ data: 'x', event: 'a\nb' }),
        }),
      ).toEqual(usual)
      expect(said).toEqual([
        expect.stringContaining('error() threw EventHook'),
        expect.stringContaining('error() threw ConfigError'),
      ])
      vi.restoreAllMocks()
    })

    test("caused by the caller's abort simply end the stream", async () => {
      const controller = new AbortController()
      controller.abort('gone')
      expect(await written(broken(['a'], 'gone'), { signal: controller.signal })).toBe(
        'data: a\n\n',
      )
      expect(await written(broken(['a'], new DOMException('x', 'AbortError')))).toBe('data: a\n\n')
    })

    test('a stream that someone else has left is not marked complete', async () => {
      const stream = streamFrom(new Source(['a']))
      const reader = toServerSentEvents(smooth(stream))
      await reader.next()
      await stream.return()
      expect(await all(reader)).toEqual([])
      expect(await written(replay(['a']))).toBe('data: a\n\ndata: [DONE]\n\n')
    })
  })

  describe('ids and Last-Event-ID', () => {
    const texts = ['a', 'b', 'c', 'd']

    test('numbers events from 0', async () => {
      expect(parse(await written(whole(texts), { ids: true })).map((event) => event.id)).toEqual([
        '0',
        '1',
        '2',
        '3',
        undefined,
      ])
    })

    test('resumes after any id that was read', async () => {
      const full = parse(await written(whole(texts), { ids: true, done: false }))
      for (const [index, { id }] of full.entries()) {
        const rest = parse(await written(whole(texts), { ids: true, done: false, lastEventId: id }))
        expect(rest).toEqual(full.slice(index + 1))
      }
    })

    test.each(['', ' 1', '-1', '1.5', '0x1', 'abc', '1e3', '9'.repeat(400), null, undefined])(
      'restarts for %j',
      async (lastEventId) => {
        expect(parse(await written(whole(texts), { ids: true, lastEventId }))).toHaveLength(5)
      },
    )

    test('an id beyond the end leaves only [DONE]', async () => {
      expect(await written(whole(texts), { ids: true, lastEventId: '99' })).toBe('data: [DONE]\n\n')
    })
  })

  describe('heartbeats', () => {
    beforeEach(() => {
      vi.useFakeTimers()
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    test('come after each silence of 15 s while the reader waits', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source)
      for (let i = 0; i < 3; i++) {
        const waiting = reader.next()
        const told = vi.fn()
        void waiting.then(told)
        await vi.advanceTimersByTimeAsync(14_999)
        expect(told).not.toHaveBeenCalled()
        await vi.advanceTimersByTimeAsync(1)
        expect(await waiting).toEqual({ done: false, value: ': keep-alive\n\n' })
      }
      const waiting = reader.next()
      source.give('a')
      expect((await waiting).value).toBe('data: a\n\n')
      expect(source.asked).toBe(1)
      source.end()
      expect(await all(reader)).toEqual(['data: [DONE]\n\n'])
      expect(vi.getTimerCount()).toBe(0)
    })

    test('are not queued for a reader who is not waiting', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source, { heartbeatMs: 100 })
      source.give('a')
      await reader.next()
      await vi.advanceTimersByTimeAsync(1000)
      expect(vi.getTimerCount()).toBe(0)
      source.give('b')
      expect((await reader.next()).value).toBe('data: b\n\n')
      await reader.return(undefined)
      expect(vi.getTimerCount()).toBe(0)
    })

    test('a chunk that comes after a heartbeat is not lost', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source, { heartbeatMs: 100 })
      const beat = reader.next()
      await vi.advanceTimersByTimeAsync(100)
      expect((await beat).value).toBe(': keep-alive\n\n')
      source.give('a')
      await vi.advanceTimersByTimeAsync(0)
      source.end()
      expect(await all(reader)).toEqual(['data: a\n\n', 'data: [DONE]\n\n'])
    })

    test('count the silence from the last frame on', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source, { heartbeatMs: 100 })
      for (const text of ['a', 'b', 'c']) {
        const waiting = reader.next()
        await vi.advanceTimersByTimeAsync(60)
        source.give(text)
        expect((await waiting).value).toBe(`data: ${text}\n\n`)
      }
      await reader.return(undefined)
    })

    test('go on while events are skipped', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source, { heartbeatMs: 100, ids: true, lastEventId: '5' })
      const waiting = reader.next()
      await vi.advanceTimersByTimeAsync(60)
      source.give('a')
      await vi.advanceTimersByTimeAsync(40)
      expect((await waiting).value).toBe(': keep-alive\n\n')
      await reader.return(undefined)
    })

    test.each([0, false] as const)('are off with %j', async (heartbeatMs) => {
      void toServerSentEvents(new Source(), { heartbeatMs }).next()
      expect(vi.getTimerCount()).toBe(0)
    })

    test('leave no timer after a failure or a leave', async () => {
      const source = new Source<string>()
      const reader = toServerSentEvents(source)
      const waiting = reader.next()
      await vi.advanceTimersByTimeAsync(0)
      expect(vi.getTimerCount()).toBe(1)
      await reader.return(undefined)
      expect(vi.getTimerCount()).toBe(0)
      await waiting
      await written(broken([], new Error('x')))
      expect(vi.getTimerCount()).toBe(0)
    })
  })

  test('several who wait all get heartbeats', async () => {
    const reader = toServerSentEvents(new Source(), { heartbeatMs: 1 })
    const results = await Promise.all([reader.next(), reader.next(), reader.next()])
    expect(results.map((result) => result.value)).toEqual(Array(3).fill(': keep-alive\n\n'))
    await reader.return(undefined)
    await turn()
  })

  test.each([
    [{ heartbeatMs: -1 }, /"heartbeatMs"/],
    [{ heartbeatMs: 2 ** 31 }, /"heartbeatMs"/],
    [{ heartbeatMs: Number.NaN }, /"heartbeatMs"/],
    [{ retryMs: 1.5 }, /"retryMs"/],
    [{ done: true }, /"done"/],
    [{ data: 'x' }, /"data"/],
    [{ signal: {} }, /"signal"/],
    [{ requestId: '' }, /"requestId"/],
    [{ lastEventID: '1' }, /"lastEventID" is unknown/],
    [{ lastEventId: '1' }, /requires "ids: true"/],
    [{ lastEventId: 1, ids: true }, /"lastEventId"/],
    [{ ids: true, id: () => 'x' }, /not both/],
  ])('refuses the options %j', (options, message) => {
    expect(() => toServerSentEvents(whole([]), options as never)).toThrow(message)
    expect(() => toServerSentEvents(whole([]), options as never)).toThrow(/^toServerSentEvents: /)
    expect(() => toServerSentEvents(whole([]), options as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG' }),
    )
  })
})
