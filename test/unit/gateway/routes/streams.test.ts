import { describe, expect, test } from 'vitest'
import { textOf } from '../../../support/http-client.js'
import { comparable, everyHeader, said, sameFromEach } from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'

describe('streams', () => {
  const streamed = async (text: string) => {
    const { events, headers } = await sameFromEach(
      { upstream: { reply: () => text, wordsPerChunk: 1 } },
      async ({ ask }) => {
        const answer = await ask('/generate/stream', { body: { prompt } })
        return { events: answer.events, headers: comparable(answer).headers }
      },
    )
    return { events, headers }
  }

  test('sends one event per chunk, then [DONE], with headers that keep proxies from buffering', async () => {
    const { events, headers } = await streamed('Hello, small garden.')
    expect(events).toEqual([
      { event: 'message', data: '{"text":"Hello,"}' },
      { event: 'message', data: '{"text":" small"}' },
      { event: 'message', data: '{"text":" garden."}' },
      { event: 'message', data: '[DONE]' },
    ])
    expect(headers).toEqual({
      ...everyHeader,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'server-timing': 'queue;dur=ms, upstream;dur=ms, first-token;dur=ms',
    })
  })

  test.each([
    ['a line break', 'one\ntwo\r\nthree\rfour'],
    ['an end mark', 'so data: [DONE]\n\ndata: [DONE]\n\nit goes on'],
    ['a whole event', '\n\nevent: error\ndata: [ERROR] {}\n\n'],
    ['an id and a retry', '\nid: 5\nretry: 1\n\n'],
    ['line separators of Unicode', 'one\u2028data: [DONE]\u2029two\u0085three'],
    ['NUL and a byte order mark', 'a\u0000b\uFEFFc'],
    ['half of a surrogate pair', 'a \ud83c b'],
    ['nothing but the end mark', '[DONE]'],
  ])('text with %s cannot forge an event', async (_name, text) => {
    const { events } = await streamed(text)
    expect(events.at(-1)).toEqual({ event: 'message', data: '[DONE]' })
    expect(
      events.filter(({ event, data }) => event !== 'message' || data === '[DONE]'),
    ).toHaveLength(1)
    expect(textOf(events)).toBe(text)
  })

  test.each([
    ['is cut', { cutAfterChunks: 2 }],
    ['is reset', { cutAfterChunks: 2, cutWith: 'rst' }],
    ['ends early in due form', { endAfterChunks: 2 }],
    ['holds an error', { errorAfterChunks: 2 }],
    ['turns to nonsense', { garbageAfterChunks: 2 }],
  ] as const)(
    'a stream that %s upstream ends with an error event and never looks complete',
    async (_name, fault) => {
      const outcome = await sameFromEach(
        { upstream: { words: 40 } },
        async ({ ask, upstream, logged, log, errors }) => {
          upstream.faults.push({ ...fault, chunkDelayMs: 5 })
          const { status, events, text } = await ask('/generate/stream', {
            body: { prompt },
            headers: { 'x-request-id': 'mine-1' },
          })
          await logged(1)
          const last = events.at(-1)!
          return {
            status,
            event: last.event,
            data: last.data,
            chunks: events.length - 1,
            done: text.includes('[DONE]'),
            log: log[0]!.code,
            told: errors.length,
          }
        },
      )
      expect(outcome).toMatchObject({
        status: 200,
        event: 'error',
        chunks: 2,
        done: false,
        log: 'STREAM',
        told: 1,
      })
      const [, problem] = /^\[ERROR\] (\{.*\})$/.exec(outcome.data)!
      expect(JSON.parse(problem!)).toEqual({
        code: 'STREAM',
        message: expect.stringMatching(/^The stream broke after it started/),
        requestId: 'mine-1',
      })
    },
  )

  test('a failure before the first token has a real status and no event', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      upstream.faults.push({ errorAfterChunks: 0, times: 3 })
      const early = await ask('/generate/stream', { body: { prompt } })
      upstream.faults.push({ status: 429, retryAfter: 30 })
      const limited = await ask('/generate/stream', { body: { prompt } })
      return [early, limited].map(comparable)
    })
    expect(outcome[0]).toMatchObject({
      status: 502,
      headers: { 'content-type': 'application/problem+json' },
      body: { code: 'SERVER' },
    })
    expect(outcome[1]).toMatchObject({
      status: 429,
      headers: { 'retry-after': '30' },
      body: { code: 'RATE_LIMITED' },
    })
  })

  test('a failure before the first token is retried without the caller noticing', async () => {
    const outcome = await sameFromEach(said('Whole again.'), async ({ ask, upstream }) => {
      upstream.faults.push({ cutAfterChunks: 0 }, { status: 503 })
      const { status, events } = await ask('/generate/stream', { body: { prompt } })
      return {
        status,
        text: textOf(events),
        end: events.at(-1)!.data,
        requests: upstream.requests.length,
      }
    })
    expect(outcome).toEqual({ status: 200, text: 'Whole again.', end: '[DONE]', requests: 3 })
  })

  test('silence after the first token is filled with comments', async () => {
    const outcome = await sameFromEach(
      { gateway: { heartbeatMs: 5 }, upstream: { words: 5 } },
      async ({ visit, upstream }) => {
        upstream.faults.push({ stallAfterChunks: 1 })
        const { next, leave } = await visit('/generate/stream', { body: { prompt } })
        let text = ''
        while (!text.includes(': keep-alive\n\n: keep-alive\n\n')) text += await next()
        leave()
        return text.replace(/(: keep-alive\n\n)+/, '').startsWith('data: {"text":')
      },
    )
    expect(outcome).toBe(true)
  })
})
