import { describe, expect, it } from 'vitest'
import {
  cache,
  createBlossom,
  ProtocolError,
  RateLimitError,
  retry,
  StreamError,
  TimeoutError,
  timeout,
  UpstreamError,
} from '../../../../src/index.js'
import { type Fault, startLocalBlossom } from '../../../../src/testing/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { everythingOf, KEY, PROMPT } from '../../../support/secrets.js'
import { readText, textOf } from '../../../support/text-streams.js'
import { failure } from '../../../support/watch.js'
import { chunk, DONE, event } from '../../../support/wire.js'
import { SSE, streaming } from './streaming.js'

describe('failures before the commit', () => {
  const role = event(chunk({ role: 'assistant' }))
  const error = (status: number | string) =>
    event({ error: { code: status, message: `about ${PROMPT}` } })
  it.each([
    ['an early end', role, { code: 'PROTOCOL', retryable: true }, ProtocolError],
    ['an end with nothing', '', { code: 'PROTOCOL', retryable: true }, ProtocolError],
    ['[DONE] alone', DONE, { code: 'PROTOCOL', retryable: true }, ProtocolError],
    ['an error object', role + error('x'), { code: 'SERVER', retryable: true }, UpstreamError],
    [
      'an error object with a status',
      role + error(429),
      { code: 'RATE_LIMITED', retryable: true },
      RateLimitError,
    ],
    [
      'an error as a text',
      event({ error: 'overloaded', message: 'm' }),
      { code: 'SERVER', retryable: true },
      UpstreamError,
    ],
    [
      'an error event',
      `event: error\ndata: {"message":"${PROMPT}"}\n\n`,
      { code: 'SERVER', retryable: true },
      UpstreamError,
    ],
    [
      'an error event that is no JSON',
      `event: error\ndata: ${PROMPT}\n\n`,
      { code: 'SERVER', retryable: true },
      UpstreamError,
    ],
    [
      'an error beside choices',
      event(chunk({}, 'error', { error: { code: 502, message: 'm' } })),
      { code: 'SERVER' },
      UpstreamError,
    ],
    [
      'bad JSON',
      `${role}data: {"choices":[{"delta"\n\n`,
      { code: 'PROTOCOL', retryable: true },
      ProtocolError,
    ],
    ['a number', event(5), { code: 'PROTOCOL', retryable: true }, ProtocolError],
    ['null', event(null), { code: 'PROTOCOL', retryable: true }, ProtocolError],
    ['a list', event([1]), { code: 'PROTOCOL', retryable: true }, ProtocolError],
    [
      'choices that are no list',
      event({ choices: {} }),
      { code: 'PROTOCOL', retryable: true },
      ProtocolError,
    ],
    [
      'choices that are nothing',
      event({ choices: [null] }),
      { code: 'PROTOCOL', retryable: true },
      ProtocolError,
    ],
  ])('reject the call: %s', async (_name, text, expected, type) => {
    await using server = await streaming(text)
    const blossom = createBlossom({ baseURL: server.url, apiKey: KEY })
    const failed = await failure(blossom.text.stream(PROMPT))
    expect(failed).toBeInstanceOf(type)
    expect(failed).toMatchObject(expected)
    const said = everythingOf(failed)
    for (const secret of [KEY, 'Marmalade', 'SyntaxError']) expect(said).not.toContain(secret)
  })

  it.each([
    ['an error after the role', { errorAfterChunks: 0 }],
    ['an early end after the role', { endAfterChunks: 0 }],
    ['a cut after the role', { cutAfterChunks: 0 }],
    ['a reset after the role', { cutAfterChunks: 0, cutWith: 'rst' }],
    ['garbage after the role', { garbageAfterChunks: 0 }],
    ['a web page', { json: 'html' }],
    ['nothing', { json: 'empty' }],
    ['JSON of another shape', { json: 'shape' }],
    ['a status', { status: 503 }],
  ] as const)('are retried: %s is not yet a success', async (_name, fault: Fault) => {
    await using upstream = await startLocalBlossom()
    upstream.fault({ ...fault, times: 2 })
    const blossom = createBlossom({ baseURL: upstream.url }).use(
      retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0 }),
    )
    const text = await textOf(await blossom.text.stream(PROMPT))
    expect(text).toBe((await blossom.text.generate(PROMPT)).text)
    const [first, ...rest] = upstream.requests.slice(0, 3).map(({ rawBody }) => rawBody)
    expect(rest).toEqual([first, first])
  })

  it('are not retried once content has arrived', async () => {
    for (const fault of [
      { errorAfterChunks: 1 },
      { endAfterChunks: 1 },
      { cutAfterChunks: 1 },
      { garbageAfterChunks: 1 },
    ] as Fault[]) {
      await using upstream = await startLocalBlossom({ chunkDelayMs: 1 })
      upstream.fault(fault)
      const blossom = createBlossom({ baseURL: upstream.url }).use(
        retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0 }),
      )
      const { text, error } = await readText(await blossom.text.stream(PROMPT))
      expect(error).toBeInstanceOf(StreamError)
      expect((error as StreamError).text).toBe(text)
      expect(text).not.toBe('')
      expect(upstream.requests).toHaveLength(1)
    }
  })
})

describe('failures after the commit', () => {
  it.each([
    ['an error object', event({ error: { code: 503, message: PROMPT } }), 'SERVER'],
    ['an error event', `event: error\ndata: {"message":"${PROMPT}"}\n\n`, 'SERVER'],
    [
      'an error beside choices',
      event(chunk({ content: '' }, 'error', { error: { message: PROMPT } })),
      'SERVER',
    ],
    ['bad JSON', 'data: {"choices":[{"delta"\n\n', 'PROTOCOL'],
    ['HTML', 'data: <html>\n\n', 'PROTOCOL'],
    ['a number', event(5), 'PROTOCOL'],
  ])('come through the iterator as STREAM with their cause: %s', async (_name, text, cause) => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(event(chunk({ content: 'Hi' })))
      setTimeout(
        () =>
          response.write(
            text + event(chunk({ content: 'after' })) + event(chunk({}, 'stop')) + DONE,
          ),
        10,
      )
    })
    const blossom = createBlossom({ baseURL: server.url, apiKey: KEY }).use(cache())
    const outcome = await readText(await blossom.text.stream(PROMPT))
    expect(outcome.text).toBe('Hi')
    expect(outcome.error).toBeInstanceOf(StreamError)
    expect(outcome.error).toMatchObject({
      code: 'STREAM',
      retryable: false,
      status: 502,
      text: 'Hi',
      cause: { code: cause },
    })
    expect(everythingOf(outcome.error)).not.toContain('Marmalade')
    expect(blossom.stats().cache.entries).toBe(0)
    await server.idle()
  })

  it('do not include invalid UTF-8, which becomes a replacement character', async () => {
    await using upstream = await startLocalBlossom({ reply: () => 'one two' })
    upstream.fault({ garbageAfterChunks: 1, garbage: 'utf8' })
    expect(await textOf(await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT))).toBe(
      'one\ufffd\ufffd two',
    )
  })

  it('include a stall that lasts until the deadline, even with comments', async () => {
    for (const heartbeatMs of [undefined, 5]) {
      await using upstream = await startLocalBlossom()
      upstream.fault({ stallAfterChunks: 1, ...(heartbeatMs && { heartbeatMs }) })
      const stream = await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT, {
        timeoutMs: 80,
      })
      const { text, error } = await readText(stream)
      expect(text).not.toBe('')
      expect(error).toBeInstanceOf(TimeoutError)
      await upstream.waitFor(({ active }) => active === 0)
    }
  })

  it('include an idle limit, because comments are not tokens', async () => {
    await using upstream = await startLocalBlossom()
    upstream.fault({ stallAfterChunks: 1, heartbeatMs: 5 })
    const blossom = createBlossom({ baseURL: upstream.url }).use(timeout({ ms: 5_000, idleMs: 60 }))
    const { error } = await readText(await blossom.text.stream(PROMPT))
    expect(error).toMatchObject({ code: 'TIMEOUT', phase: 'idle' })
    await upstream.waitFor(({ active }) => active === 0)
  })
})
