import type { ServerResponse } from 'node:http'
import { Agent } from 'undici'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { BlossomAnswer, ChatChunk } from '../../../src/client/index.js'
import { clientTraits } from '../../../src/client/traits.js'
import { CallNote } from '../../../src/client/wire/call-note.js'
import { fromChunks } from '../../../src/client/wire/completion-from-chunks.js'
import { Exchange } from '../../../src/client/wire/exchange.js'
import { Outgoing } from '../../../src/client/wire/outgoing.js'
import {
  base,
  type Context,
  cache,
  createBlossom,
  isStream,
  onEnd,
  ProtocolError,
  queue,
  RateLimitError,
  retry,
  type StreamEnd,
  StreamError,
  stack,
  TimeoutError,
  TooLargeError,
  timeout,
  UpstreamError,
} from '../../../src/index.js'
import { type Fault, type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { type BareServer, httpServer, socketServer } from '../../support/bare-server.js'
import { everythingOf, KEY, PROMPT } from '../../support/secrets.js'
import { failure, turn, watch } from '../../support/watch.js'
import { chatEvents, chunk, completion, DONE, event, STREAM_HEAD } from '../../support/wire.js'

const SSE = { 'content-type': 'text/event-stream' }
const messages = [{ role: 'user', content: PROMPT }]

/** A server that sends these bytes as an event stream, cut as they are listed, and ends. */
const streaming = (...pieces: readonly (string | Uint8Array)[]) =>
  httpServer(async (_request, response) => {
    response.writeHead(200, SSE)
    for (const piece of pieces) {
      response.write(piece)
      if (pieces.length > 1) await turn()
    }
    response.end()
  })

async function textOf(stream: AsyncIterable<{ text: string }>): Promise<string> {
  let text = ''
  for await (const piece of stream) text += piece.text
  return text
}

/** What a stream gave, and how it ended. */
async function readAll(
  stream: AsyncIterable<{ text: string }>,
): Promise<{ text: string; error: unknown }> {
  let text = ''
  try {
    for await (const piece of stream) text += piece.text
  } catch (error) {
    return { text, error }
  }
  return { text, error: undefined }
}

describe('well-formed streams', () => {
  const role = event(chunk({ role: 'assistant' }))
  const hello = event(chunk({ content: 'Héllo' }))
  const world = event(chunk({ content: ' wörld 😀' }))
  const end = event(chunk({}, 'stop')) + DONE
  const plain = role + hello + world + end
  const lines = (data: object) =>
    `data: ${JSON.stringify(data, null, 1).replaceAll('\n', '\ndata: ')}\n\n`

  it.each([
    ['plain', plain],
    ['with CRLF', plain.replaceAll('\n', '\r\n')],
    ['with CR', `${plain.replaceAll('\n', '\r')}:\r`],
    [
      'with comments and blank lines',
      `: hi\n\n${role}: ping\n\n\n\n${hello}:\n${world}: bye\n\n${end}`,
    ],
    ['with a byte order mark', `\ufeff${plain}`],
    ['without spaces', plain.replaceAll('data: ', 'data:')],
    ['with events of several lines', role + lines(chunk({ content: 'Héllo' })) + world + end],
    [
      'with names, ids and retry times',
      `retry: 5\nid: 1\nevent: message\n${role}id: 2\n${hello}event: chunk\n${world}${end}`,
    ],
    [
      'with empty events that keep the connection alive',
      `data:\n\n${role}data: \n\n${hello}${world}${end}`,
    ],
    [
      'with pieces of no content',
      role + event(chunk({ content: '' })) + hello + event(chunk({ content: null })) + world + end,
    ],
    [
      'with chunks that have no choices',
      event({ id: 'x', choices: [] }) + role + hello + event({ usage: null }) + world + end,
    ],
    [
      'with the usage last',
      role +
        hello +
        world +
        event(chunk({}, 'stop')) +
        event({ choices: [], usage: { total_tokens: 5 } }) +
        DONE,
    ],
    [
      'with content and finish reason in one',
      role + hello + event(chunk({ content: ' wörld 😀' }, 'stop')) + DONE,
    ],
    [
      'with separators of other kinds inside',
      plain.replace('Héllo', 'Héllo\u2028').replace('\u2028', ''),
    ],
  ])('give the text to the character: %s', async (_name, text) => {
    await using server = await streaming(text)
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      'Héllo wörld 😀',
    )
  })

  it('give the text to the character wherever they are cut', async () => {
    const bytes = Buffer.from(role + hello + world + end)
    const at = bytes.indexOf(Buffer.from('wörld'))
    for (const size of [1, 2, 3, 7, at + 2]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      )
      await using server = await streaming(...pieces)
      expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
        'Héllo wörld 😀',
      )
    }
  })

  it('give the text however the local upstream splits its writes', async () => {
    await using upstream = await startLocalBlossom({
      reply: () => 'Ünïcödé 😀 text, cut anywhere.',
    })
    for (const splitBytes of [1, 5, 64]) {
      upstream.fault({ splitBytes })
      expect(await textOf(await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT))).toBe(
        'Ünïcödé 😀 text, cut anywhere.',
      )
    }
  })

  it('may be one very large chunk', async () => {
    const large = 'x'.repeat(4 * 2 ** 20)
    await using server = await streaming(chatEvents(large))
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      large,
    )
  })

  it('hold back what comes before the first content, and deliver it first', async () => {
    // More than may wait for a reader who has come.
    const held = Array.from({ length: 40 }, () => role)
    await using server = await streaming(...held, hello, end)
    const stream = await createBlossom({ baseURL: server.url }).chat.stream(
      { messages },
      { timeoutMs: 3_000 },
    )
    const chunks: ChatChunk[] = []
    for await (const one of stream) chunks.push(one)
    expect(chunks).toHaveLength(42)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant' })
  })

  it('begin after 64 chunks without content: more are not held back', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE)
      for (let i = 0; i < 70; i++) response.write(role)
    })
    const stream = await createBlossom({ baseURL: server.url }).chat.stream(
      { messages },
      { timeoutMs: 3_000 },
    )
    for (let i = 0; i < 70; i++) expect((await stream.next()).done).toBe(false)
    await stream.return(undefined)
    await server.idle()
  })

  it.each([
    [{ reasoning_content: 'Hm' }, ''],
    [{ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '' } }] }, ''],
    [{ refusal: 'No.' }, ''],
    [{ audio: { id: 'a' } }, ''],
    [{ content: 'Hi' }, 'Hi'],
  ])('begin with %j', async (delta, text) => {
    let ended = () => {}
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(role + event(chunk(delta)))
      ended = () => response.end(end)
    })
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    ended()
    expect(await textOf(stream)).toBe(text)
    expect(stream.finishReason).toBe('stop')
  })
})

describe('the end of a stream', () => {
  /** How the base's own stream ended, and what it gave. */
  async function endOf(
    server: BareServer,
  ): Promise<{ end: StreamEnd | undefined; text: string; error: unknown }> {
    let end: StreamEnd | undefined
    const watchEnd =
      (next: (request: never, context: never) => Promise<unknown>) =>
      async (request: never, context: never) =>
        onEnd(await next(request, context), (ended) => {
          end = ended
        })
    const blossom = createBlossom({ baseURL: server.url, apiKey: KEY }).use(watchEnd as never)
    const outcome = await readAll(await blossom.text.stream(PROMPT))
    return { ...outcome, end }
  }

  it('with [DONE] may be cached', async () => {
    await using server = await streaming(chatEvents('Hi'))
    expect(await endOf(server)).toEqual({
      end: { outcome: 'complete', cacheable: true },
      text: 'Hi',
      error: undefined,
    })
  })

  it('with a finish reason alone is a success that is not cached', async () => {
    await using server = await streaming(event(chunk({ content: 'Hi' })), event(chunk({}, 'stop')))
    expect(await endOf(server)).toEqual({
      end: { outcome: 'complete', cacheable: false },
      text: 'Hi',
      error: undefined,
    })
    const blossom = createBlossom({ baseURL: server.url }).use(cache())
    for (let i = 0; i < 2; i++) expect(await textOf(await blossom.text.stream(PROMPT))).toBe('Hi')
    expect(server.requests).toHaveLength(3)
    expect(blossom.stats().cache).toMatchObject({ hits: 0, entries: 0 })
  })

  it('without a finish reason is a failure, with [DONE] too', async () => {
    for (const last of ['', DONE]) {
      await using server = await streaming(event(chunk({ content: 'Hi' })), last)
      const { text, error, end } = await endOf(server)
      expect(text).toBe('Hi')
      expect(error).toBeInstanceOf(StreamError)
      expect(error).toMatchObject({
        code: 'STREAM',
        retryable: false,
        text: 'Hi',
        cause: { code: 'PROTOCOL' },
      })
      expect((error as StreamError).chunks).toHaveLength(1)
      expect(end?.outcome).toBe('failed')
    }
  })

  it('does not deliver half an event', async () => {
    await using server = await streaming(
      event(chunk({ content: 'Hi' })),
      event(chunk({ content: 'Secret half' })).slice(0, -2),
    )
    expect(await endOf(server)).toMatchObject({ text: 'Hi', error: { code: 'STREAM', text: 'Hi' } })
  })

  it('carries text, chunks and usage so far in its error, and prints none of them', async () => {
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    await using server = await streaming(
      event(chunk({ content: `${PROMPT} one` }, null, { usage })),
      event(chunk({ content: ' two' })),
    )
    const { error } = await endOf(server)
    expect(error).toMatchObject({ text: `${PROMPT} one two`, usage })
    expect((error as StreamError).chunks).toHaveLength(2)
    expect(everythingOf(error)).not.toContain('Marmalade')
  })

  it.each(['fin', 'rst'] as const)(
    'by a %s in mid-stream comes after what was delivered',
    async (how) => {
      await using server = await socketServer((socket) => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n`,
        )
        const text = event(chunk({ content: 'Hi' }))
        socket.write(`${text.length.toString(16)}\r\n${text}\r\n`, () =>
          setTimeout(() => (how === 'fin' ? socket.end() : socket.resetAndDestroy()), 20),
        )
      })
      const { text, error } = await endOf(server)
      expect(text).toBe('Hi')
      expect(error).toMatchObject({
        code: 'STREAM',
        retryable: false,
        text: 'Hi',
        cause: { code: 'NETWORK' },
      })
      await server.idle()
    },
  )

  it('comes within 100 ms of [DONE] although the connection stays open, which is cut; ghosts are not heard', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(chatEvents('Hi') + event(chunk({ content: 'GHOST' })))
      const timer = setInterval(() => response.write(event(chunk({ content: 'GHOST' }))), 10)
      response.once('close', () => clearInterval(timer))
    })
    const blossom = createBlossom({ baseURL: server.url }).use(queue({ concurrency: 1 }))
    const stream = await blossom.text.stream(PROMPT)
    const before = performance.now()
    expect(await textOf(stream)).toBe('Hi')
    expect(performance.now() - before).toBeLessThan(100)
    expect(blossom.stats().queue.running).toBe(0)
    await server.idle()
  })

  it('leaves the connection to the next call when it is proper', async () => {
    await using server = await streaming(chatEvents('Hi'))
    const blossom = createBlossom({ baseURL: server.url })
    for (let i = 0; i < 3; i++) {
      expect(await textOf(await blossom.text.stream(PROMPT))).toBe('Hi')
      await turn()
    }
    expect(server.connections).toBe(1)
  })

  it('is told once to those who ask again', async () => {
    await using server = await streaming(event(chunk({ content: 'Hi' })))
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    await stream.next()
    expect(await failure(stream.next())).toBeInstanceOf(StreamError)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })
})

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
  ] as const)('are tried again: %s is no success yet', async (_name, fault: Fault) => {
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

  it('are not tried again once content has come', async () => {
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
      const { text, error } = await readAll(await blossom.text.stream(PROMPT))
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
    const outcome = await readAll(await blossom.text.stream(PROMPT))
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

  it('are none for bytes that are no UTF-8: a replacement character stands for them', async () => {
    await using upstream = await startLocalBlossom({ reply: () => 'one two' })
    upstream.fault({ garbageAfterChunks: 1, garbage: 'utf8' })
    expect(await textOf(await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT))).toBe(
      'one\ufffd\ufffd two',
    )
  })

  it('let the deadline end a stream that stalls, comments or not', async () => {
    for (const heartbeatMs of [undefined, 5]) {
      await using upstream = await startLocalBlossom()
      upstream.fault({ stallAfterChunks: 1, ...(heartbeatMs && { heartbeatMs }) })
      const stream = await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT, {
        timeoutMs: 80,
      })
      const { text, error } = await readAll(stream)
      expect(text).not.toBe('')
      expect(error).toBeInstanceOf(TimeoutError)
      await upstream.waitFor(({ active }) => active === 0)
    }
  })

  it('let an idle limit end it: comments are no tokens', async () => {
    await using upstream = await startLocalBlossom()
    upstream.fault({ stallAfterChunks: 1, heartbeatMs: 5 })
    const blossom = createBlossom({ baseURL: upstream.url }).use(timeout({ ms: 5_000, idleMs: 60 }))
    const { error } = await readAll(await blossom.text.stream(PROMPT))
    expect(error).toMatchObject({ code: 'TIMEOUT', phase: 'idle' })
    await upstream.waitFor(({ active }) => active === 0)
  })
})

describe('sizes', () => {
  it.each([
    ['an endless line', 'data: {"choices":[{"delta":{"content":"', 'x'],
    ['an event of endless lines', 'data: x\n', 'data: x\n'],
    ['an endless comment', ':', ':'],
  ])('refuse %s, and memory stays where it was', async (_name, start, part) => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(start)
      const block = part.repeat(65_536 / part.length)
      const send = () => {
        while (!response.destroyed)
          if (!response.write(block)) return void response.once('drain', send)
      }
      send()
    })
    const before = process.memoryUsage().rss
    const error = await failure(
      createBlossom({ baseURL: server.url, apiKey: KEY }).text.stream(PROMPT),
    )
    expect(error).toBeInstanceOf(TooLargeError)
    expect(error).toMatchObject({ code: 'TOO_LARGE', status: 502, retryable: false })
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * 2 ** 20)
    await server.idle()
  })

  it('refuse a line of 64 MB after the commit without calling it broken', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(event(chunk({ content: 'Hi' })))
      response.write('data: ')
      const block = 'x'.repeat(2 ** 20)
      let sent = 0
      const send = () => {
        while (!response.destroyed && sent++ < 64)
          if (!response.write(block)) return void response.once('drain', send)
      }
      send()
    })
    const { text, error } = await readAll(
      await createBlossom({ baseURL: server.url }).text.stream(PROMPT),
    )
    expect(text).toBe('Hi')
    expect(error).toMatchObject({ code: 'TOO_LARGE', retryable: false })
    await server.idle()
  })

  it('of one event go by maxResponseBytes where that is less', async () => {
    await using server = await streaming(chatEvents('x'.repeat(100_000)))
    const error = await failure(
      createBlossom({ baseURL: server.url, maxResponseBytes: 50_000 }).text.stream(PROMPT),
    )
    expect(error).toBeInstanceOf(TooLargeError)
  })

  it('do not limit how much comes in all', async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `${i} ${'x'.repeat(1_000)}`)
    await using server = await streaming(chatEvents(...texts))
    const blossom = createBlossom({ baseURL: server.url, maxResponseBytes: 50_000 })
    expect(await textOf(await blossom.text.stream(PROMPT))).toBe(texts.join(''))
  })

  it('stall the server when the reader is slow, and go on when he reads', async () => {
    const block = event(chunk({ content: 'x'.repeat(4_000) }))
    let sent = 0
    let stalled = () => {}
    const stalling = new Promise<void>((resolve) => {
      stalled = resolve
    })
    await using server = await httpServer((_request, response: ServerResponse) => {
      response.writeHead(200, SSE)
      const total = 64 * 2 ** 20
      const send = () => {
        while (!response.destroyed && sent < total) {
          sent += block.length
          if (!response.write(block)) {
            const timer = setTimeout(stalled, 150)
            response.once('drain', () => {
              clearTimeout(timer)
              send()
            })
            return
          }
        }
        response.end(event(chunk({}, 'stop')) + DONE)
      }
      send()
    })
    const before = process.memoryUsage().rss
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    await stream.next()
    await stalling
    const held = sent
    // What the kernel keeps for the two sockets is most of it.
    expect(held).toBeLessThan(24 * 2 ** 20)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    let read = 0
    while (read < held + 2 ** 20) read += (await stream.next()).value?.text.length ?? 0
    expect(sent).toBeGreaterThan(held)
    await stream.return(undefined)
    await server.idle()
  }, 20_000)
})

describe('other answers where a stream is due', () => {
  it('are taken when they are a whole completion in JSON', async () => {
    const whole = completion('Hello.', { tool_calls: null, reasoning_content: 'Hm' })
    await using server = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(whole)),
    )
    const blossom = createBlossom({ baseURL: server.url })
    const stream = await blossom.text.stream(PROMPT)
    expect(await textOf(stream)).toBe('Hello.')
    expect([stream.finishReason, stream.usage?.totalTokens]).toEqual(['stop', 3])
  })

  it.each([
    ['an error in JSON', 'application/json', '{"error":{"message":"x"}}', 'SERVER'],
    ['JSON of another shape', 'application/json', '{"a":1}', 'PROTOCOL'],
    ['broken JSON', 'application/json', '{"a"', 'PROTOCOL'],
    ['a web page', 'text/html', '<html></html>', 'PROTOCOL'],
    ['plain text', 'text/plain', 'Hello there', 'PROTOCOL'],
    ['a picture', 'image/png', '\u0089PNG', 'PROTOCOL'],
  ])('are refused when they are %s', async (_name, type, body, code) => {
    await using server = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': type }).end(body),
    )
    expect(await failure(createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toMatchObject(
      { code, retryable: true },
    )
  })

  it.each(['', 'text/plain', 'application/octet-stream'])(
    'are read as events under the label "%s"',
    async (type) => {
      await using server = await httpServer((_request, response) =>
        response.writeHead(200, type === '' ? {} : { 'content-type': type }).end(chatEvents('Hi')),
      )
      expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
        'Hi',
      )
    },
  )

  it('with a field named __proto__ pollute nothing', async () => {
    const evil =
      '{"__proto__":{"polluted":1},"choices":[{"index":0,"delta":{"content":"Hi","__proto__":{"polluted":2}}}]}'
    const tool =
      '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":"__proto__","function":{"arguments":"x"}}]}}]}'
    const index = '{"choices":[{"index":"__proto__","delta":{"polluted":true}}]}'
    await using server = await streaming(
      `data: ${evil}\n\ndata: ${tool}\n\ndata: ${index}\n\n${event(chunk({}, 'stop'))}${DONE}`,
    )
    const blossom = createBlossom({ baseURL: server.url }).use(cache())
    const chunks: unknown[] = []
    for await (const one of await blossom.chat.stream({ messages })) chunks.push(one)
    fromChunks(chunks)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(Object.hasOwn(chunks[0] as object, '__proto__')).toBe(false)
    expect(Object.getPrototypeOf(chunks[0])).toBe(Object.prototype)
  })
})

describe('a reader who leaves', () => {
  let upstream: LocalBlossom
  beforeEach(async () => {
    upstream = await startLocalBlossom({ chunkDelayMs: 5, words: 500 })
  })
  afterEach(() => upstream.close())
  const client = () => createBlossom({ baseURL: upstream.url }).use(queue({ concurrency: 1 }))

  const ways: Record<
    string,
    (stream: AsyncGenerator<{ text: string }>, controller: AbortController) => Promise<unknown>
  > = {
    break: async (stream) => {
      for await (const _ of stream) break
    },
    'return()': async (stream) => {
      await stream.next()
      await stream.return(undefined)
    },
    'return() before the first next()': (stream) => stream.return(undefined),
    'return() while a next() waits': async (stream) => {
      await stream.next()
      const waiting = [stream.next(), stream.next(), stream.next(), stream.next()]
      await stream.return(undefined)
      await Promise.all(waiting)
    },
    'throw()': async (stream) => {
      await stream.next()
      await failure(stream.throw(new Error('on purpose')))
    },
    'an error in the loop': (stream) =>
      failure(
        (async () => {
          for await (const _ of stream) throw new Error('on purpose')
        })(),
      ),
    'the signal': async (stream, controller) => {
      await stream.next()
      const reason = new Error('on purpose')
      controller.abort(reason)
      expect(await failure(textOf(stream))).toBe(reason)
    },
  }
  it.each(Object.keys(ways))('by %s stops upstream, and the slot comes back', async (way) => {
    const blossom = client()
    const controller = new AbortController()
    const stream = await blossom.text.stream(PROMPT, { signal: controller.signal })
    const before = performance.now()
    await (ways[way] as (typeof ways)[string])(stream, controller)
    await upstream.waitFor(({ active }) => active === 0)
    expect(performance.now() - before).toBeLessThan(500)
    expect(upstream.requests[0]).toMatchObject({ outcome: 'aborted' })
    expect(blossom.stats().queue.running).toBe(0)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    await expect(blossom.text.generate(PROMPT)).resolves.toMatchObject({ attempts: 1 })
  })

  it('before the first token stops upstream with the reason of his signal', async () => {
    upstream.fault({ stallAfterChunks: 0 })
    const controller = new AbortController()
    const stream = watch(client().text.stream(PROMPT, { signal: controller.signal }))
    await upstream.waitFor(({ requests }) => requests[0]?.chunksSent === 1)
    controller.abort('a word')
    await upstream.waitFor(({ active }) => active === 0)
    expect(stream).toMatchObject({ state: 'rejected', error: 'a word' })
  })

  it('leaves no listener on a signal that lives long', async () => {
    const { signal } = new AbortController()
    const add = vi.spyOn(signal, 'addEventListener')
    const remove = vi.spyOn(signal, 'removeEventListener')
    const blossom = client()
    for await (const _ of await blossom.text.stream(PROMPT, { signal })) break
    await blossom.text.generate(PROMPT, { signal })
    expect(add.mock.calls.length).toBe(remove.mock.calls.length)
  })
})

describe('a stream that nobody reads', () => {
  it('ends with TIMEOUT, phase read, and upstream is stopped', async () => {
    await using upstream = await startLocalBlossom({ chunkDelayMs: 5, words: 500 })
    const agent = new Agent()
    const ask = stack(
      base(
        (request: Outgoing, context: Context): Promise<BlossomAnswer> => {
          const exchange = new Exchange(
            request,
            context,
            { maxResponseBytes: 2 ** 20, apiKey: undefined, notices: 'error' },
            new CallNote(),
          )
          const headers = ['content-type', 'application/json']
          agent.dispatch(
            {
              origin: upstream.url,
              path: request.path,
              method: 'POST',
              headers,
              body: request.payload ?? null,
            },
            exchange,
          )
          return exchange.answer
        },
        { ...clientTraits('somebody'), unreadMs: 40 },
      ),
    )
    const stream = await ask(
      new Outgoing('POST', '/v1/chat/completions', { messages, stream: true }, 'json'),
    )
    if (!isStream(stream)) throw new Error('Expected a stream.')
    await upstream.waitFor(({ active }) => active === 0)
    const error = await failure(stream[Symbol.asyncIterator]().next())
    expect(error).toMatchObject({ code: 'TIMEOUT', phase: 'read', ms: 40, retryable: false })
    await agent.close()
  })

  it('is given 30 s by the client', async () => {
    await using upstream = await startLocalBlossom({ words: 500 })
    upstream.fault({ stallAfterChunks: 1 })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const blossom = createBlossom({ baseURL: upstream.url }).use(queue({ concurrency: 1 }))
      const stream = await blossom.text.stream(PROMPT)
      await vi.advanceTimersByTimeAsync(29_900)
      expect(blossom.stats().queue.running).toBe(1)
      await vi.advanceTimersByTimeAsync(200)
      expect(blossom.stats().queue.running).toBe(0)
      expect(await failure(stream.next())).toMatchObject({
        code: 'TIMEOUT',
        phase: 'read',
        ms: 30_000,
      })
      await upstream.waitFor(({ active }) => active === 0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('a connection that is closed by its end', () => {
  it('ends a stream in due form', async () => {
    await using server = await socketServer((socket) => socket.end(STREAM_HEAD + chatEvents('Hi')))
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      'Hi',
    )
  })
})
