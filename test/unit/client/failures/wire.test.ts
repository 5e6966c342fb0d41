import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { type Seen, socketServer } from '../../../support/bare-server.js'
import { PROMPT } from '../../../support/secrets.js'
import { failure } from '../../../support/watch.js'
import { answer } from '../../../support/wire.js'
import {
  clientOf,
  type Expected,
  expectFailure,
  NETWORK,
  OK,
  PROTOCOL,
  TIMEOUT,
} from './expected.js'

/** Bytes on the wire instead of an answer, or a function that sends them. */
interface WireRow {
  readonly name: string
  readonly talk: string | ((socket: Socket, request: Seen) => unknown)
  readonly expected: Expected
  readonly requests: number
  readonly timeoutMs?: number
}

const wireRows: readonly WireRow[] = [
  { name: 'another protocol', talk: 'SSH-2.0-OpenSSH_9.2\r\n', expected: PROTOCOL, requests: 3 },
  {
    name: 'a reset before the head',
    talk: (socket) => socket.resetAndDestroy(),
    expected: NETWORK,
    requests: 3,
  },
  { name: 'an end before the head', talk: '', expected: NETWORK, requests: 3 },
  {
    name: 'a head that is cut off',
    talk: 'HTTP/1.1 200 OK\r\ncontent-le',
    expected: NETWORK,
    requests: 3,
  },
  {
    name: 'a head that comes byte by byte',
    talk(socket) {
      const head = answer('200 OK', OK)
      let at = 0
      const timer = setInterval(() => socket.write(head[at++] ?? ''), 5)
      socket.on('close', () => clearInterval(timer))
    },
    expected: TIMEOUT,
    requests: 1,
    timeoutMs: 120,
  },
  {
    name: 'a header of a megabyte',
    talk: answer('200 OK', OK, `x-big: ${'x'.repeat(2 ** 20)}`),
    expected: { ...PROTOCOL, retryable: false },
    requests: 1,
  },
  {
    name: 'ten thousand headers',
    talk: answer('200 OK', OK, ...Array.from({ length: 10_000 }, (_, i) => `x-header-${i}: ${i}`)),
    expected: { ...PROTOCOL, retryable: false },
    requests: 1,
  },
  {
    name: 'a status line without a status',
    talk: answer('abc OK', OK),
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'a header with a control character',
    talk: answer('200 OK', OK, 'x-bad: a\u0001b'),
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'a header name with a space',
    talk: answer('200 OK', OK, 'bad name: a'),
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'bytes that repeat the request where a header should be',
    talk: (socket, { headers, body }) =>
      socket.end(`HTTP/1.1 200 OK\r\n${headers.authorization} ${body}\r\n\r\n`),
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'a length that is no number',
    talk: `HTTP/1.1 200 OK\r\ncontent-length: banana\r\n\r\n${OK}`,
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'two lengths that differ',
    talk: `HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n${OK}`,
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'a chunk whose size is no number',
    talk: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'an end in the middle of a chunked body',
    talk: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"id":',
    expected: NETWORK,
    requests: 3,
  },
  {
    name: 'an end before the promised length',
    talk: answer('200 OK', OK).slice(0, -20),
    expected: NETWORK,
    requests: 3,
  },
  {
    name: 'a body that the end of its connection cuts off, its length untold',
    talk: `HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${OK.slice(0, -20)}`,
    expected: PROTOCOL,
    requests: 3,
  },
  {
    name: 'a body that comes byte by byte',
    talk(socket) {
      socket.write(
        answer('200 OK', '').replace('content-length: 0', `content-length: ${OK.length}`),
      )
      let at = 0
      const timer = setInterval(() => socket.write(OK[at++] ?? ''), 5)
      socket.on('close', () => clearInterval(timer))
    },
    expected: TIMEOUT,
    requests: 1,
    timeoutMs: 120,
  },
  {
    name: 'a reset in the middle of the body',
    talk: (socket) =>
      socket.write(answer('200 OK', OK).slice(0, -20), () =>
        setTimeout(() => socket.resetAndDestroy(), 5),
      ),
    expected: NETWORK,
    requests: 3,
  },
]

describe('what is on the wire', () => {
  it.each(wireRows)(
    'turns $name into the error $expected.code',
    async ({ talk, expected, requests, timeoutMs }) => {
      await using upstream = await socketServer((socket, request) =>
        typeof talk === 'string' ? socket.end(talk) : talk(socket, request),
      )
      expectFailure(
        await failure(clientOf(upstream.url).text.generate(PROMPT, { timeoutMs })),
        expected,
      )
      expect(upstream.requests).toHaveLength(requests)
      await upstream.idle()
    },
  )

  it('waits for the final answer after informational ones', async () => {
    const early = 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
    await using upstream = await socketServer((socket) =>
      socket.end(early + answer('200 OK', OK, 'x-request-id: real')),
    )
    await expect(clientOf(upstream.url).text.generate(PROMPT)).resolves.toMatchObject({
      text: 'Hello.',
      requestId: 'real',
      attempts: 1,
    })
  })
})
