import { describe, expect, it } from 'vitest'
import {
  cache,
  createBlossom,
  onEnd,
  queue,
  type StreamEnd,
  StreamError,
} from '../../../../src/index.js'
import { type BareServer, httpServer, socketServer } from '../../../support/bare-server.js'
import { everythingOf, KEY, PROMPT } from '../../../support/secrets.js'
import { readText, textOf } from '../../../support/text-streams.js'
import { failure, turn } from '../../../support/watch.js'
import { chatEvents, chunk, DONE, event, STREAM_HEAD } from '../../../support/wire.js'
import { SSE, streaming } from './streaming.js'

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
    const outcome = await readText(await blossom.text.stream(PROMPT))
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

  it('carries the partial text, chunks and usage in its error, and prints none of them', async () => {
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
    'by a %s in mid-stream comes after the delivered text',
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

  it('comes within 100 ms of [DONE] on a connection left open, which is cut, and later chunks are ignored', async () => {
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

  it('leaves a clean connection for the next call to reuse', async () => {
    await using server = await streaming(chatEvents('Hi'))
    const blossom = createBlossom({ baseURL: server.url })
    for (let i = 0; i < 3; i++) {
      expect(await textOf(await blossom.text.stream(PROMPT))).toBe('Hi')
      await turn()
    }
    expect(server.connections).toBe(1)
  })

  it('reports a failure only once', async () => {
    await using server = await streaming(event(chunk({ content: 'Hi' })))
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    await stream.next()
    expect(await failure(stream.next())).toBeInstanceOf(StreamError)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })
})

describe('a connection that closes to mark its end', () => {
  it('ends a stream properly', async () => {
    await using server = await socketServer((socket) => socket.end(STREAM_HEAD + chatEvents('Hi')))
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      'Hi',
    )
  })
})
