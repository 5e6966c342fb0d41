import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { Agent } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  AuthenticationError,
  BlossomError,
  type BlossomOptions,
  createBlossom,
  type ErrorCode,
  InvalidRequestError,
  NetworkError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  ProtocolError,
  RateLimitError,
  retry,
  StackError,
  TimeoutError,
  TooLargeError,
  UpstreamError,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import {
  type BareServer,
  closedPort,
  httpServer,
  type Seen,
  socketServer,
} from '../../support/bare-server.js'
import { everythingOf, KEY, PROMPT } from '../../support/secrets.js'
import { failure } from '../../support/watch.js'
import { answer, completion } from '../../support/wire.js'

/** Made for this test alone: it vouches for nothing. */
const SELF_SIGNED_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1obsPHhammrgjeax
GuBuHelIJ+q7blanWxeSrGIxzkmhRANCAASyXCppWmMXA4VFcmkVTeGqcnRkXZ6X
BmDEYubxRUrMaCcnz/tAXGPvEH1RuVS1H69gO00+PUezSH5Px/LUAQZC
-----END PRIVATE KEY-----`
const SELF_SIGNED_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUCzk4d3tIElm0yYrKqlnhwmM1MuUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNDE0NDQxOFoYDzIxMjYxMDMx
MTQ0NDE4WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASyXCppWmMXA4VFcmkVTeGqcnRkXZ6XBmDEYubxRUrMaCcnz/tAXGPv
EH1RuVS1H69gO00+PUezSH5Px/LUAQZCo1MwUTAdBgNVHQ4EFgQU2QA9ST/4ngMw
pPtsy6zC27zbdwEwHwYDVR0jBBgwFoAU2QA9ST/4ngMwpPtsy6zC27zbdwEwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA+kH4CqxZ1ZDKgBj/axit
QE1uNv6bSWpT+DO81lY8818CIQDlMmJFh+X/mTFjHpcdrotwmHclOiXKcUNOBNfE
dBTtRQ==
-----END CERTIFICATE-----`

type Class = abstract new (...args: never[]) => StackError

/** What a call over an upstream must come to. */
interface Expected {
  readonly code: ErrorCode
  readonly class: Class
  readonly status?: number
  readonly retryable: boolean
}

const NETWORK: Expected = { code: 'NETWORK', class: NetworkError, status: 502, retryable: true }
const PROTOCOL: Expected = { code: 'PROTOCOL', class: ProtocolError, status: 502, retryable: true }
const TIMEOUT: Expected = { code: 'TIMEOUT', class: TimeoutError, status: 504, retryable: true }
const TOO_LARGE: Expected = {
  code: 'TOO_LARGE',
  class: TooLargeError,
  status: 502,
  retryable: false,
}

const again = () => retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0, budget: false })

/** The client under test: it tries three times where that is right. */
const clientOf = (baseURL: string, options: Omit<BlossomOptions, 'layers'> = {}) =>
  createBlossom({ baseURL, apiKey: KEY, ...options }).use(again())

function expectFailure(error: unknown, expected: Expected): asserts error is StackError {
  expect(error).toBeInstanceOf(expected.class)
  expect(error).toBeInstanceOf(StackError)
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({
    code: expected.code,
    retryable: expected.retryable,
    refused: false,
  })
  if (expected.status !== undefined) expect((error as StackError).status).toBe(expected.status)
  expectSilence(error)
}

/** Neither the key nor the prompt, nor what a library says when it was not prepared. */
function expectSilence(error: unknown): void {
  const said = everythingOf(error)
  for (const secret of [KEY, PROMPT, 'Marmalade', 'Cannot read properties'])
    expect(said).not.toContain(secret)
}

describe('connecting', () => {
  it('tries a refused connection as often as configured', async () => {
    const blossom = clientOf(`http://127.0.0.1:${await closedPort()}`)
    const error = await failure(blossom.text.generate(PROMPT))
    expectFailure(error, NETWORK)
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' })
    expect(blossom.stats().retry).toEqual({ retries: 2, exhausted: 1, refused: 0 })
  })

  it('keeps the deadline while a connection never completes', async () => {
    const dispatcher = new Agent({ connect: () => {} })
    const blossom = clientOf('http://127.0.0.1:9', { dispatcher })
    const before = performance.now()
    expectFailure(await failure(blossom.text.generate(PROMPT, { timeoutMs: 80 })), TIMEOUT)
    expect(performance.now() - before).toBeLessThan(500)
    dispatcher.destroy().catch(() => {})
  })

  it('does not repeat a call whose server shows a certificate nobody vouches for, and sends it nothing', async () => {
    let heard = 0
    const server = createSecureServer(
      { key: SELF_SIGNED_KEY, cert: SELF_SIGNED_CERTIFICATE },
      () => heard++,
    )
    let connections = 0
    server.on('connection', () => connections++)
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const blossom = clientOf(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const error = await failure(blossom.text.generate(PROMPT))
    expectFailure(error, { ...NETWORK, retryable: false })
    expect(error.cause).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    expect({ heard, connections }).toEqual({ heard: 0, connections: 1 })
    server.close()
  })

  it('fails over TLS against a port that speaks plain HTTP, without falling back to it', async () => {
    await using upstream = await httpServer((_request, response) => response.end())
    const error = await failure(
      clientOf(upstream.url.replace('http:', 'https:')).text.generate(PROMPT),
    )
    expectFailure(error, NETWORK)
    expect(upstream.requests).toHaveLength(0)
  })

  it.each(['ENOTFOUND', 'EAI_AGAIN'])(
    'tries again when the name cannot be resolved (%s)',
    async (code) => {
      let lookups = 0
      const lookup = (host: string, _options: unknown, done: (error: Error) => void) => {
        lookups++
        done(
          Object.assign(new Error(`getaddrinfo ${code} ${host}`), {
            code,
            syscall: 'getaddrinfo',
            hostname: host,
          }),
        )
      }
      const dispatcher = new Agent({ connect: { lookup: lookup as never } })
      const error = await failure(
        clientOf('http://nowhere.example', { dispatcher }).text.generate(PROMPT),
      )
      expectFailure(error, NETWORK)
      expect(error.cause).toMatchObject({ code })
      expect(lookups).toBe(3)
      await dispatcher.destroy()
    },
  )

  it('tries again when the server resets each connection it accepts', async () => {
    await using upstream = await socketServer(
      () => {},
      (socket) => socket.resetAndDestroy(),
    )
    expectFailure(await failure(clientOf(upstream.url).text.generate(PROMPT)), NETWORK)
    expect(upstream.connections).toBe(3)
  })

  it('closes the connection to a server that never speaks, at the deadline', async () => {
    await using upstream = await socketServer(() => {})
    const before = performance.now()
    const error = await failure(clientOf(upstream.url).text.generate(PROMPT, { timeoutMs: 80 }))
    expectFailure(error, TIMEOUT)
    expect(error).toMatchObject({ phase: 'total', ms: 80 })
    expect(performance.now() - before).toBeLessThan(500)
    expect(upstream.requests).toHaveLength(1)
    await upstream.idle()
  })

  it('goes back to answers when an upstream has restarted', async () => {
    const answerAll = (_request: Seen, response: ServerResponse) =>
      response.end(JSON.stringify(completion()))
    const before = await httpServer(answerAll)
    const blossom = clientOf(before.url)
    await blossom.text.generate(PROMPT)
    await before[Symbol.asyncDispose]()
    expectFailure(await failure(blossom.text.generate(PROMPT)), NETWORK)
    await using after = await httpServer(answerAll, before.port)
    const results = await Promise.all(
      Array.from({ length: 10 }, () => blossom.text.generate(PROMPT)),
    )
    expect(results.every(({ text }) => text === 'Hello.')).toBe(true)
    expect(after.requests).toHaveLength(10)
  })
})

/** Bytes on the wire instead of an answer, or a function that sends them. */
interface WireRow {
  readonly name: string
  readonly talk: string | ((socket: Socket, request: Seen) => unknown)
  readonly expected: Expected
  readonly requests: number
  readonly timeoutMs?: number
}

const OK = JSON.stringify(completion())
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
    'makes of $name the error $expected.code',
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

  it('waits for the real answer behind informational ones', async () => {
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

/** The table of statuses: what each becomes, and whether it is asked again. */
const statuses: readonly (Expected & { readonly upstream: number })[] = [
  { upstream: 400, code: 'BAD_REQUEST', class: InvalidRequestError, status: 400, retryable: false },
  { upstream: 401, code: 'AUTH', class: AuthenticationError, status: 502, retryable: false },
  { upstream: 402, code: 'PAYMENT', class: PaymentRequiredError, status: 503, retryable: false },
  { upstream: 403, code: 'FORBIDDEN', class: PermissionError, status: 502, retryable: false },
  { upstream: 404, code: 'NOT_FOUND', class: NotFoundError, status: 404, retryable: false },
  { upstream: 408, code: 'TIMEOUT', class: UpstreamError, status: 504, retryable: true },
  { upstream: 409, code: 'SERVER', class: UpstreamError, status: 502, retryable: true },
  { upstream: 413, code: 'BAD_REQUEST', class: InvalidRequestError, status: 400, retryable: false },
  { upstream: 418, code: 'BAD_REQUEST', class: InvalidRequestError, status: 400, retryable: false },
  { upstream: 422, code: 'BAD_REQUEST', class: InvalidRequestError, status: 422, retryable: false },
  { upstream: 429, code: 'RATE_LIMITED', class: RateLimitError, status: 429, retryable: true },
  { upstream: 500, code: 'SERVER', class: UpstreamError, status: 502, retryable: true },
  { upstream: 502, code: 'SERVER', class: UpstreamError, status: 502, retryable: true },
  { upstream: 503, code: 'SERVER', class: UpstreamError, status: 503, retryable: true },
  { upstream: 504, code: 'SERVER', class: UpstreamError, status: 504, retryable: true },
  ...[520, 521, 522, 523, 524, 599].map(
    (upstream) =>
      ({ upstream, code: 'SERVER', class: UpstreamError, status: 502, retryable: true }) as const,
  ),
]
const shapes = {
  blossom: (status: number) => ({
    type: 'application/json',
    body: JSON.stringify({ status, success: false, error: errorOf('CODE_1') }),
  }),
  openai: () => ({
    type: 'application/json',
    body: JSON.stringify({ error: { ...errorOf('code_1'), type: 'server_error' } }),
  }),
  plain: () => ({
    type: 'application/json',
    body: JSON.stringify({ error: 'Rate limit exceeded', message: `about ${PROMPT}` }),
  }),
  html: () => ({ type: 'text/html', body: `<!DOCTYPE html><title>${PROMPT}</title>` }),
  empty: () => ({ type: 'text/plain', body: '' }),
  truncated: () => ({ type: 'application/json', body: `{"error":{"message":"${PROMPT}` }),
  'a list': () => ({ type: 'application/json', body: JSON.stringify([PROMPT]) }),
  'a word': () => ({ type: 'application/json', body: JSON.stringify('error') }),
  null: () => ({ type: 'application/json', body: 'null' }),
  'the prompt as its code': () => ({
    type: 'application/json',
    body: JSON.stringify({ error: PROMPT }),
  }),
  polluted: () => ({
    type: 'application/json',
    body: '{"__proto__":{"polluted":1},"error":{"__proto__":{"polluted":1},"message":"m"}}',
  }),
} satisfies Record<string, (status: number) => { type: string; body: string }>

function errorOf(code: string) {
  return {
    code,
    message: `Something about ${PROMPT} and Bearer ${KEY}`,
    details: { prompt: PROMPT },
    requestId: 'req-in-the-body',
  }
}

describe('statuses', () => {
  let upstream: BareServer
  let blossom: ReturnType<typeof clientOf>
  let said: { status: number; type: string; body: string; headers?: Record<string, string> }
  beforeAll(async () => {
    upstream = await httpServer((_request, response) => {
      response.writeHead(said.status, { 'content-type': said.type, ...said.headers }).end(said.body)
    })
    blossom = clientOf(upstream.url)
  })
  afterAll(async () => {
    await blossom.close()
    await upstream[Symbol.asyncDispose]()
  })

  const ask = async () => {
    const before = upstream.requests.length
    const error = await failure(blossom.text.generate(PROMPT))
    return { error, requests: upstream.requests.slice(before) }
  }

  describe.each(statuses)('$upstream', (expected) => {
    it.each(Object.keys(shapes) as (keyof typeof shapes)[])(
      `is ${expected.code} with a body of the form: %s`,
      async (shape) => {
        said = {
          status: expected.upstream,
          ...shapes[shape](expected.upstream),
          headers: { 'x-request-id': 'req-42' },
        }
        const { error, requests } = await ask()
        expectFailure(error, expected)
        expect(error).toBeInstanceOf(BlossomError)
        expect(error).toMatchObject({
          upstreamStatus: expected.upstream,
          requestId: 'req-42',
          retryAfter: undefined,
        })
        expect(requests).toHaveLength(expected.retryable ? 3 : 1)
        expect(new Set(requests.map(({ body }) => body)).size).toBe(1)
        expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
      },
    )
  })

  it('takes code and request id from the body where the headers have none', async () => {
    said = { status: 400, ...shapes.blossom(400) }
    expect((await ask()).error).toMatchObject({
      upstreamCode: 'CODE_1',
      requestId: 'req-in-the-body',
    })
  })

  it('keeps what upstream said out of sight, with keys blotted out', async () => {
    said = { status: 400, ...shapes.blossom(400) }
    const error = (await ask()).error as BlossomError
    expect(error.upstreamMessage).toBe(`Something about ${PROMPT} and Bearer [key]`)
    expect(Object.keys(error)).not.toContain('upstreamMessage')
  })

  it('keeps of the headers only those that are safe and of use', async () => {
    const headers = {
      'x-request-id': 'a',
      'retry-after': '7',
      'set-cookie': 'secret=1',
      'x-internal': 'host',
      'ratelimit-policy': '10;w=1',
    }
    said = { status: 400, ...shapes.empty(), headers }
    expect((await ask()).error).toMatchObject({
      headers: { 'x-request-id': 'a', 'retry-after': '7', 'ratelimit-policy': '10;w=1' },
    })
    expect(Object.keys(((await ask()).error as BlossomError).headers)).toHaveLength(3)
  })

  it('says what to do about a missing key', async () => {
    said = { status: 401, ...shapes.empty() }
    await using keyless = createBlossom({ baseURL: upstream.url })
    await expect(keyless.text.generate(PROMPT)).rejects.toThrow(
      'no API key was given; pass `apiKey`',
    )
    await expect(blossom.text.generate(PROMPT)).rejects.toThrow('the API key is not accepted')
  })

  it.each([204, 205])('takes a %i where JSON is due for no answer', async (status) => {
    said = { status, ...shapes.empty() }
    expectFailure((await ask()).error, PROTOCOL)
  })

  it('makes an error inside a JSON answer of 200 an error, by the status it tells', async () => {
    said = {
      status: 200,
      type: 'application/json',
      body: JSON.stringify({ error: { code: 429, message: PROMPT } }),
    }
    expectFailure((await ask()).error, {
      code: 'RATE_LIMITED',
      class: RateLimitError,
      status: 429,
      retryable: true,
    })
    said = {
      status: 200,
      type: 'application/json',
      body: JSON.stringify({ error: 'failed', message: PROMPT }),
    }
    expectFailure((await ask()).error, {
      code: 'SERVER',
      class: UpstreamError,
      status: 502,
      retryable: true,
    })
    said = {
      status: 200,
      type: 'application/json',
      body: JSON.stringify({ ...completion(), error: { message: PROMPT } }),
    }
    expectFailure((await ask()).error, {
      code: 'SERVER',
      class: UpstreamError,
      status: 502,
      retryable: true,
    })
  })

  it.each([500, 200])('survives an error nested 50,000 deep (%i)', async (status) => {
    const depth = status === 500 ? 7_000 : 50_000
    said = {
      status,
      type: 'application/json',
      body: `${'{"error":'.repeat(depth)}1${'}'.repeat(depth)}`,
    }
    expectFailure((await ask()).error, {
      code: 'SERVER',
      class: UpstreamError,
      status: 502,
      retryable: true,
    })
  })
})

describe('Retry-After', () => {
  it.each([
    ['seconds', { retryAfter: 2 }, 2_000, 2_000],
    ['a fraction', { retryAfter: '1.5' }, 1_500, 1_500],
    ['zero', { retryAfter: 0 }, 0, 0],
    ['milliseconds of their own', { retryAfter: 9, retryAfterMs: 250 }, 250, 250],
    ['seconds in the body', { retryAfterSeconds: 12.5 }, 12_500, 12_500],
    ['a date', 60_000, 50_000, 60_000],
    ['a huge number', { retryAfter: '99999999999999999999' }, 1e15, 1e15],
    ['a past date', -60_000, undefined, undefined],
    ['a negative number', { retryAfter: -5 }, undefined, undefined],
    ['an exponent', { retryAfter: '1e3' }, undefined, undefined],
    ['Infinity', { retryAfter: 'Infinity' }, undefined, undefined],
    ['garbage', { retryAfter: 'soon, I hope' }, undefined, undefined],
  ])('as %s is told in milliseconds or not at all', async (_name, said, least, most) => {
    await using upstream = await startLocalBlossom()
    upstream.fault({
      status: 429,
      ...(typeof said === 'number' ? { retryAfter: new Date(Date.now() + said) } : said),
    })
    const error = (await failure(
      createBlossom({ baseURL: upstream.url }).text.generate(PROMPT),
    )) as RateLimitError
    expect(error).toBeInstanceOf(RateLimitError)
    if (least === undefined) expect(error.retryAfter).toBeUndefined()
    else {
      expect(error.retryAfter).toBeGreaterThanOrEqual(least)
      expect(error.retryAfter).toBeLessThanOrEqual(most as number)
    }
  })

  it('is waited for before the next attempt', async () => {
    await using upstream = await startLocalBlossom()
    upstream.fault({ status: 429, retryAfterMs: 60 })
    await expect(clientOf(upstream.url).text.generate(PROMPT)).resolves.toMatchObject({
      attempts: 2,
    })
    const [first, second] = upstream.requests
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(59)
  })

  it.each(['3600', '99999999999999999999'])(
    'of %s seconds ends the call at once',
    async (retryAfter) => {
      await using upstream = await startLocalBlossom()
      upstream.fault({ status: 429, retryAfter, times: 3 })
      const before = performance.now()
      expectFailure(await failure(clientOf(upstream.url).text.generate(PROMPT)), {
        code: 'RATE_LIMITED',
        class: RateLimitError,
        retryable: true,
      })
      expect(performance.now() - before).toBeLessThan(500)
      expect(upstream.requests).toHaveLength(1)
    },
  )
})

describe('error bodies', () => {
  it('reads at most a little of a large one and cuts the connection', async () => {
    let sent = 0
    await using upstream = await httpServer((_request, response) => {
      response.writeHead(500, { 'content-type': 'application/json' })
      const block = Buffer.alloc(64 * 1024, ' ')
      const send = () => {
        while (!response.destroyed && sent < 256 * 2 ** 20) {
          sent += block.length
          if (!response.write(block)) return void response.once('drain', send)
        }
        response.end()
      }
      send()
    })
    const error = await failure(
      createBlossom({ baseURL: upstream.url, apiKey: KEY }).text.generate(PROMPT),
    )
    expectFailure(error, { code: 'SERVER', class: UpstreamError, status: 502, retryable: true })
    await upstream.idle()
    // What the kernel buffers on its way is not in our hands.
    expect(sent).toBeLessThan(32 * 2 ** 20)
  })

  it.each([
    ['in the message', (key: string) => ({ error: { message: `You sent ${key}` } }), {}],
    ['as the code', (key: string) => ({ error: { code: key.replace('Bearer ', '') } }), {}],
    ['as the type', (key: string) => ({ error: { type: key.replace('Bearer ', '') } }), {}],
    ['as the error', (key: string) => ({ error: key.replace('Bearer ', '') }), {}],
    [
      'as the request id',
      (key: string) => ({ error: { requestId: key.replace('Bearer ', '') } }),
      {},
    ],
    [
      'in headers',
      () => ({}),
      {
        'x-request-id': KEY,
        'retry-after': KEY,
        'x-cache': `Bearer ${KEY}`,
        'x-should-retry': KEY,
      },
    ],
  ])('that repeat the Authorization header %s show it nowhere', async (_where, body, headers) => {
    await using upstream = await httpServer((request, response) => {
      const text = JSON.stringify(body(String(request.headers.authorization)))
      response.writeHead(500, { 'content-type': 'application/json', ...headers }).end(text)
    })
    const error = await failure(
      createBlossom({ baseURL: upstream.url, apiKey: KEY }).text.generate(PROMPT),
    )
    expectFailure(error, { code: 'SERVER', class: UpstreamError, status: 502, retryable: true })
    expect(JSON.stringify((error as unknown as BlossomError).upstreamMessage ?? '')).not.toContain(
      KEY,
    )
  })

  it('are passed over when they break off: the status has said what matters', async () => {
    await using upstream = await socketServer((socket) =>
      socket.end('HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\n{"error"'),
    )
    const error = await failure(clientOf(upstream.url).text.generate(PROMPT))
    expectFailure(error, { code: 'SERVER', class: UpstreamError, status: 503, retryable: true })
    expect(upstream.requests).toHaveLength(3)
  })
})

describe('redirects', () => {
  it.each([300, 301, 302, 303, 304, 307, 308])(
    '%i to another origin is an error; nothing reaches the other origin',
    async (status) => {
      await using other = await httpServer((_request, response) => response.end(OK))
      await using upstream = await httpServer((_request, response) =>
        response.writeHead(status, { location: `${other.url}/x` }).end(),
      )
      const error = await failure(clientOf(upstream.url).text.generate(PROMPT))
      expectFailure(error, { ...PROTOCOL, retryable: false })
      expect({ upstream: upstream.requests.length, other: other.connections }).toEqual({
        upstream: 1,
        other: 0,
      })
    },
  )
})

describe('bodies', () => {
  let upstream: LocalBlossom
  beforeAll(async () => {
    upstream = await startLocalBlossom()
  })
  afterAll(() => upstream.close())

  it.each([
    ['cut off by an end', { cutAfterChunks: 1 }, NETWORK],
    ['cut off by a reset', { cutAfterChunks: 1, cutWith: 'rst' }, NETWORK],
    ['of malformed JSON', { json: 'malformed' }, PROTOCOL],
    ['of truncated JSON', { json: 'truncated' }, PROTOCOL],
    ['of HTML', { json: 'html' }, PROTOCOL],
    ['of nothing', { json: 'empty' }, PROTOCOL],
    ['of another shape', { json: 'shape' }, PROTOCOL],
    ['that say gzip and are not', { gzip: true }, PROTOCOL],
    ['of half a gzip', { gzip: 'truncated' }, PROTOCOL],
    ['that are gzip bombs', { gzip: 'bomb', bigBody: 2 ** 20 }, PROTOCOL],
    ['in an unknown encoding', { headers: { 'content-encoding': 'rot13' } }, PROTOCOL],
    ['labelled as HTML', { contentType: 'text/html' }, PROTOCOL],
  ] as const)('%s are an error, asked for three times', async (_name, fault, expected) => {
    upstream.reset()
    upstream.fault({ ...fault, times: 3 })
    expectFailure(await failure(clientOf(upstream.url).text.generate(PROMPT)), expected)
    expect(upstream.requests).toHaveLength(3)
    await upstream.waitFor(({ active }) => active === 0, 1_000)
  })

  it('that fall silent half-way end with the deadline, and the server sees it', async () => {
    upstream.reset()
    upstream.fault({ stallAfterChunks: 1 })
    expectFailure(
      await failure(clientOf(upstream.url).text.generate(PROMPT, { timeoutMs: 80 })),
      TIMEOUT,
    )
    await upstream.waitFor(({ active }) => active === 0, 1_000)
    expect(upstream.requests).toHaveLength(1)
  })

  it.each(['text/plain', 'application/octet-stream', ''])(
    'of valid JSON are taken under the label "%s"',
    async (contentType) => {
      upstream.reset()
      upstream.fault({ contentType })
      await expect(clientOf(upstream.url).text.generate(PROMPT)).resolves.toMatchObject({
        finishReason: 'stop',
        attempts: 1,
      })
    },
  )

  it.each([
    ['chunk by chunk', undefined],
    ['with its length told', { 'content-length': String(2 ** 30) }],
  ])('larger than allowed are cut off, %s, and not asked for again', async (_name, headers) => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', ...headers })
      const block = Buffer.alloc(64 * 1024, ' ')
      const send = () => {
        while (!response.destroyed)
          if (!response.write(block)) return void response.once('drain', send)
      }
      send()
    })
    const before = process.memoryUsage().rss
    const error = await failure(
      clientOf(server.url, { maxResponseBytes: 2 ** 20 }).text.generate(PROMPT),
    )
    expectFailure(error, TOO_LARGE)
    expect(error.message).toContain('1048576 bytes')
    expect(server.requests).toHaveLength(1)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    await server.idle()
  })

  it('are measured exactly: the limit itself is allowed', async () => {
    await using server = await httpServer((_request, response) => response.end(OK))
    await expect(
      clientOf(server.url, { maxResponseBytes: OK.length }).text.generate(PROMPT),
    ).resolves.toMatchObject({ text: 'Hello.' })
    expectFailure(
      await failure(
        clientOf(server.url, { maxResponseBytes: OK.length - 1 }).text.generate(PROMPT),
      ),
      TOO_LARGE,
    )
  })

  it('ask for none that is compressed', async () => {
    await using server = await httpServer((_request, response) => response.end(OK))
    await clientOf(server.url).text.generate(PROMPT)
    expect(server.requests[0]?.headers['accept-encoding']).toBe('identity')
  })

  it('with a field named __proto__ lose it and pollute nothing', async () => {
    const text =
      '{"__proto__":{"polluted":1},"choices":[{"index":0,"__proto__":{"polluted":2},"message":{"role":"assistant","content":"ok","\\u005f_proto__":{"polluted":3}}}]}'
    await using server = await httpServer((_request, response) => response.end(text))
    const data = await clientOf(server.url).chat.create({
      messages: [{ role: 'user', content: PROMPT }],
    })
    expect(data.choices[0]?.message.content).toBe('ok')
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    for (const one of [data, data.choices[0], data.choices[0]?.message]) {
      expect(Object.getPrototypeOf(one)).toBe(Object.prototype)
      expect(Object.hasOwn(one as object, '__proto__')).toBe(false)
    }
  })

  it('whose content is null because a tool is called are passed through', async () => {
    const message = {
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
    }
    await using server = await httpServer((_request, response) =>
      response.end(JSON.stringify(completion(null, message))),
    )
    const blossom = clientOf(server.url)
    const created = await blossom.chat.create({ messages: [{ role: 'user', content: PROMPT }] })
    expect(created.choices[0]?.message).toEqual({ role: 'assistant', content: null, ...message })
    await expect(blossom.text.generate(PROMPT)).resolves.toMatchObject({ text: '' })
  })
})

describe('answers of the wrong shape', () => {
  const chat = (blossom: ReturnType<typeof clientOf>) =>
    blossom.chat.create({ messages: [{ role: 'user', content: PROMPT }] })
  const text = (blossom: ReturnType<typeof clientOf>) => blossom.text.generate(PROMPT)
  const embed = (blossom: ReturnType<typeof clientOf>) => blossom.embeddings.create([PROMPT, 'b'])
  const [one, two] = [
    { index: 0, embedding: [1] },
    { index: 1, embedding: [2] },
  ]
  it.each([
    ['chat', chat, []],
    ['chat', chat, null],
    ['chat', chat, 5],
    ['chat', chat, { choices: [] }],
    ['chat', chat, { choices: [null] }],
    ['chat', chat, { choices: [{ message: 'text' }] }],
    ['text', text, { choices: [{}] }],
    ['text', text, { choices: { 0: { message: {} } } }],
    ['embeddings', embed, {}],
    ['embeddings', embed, []],
    ['embeddings', embed, { data: 'x' }],
    ['embeddings', embed, { data: [] }],
    ['embeddings', embed, { data: [one] }],
    ['embeddings', embed, { data: [one, two, one] }],
    ['embeddings', embed, { data: [two, two] }],
    ['embeddings', embed, { data: [one, { index: 4_000_000_000, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: -1, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: 0.5, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: 1, embedding: 'AAAA' }] }],
    ['embeddings', embed, { data: [one, null] }],
    ['models', (blossom: ReturnType<typeof clientOf>) => blossom.models.list(), { object: 'list' }],
    ['models', (blossom: ReturnType<typeof clientOf>) => blossom.models.list(), null],
    [
      'balance',
      (blossom: ReturnType<typeof clientOf>) => blossom.account.balance(),
      { balance: '100' },
    ],
    ['balance', (blossom: ReturnType<typeof clientOf>) => blossom.account.balance(), [100]],
    [
      'image',
      (blossom: ReturnType<typeof clientOf>) => blossom.image.generate(PROMPT),
      { url: 'x' },
    ],
    [
      'speech',
      (blossom: ReturnType<typeof clientOf>) => blossom.audio.speech(PROMPT),
      { url: 'x' },
    ],
  ])('are refused: %s, case %#', async (_name, call, body) => {
    await using upstream = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
    )
    expectFailure(await failure(call(clientOf(upstream.url))), PROTOCOL)
  })

  it.each([
    ['text/html', '<p>hi</p>'],
    ['text/plain', 'sorry'],
    ['image/png', ''],
    ['', 'bytes'],
  ])('are refused for bytes: a body of type "%s" holding %j', async (type, body) => {
    await using upstream = await httpServer((_request, response) =>
      response.writeHead(200, type === '' ? {} : { 'content-type': type }).end(body),
    )
    expectFailure(await failure(clientOf(upstream.url).image.generate(PROMPT)), PROTOCOL)
  })

  it('are known for the errors they are when they are labelled as an image', async () => {
    await using upstream = await httpServer((_request, response) =>
      response
        .writeHead(200, { 'content-type': 'image/png' })
        .end('{"error":{"code":503,"message":"the model is asleep"}}'),
    )
    expect(await failure(clientOf(upstream.url).image.generate(PROMPT))).toMatchObject({
      code: 'SERVER',
      upstreamStatus: 503,
    })
  })
})
