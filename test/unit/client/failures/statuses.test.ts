import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  AuthenticationError,
  BlossomError,
  createBlossom,
  InvalidRequestError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  RateLimitError,
  UpstreamError,
} from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { type BareServer, httpServer, socketServer } from '../../../support/bare-server.js'
import { KEY, PROMPT } from '../../../support/secrets.js'
import { failure } from '../../../support/watch.js'
import { completion } from '../../../support/wire.js'
import { clientOf, type Expected, expectFailure, PROTOCOL } from './expected.js'

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

  it('keeps upstream’s message hidden, with keys redacted', async () => {
    said = { status: 400, ...shapes.blossom(400) }
    const error = (await ask()).error as BlossomError
    expect(error.upstreamMessage).toBe(`Something about ${PROMPT} and Bearer [key]`)
    expect(Object.keys(error)).not.toContain('upstreamMessage')
  })

  it('keeps only safe and useful headers', async () => {
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

  it('explains what to do about a missing key', async () => {
    said = { status: 401, ...shapes.empty() }
    await using keyless = createBlossom({ baseURL: upstream.url })
    await expect(keyless.text.generate(PROMPT)).rejects.toThrow(
      'no API key was given. Pass `apiKey`',
    )
    await expect(blossom.text.generate(PROMPT)).rejects.toThrow('the API key was not accepted')
  })

  it.each([204, 205])(
    'does not accept a %i as an answer where JSON is expected',
    async (status) => {
      said = { status, ...shapes.empty() }
      expectFailure((await ask()).error, PROTOCOL)
    },
  )

  it('turns an error inside a JSON 200 into an error with the status it states', async () => {
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
  ])('as %s is read as milliseconds or ignored', async (_name, said, least, most) => {
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
  it('reads only a little of a large one and cuts the connection', async () => {
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
  ])('that repeat the Authorization header %s never reveal it', async (_where, body, headers) => {
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

  it('are ignored when they break off, because the status is enough', async () => {
    await using upstream = await socketServer((socket) =>
      socket.end('HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\n{"error"'),
    )
    const error = await failure(clientOf(upstream.url).text.generate(PROMPT))
    expectFailure(error, { code: 'SERVER', class: UpstreamError, status: 503, retryable: true })
    expect(upstream.requests).toHaveLength(3)
  })
})
