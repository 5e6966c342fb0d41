import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Ask } from '../../support/http-client.js'
import { ExpressFramework, frameworks } from '../../support/http-frameworks.js'
import {
  closeAll,
  comparable,
  openEach,
  openSite,
  type Site,
  sameFromEach,
} from '../../support/http-site.js'
import { everythingOf, KEY, PROMPT } from '../../support/secrets.js'

const prompt = PROMPT
const json = { 'content-type': 'application/json' }
const adminToken = 'admin-token-of-the-tests'

let sites: Site[]
beforeAll(async () => {
  sites = await openEach({ gateway: { adminToken } })
})
afterAll(() => closeAll(sites))

const answerOf = (path: string, what: Ask) =>
  sameFromEach(sites, async ({ ask }) => comparable(await ask(path, what)))

describe('malicious bodies', () => {
  const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`

  const nested = (depth: number) =>
    [
      ['/generate/text', `{"prompt":"a","extra":${deep(depth - 1)}}`],
      ['/generate/cached', `{"prompt":"a","extra":${deep(depth - 1)}}`],
      [
        '/v1/chat/completions',
        `{"messages":[{"role":"user","content":"a"}],"extra":${deep(depth - 1)}}`,
      ],
      ['/v1/embeddings', `{"input":"a","extra":${deep(depth - 1)}}`],
    ] as const

  test.each([
    [20, 200],
    [500, 200],
    [501, 400],
    [20_000, 400],
    [500_000, 400],
  ])('JSON %i levels deep is %i and does not crash the server', async (depth, expected) => {
    for (const [path, body] of nested(depth)) {
      const { status, after } = await sameFromEach(sites, async ({ ask }) => {
        const { status } = await ask(path, { body, headers: json })
        return { status, after: (await ask('/health/live')).status }
      })
      expect([path, status, after]).toEqual([path, expected, 200])
    }
  })

  test('brackets in strings do not count as depth', async () => {
    const text = `${'[{'.repeat(2_000)}\\"${'["'.repeat(2_000)} ü🌸`
    expect(await answerOf('/generate/text', { body: { prompt: text } })).toMatchObject({
      status: 200,
    })
  })

  test('an endless body is answered, not buffered', async () => {
    for (const site of sites) {
      const socket = connect(Number(new URL(site.url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(
        'POST /generate/text HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
      )
      const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
      const answer = new Promise<string>((resolve) =>
        socket.once('data', (data) => resolve(data.toString())),
      )
      let sending = true
      const send = () => {
        while (sending && socket.write(chunk));
        if (sending) socket.once('drain', send)
      }
      send()
      expect(await answer).toMatch(/^HTTP\/1\.1 413 /)
      sending = false
      socket.destroy()
      expect((await site.ask('/health/live')).status).toBe(200)
    }
  })

  test('the connection can be reused after an oversized body', async () => {
    for (const site of sites) {
      const socket = connect(Number(new URL(site.url).port), '127.0.0.1')
      const long = 'x'.repeat(2_000_000)
      socket.write(
        `POST /generate/text HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${long.length}\r\n\r\n${long}`,
      )
      socket.write('GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
      let text = ''
      for await (const part of socket) text += part
      expect(text).toMatch(/^HTTP\/1\.1 413 /)
      expect(text).toMatch(/HTTP\/1\.1 200 OK[\s\S]*\{"status":"ok"\}/)
    }
  })

  const intruders = {
    apiKey: 'sk_intruder',
    api_key: 'sk_intruder',
    baseURL: 'http://127.0.0.1:1/',
    headers: { host: 'evil.example', 'x-evil': 'yes' },
    signal: 'x',
    timeoutMs: 1,
    tenant: 'other',
    priority: 1e9,
    cache: 'reload',
    meta: {},
    dispatcher: {},
    transport: {},
  }
  const withProto = (body: object) =>
    JSON.stringify(body).replace(
      /\}$/,
      ',"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
    )

  test.each(['text', 'queued', 'retry', 'circuit-breaker', 'cached', 'stream'])(
    'on /generate/%s unknown fields are ignored, whatever their names',
    async (route) => {
      const outcome = await sameFromEach(sites, async ({ ask, upstream }) => {
        upstream.reset()
        const { status } = await ask(`/generate/${route}`, {
          body: withProto({ prompt: `${prompt} ${route}`, ...intruders }),
          headers: json,
        })
        const [request] = upstream.requests
        return {
          status,
          fields: Object.keys(request!.body as object).filter((name) => !name.startsWith('stream')),
          evil: request!.headers['x-evil'],
        }
      })
      expect(outcome).toEqual({
        status: 200,
        fields: ['model', 'messages', 'max_tokens', 'temperature'],
        evil: undefined,
      })
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    },
  )

  test('below /v1 unknown fields are forwarded, except any that could change where requests go', async () => {
    const outcome = await sameFromEach(sites, async ({ ask, upstream }) => {
      const seen = []
      for (const [path, body] of [
        ['/v1/chat/completions', { messages: [{ role: 'user', content: prompt }] }],
        ['/v1/embeddings', { input: 'a' }],
        ['/v1/images/generations', { prompt, size: '8x8' }],
        ['/v1/audio/speech', { input: 'a' }],
      ] as const) {
        upstream.reset()
        const { status } = await ask(path, {
          body: withProto({ ...body, ...intruders, seed: 1 }),
          headers: json,
        })
        const [request] = upstream.requests
        const sent = request!.rawBody
        seen.push({
          status,
          refused: ['apiKey', 'baseURL', 'headers', '__proto__'].filter((name) =>
            sent.includes(`"${name}"`),
          ),
          forwarded: ['api_key', 'tenant', 'seed'].filter((name) => sent.includes(`"${name}"`)),
          evil: request!.headers['x-evil'],
          key: request!.keySha256,
        })
      }
      return seen
    })
    for (const seen of outcome) {
      expect(seen).toMatchObject({
        status: 200,
        refused: [],
        forwarded: ['api_key', 'tenant', 'seed'],
        evil: undefined,
        key: outcome[0]!.key,
      })
    }
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  test('inherited fields are ignored', async () => {
    const answer = await answerOf('/generate/text', {
      body: '{"__proto__":{"prompt":"hello"}}',
      headers: json,
    })
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'prompt', message: 'is missing' }] },
    })
  })

  test.each([
    'http://127.0.0.1:1/x',
    '//evil.example/x',
    '../../account/balance',
    'a\r\nHost: evil.example',
    '\u0000',
    '%2e%2e/',
    '#{7*7}{{7*7}}',
  ])('the prompt %j is treated as plain text', async (text) => {
    const outcome = await sameFromEach(sites, async ({ ask, upstream }) => {
      upstream.reset()
      const { status } = await ask('/generate/text', { body: { prompt: text } })
      const [request] = upstream.requests
      return {
        status,
        path: request!.path,
        content: (request!.body as { messages: { content: string }[] }).messages[0]!.content,
      }
    })
    expect(outcome).toEqual({ status: 200, path: '/v1/chat/completions', content: text })
  })
})

describe('what others can learn', () => {
  /** Every kind of end once. */
  async function allKinds({ ask, visit, upstream, logged }: Site) {
    const headers = { authorization: `Bearer ${adminToken}`, cookie: 'session=secret-cookie' }
    await ask('/generate/text', { body: { prompt }, headers })
    await ask('/generate/cached', { body: { prompt }, headers })
    await ask('/generate/cached', { body: { prompt }, headers })
    await ask('/generate/stream', { body: { prompt }, headers })
    await ask('/generate/batch', { body: { prompts: [prompt, ''] }, headers })
    await ask('/generate/text', { body: { prompt, max_tokens: -1 }, headers })
    await ask(`/nothing/${encodeURIComponent(prompt)}?key=${KEY}`, { headers })
    await ask('/cache/clear', { method: 'DELETE', headers })
    upstream.faults.push({
      status: 400,
      body: `{"error":{"message":"${prompt} ${KEY}","code":"${KEY}"}}`,
    })
    await ask('/generate/text', { body: { prompt }, headers })
    upstream.faults.push({ status: 401 })
    await ask('/v1/chat/completions', {
      body: { messages: [{ role: 'user', content: prompt }] },
      headers,
    })
    upstream.faults.push({ cutAfterChunks: 1, chunkDelayMs: 5 })
    await ask('/generate/stream', { body: { prompt }, headers })
    upstream.faults.push({ stallAfterChunks: 1 })
    const left = await visit('/generate/stream', { body: { prompt }, headers })
    await left.next()
    left.leave()
    await logged(12)
  }

  test('the log has one entry per request, without prompts, answers or secrets', async () => {
    const outcome = await sameFromEach({ gateway: { adminToken } }, async (site) => {
      await allKinds(site)
      const { log } = site
      const text = JSON.stringify(log)
      return {
        entries: log.map(({ method, route, status, code, level, cached, attempts }) => [
          method,
          route,
          status,
          code,
          level,
          cached,
          attempts,
        ]),
        names: [...new Set(log.flatMap((entry) => Object.keys(entry)))].sort(),
        leaks: [
          KEY,
          PROMPT,
          encodeURIComponent(PROMPT),
          adminToken,
          'secret-cookie',
          '127.0.0.1',
          'Marmalade',
        ].filter((word) => text.includes(word)),
      }
    })
    expect(outcome.leaks).toEqual([])
    expect(outcome.entries).toEqual([
      ['POST', '/generate/text', 200, undefined, 'info', undefined, 1],
      ['POST', '/generate/cached', 200, undefined, 'info', false, 1],
      ['POST', '/generate/cached', 200, undefined, 'info', true, 0],
      ['POST', '/generate/stream', 200, undefined, 'info', undefined, 1],
      ['POST', '/generate/batch', 200, undefined, 'info', undefined, undefined],
      ['POST', '/generate/text', 400, 'VALIDATION', 'warn', undefined, undefined],
      ['GET', '(unknown)', 404, 'NOT_FOUND', 'warn', undefined, undefined],
      ['DELETE', '/cache/clear', 200, undefined, 'info', undefined, undefined],
      ['POST', '/generate/text', 400, 'BAD_REQUEST', 'warn', undefined, 1],
      ['POST', '/v1/chat/completions', 502, 'AUTH', 'error', false, 1],
      ['POST', '/generate/stream', 200, 'STREAM', 'error', undefined, 1],
      ['POST', '/generate/stream', 499, undefined, 'warn', undefined, 1],
    ])
    expect(outcome.names).toEqual(
      [
        'attempts',
        'cached',
        'code',
        'durationMs',
        'firstTokenMs',
        'level',
        'method',
        'requestId',
        'route',
        'status',
        'time',
        'upstreamRequestId',
      ].sort(),
    )
  })

  test('figures in the log match their names', async () => {
    await using site = await openSite(ExpressFramework, { upstream: { latencyMs: 40 } })
    await site.ask('/generate/stream', { body: { prompt }, headers: { 'x-request-id': 'mine-7' } })
    await site.logged(1)
    const entry = site.log[0]!
    expect(entry).toMatchObject({
      requestId: 'mine-7',
      attempts: 1,
      upstreamRequestId: 'req-local-000001',
      status: 200,
      level: 'info',
    })
    expect(new Date(entry.time).toISOString()).toBe(entry.time)
    expect(entry.firstTokenMs).toBeGreaterThanOrEqual(39)
    expect(entry.durationMs).toBeGreaterThanOrEqual(entry.firstTokenMs!)
  })

  test('errors passed to `onError` hold neither key nor prompt', async () => {
    for (const framework of frameworks) {
      await using site = await openSite(framework, { gateway: { adminToken } })
      await allKinds(site)
      expect(site.errors).toHaveLength(5)
      const told = site.errors.map(everythingOf).join('\n')
      expect([KEY, PROMPT].filter((word) => told.includes(word))).toEqual([])
    }
  })

  test('an unexpected error is described in general words, unless the owner asks for details', async () => {
    const layers = () => [
      Object.assign((_next: unknown) => () => Promise.reject(new TypeError(`inside ${KEY}`)), {
        layerName: 'broken',
      }) as never,
    ]
    const safe = await sameFromEach({ layers }, async ({ ask }) =>
      comparable(await ask('/generate/text', { body: { prompt } })),
    )
    expect(safe).toMatchObject({
      status: 500,
      body: { code: 'INTERNAL', detail: 'An unexpected error occurred.' },
    })
    expect(JSON.stringify(safe)).not.toContain('inside')
    const full = await sameFromEach(
      { layers, gateway: { errorDetail: 'full' } },
      async ({ ask }) => (await ask('/generate/text', { body: { prompt } })).json.detail,
    )
    expect(full).toBe(`inside ${KEY}`)
  })

  test('answers are never HTML, whatever was asked or generated', async () => {
    const html = '<html><script>alert(1)</script></html>'
    const types = await sameFromEach({ upstream: { reply: () => html } }, async ({ ask }) => {
      const answers = [
        await ask('/generate/text', { body: { prompt: html } }),
        await ask('/generate/stream', { body: { prompt: html } }),
        await ask(`/${encodeURIComponent(html)}`),
        await ask('/generate/text', { body: { prompt, model: html } }),
        await ask('/v1/chat/completions', {
          body: { messages: [{ role: 'user', content: html }] },
        }),
      ]
      return answers.map(({ headers }) => [
        headers['content-type'],
        headers['x-content-type-options'],
        headers['content-security-policy'],
      ])
    })
    for (const [type, sniff, policy] of types) {
      expect(type).not.toMatch(/html/)
      expect([sniff, policy]).toEqual(['nosniff', "default-src 'none'; frame-ancestors 'none'"])
    }
  })

  test('a key in the query is ignored and never forwarded', async () => {
    const outcome = await sameFromEach(
      { gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        await ask('/generate/text?key=sk_caller&apiKey=sk_caller', { body: { prompt } })
        const [request] = upstream.requests
        return { path: request!.path, query: request!.query, status: request!.status }
      },
    )
    expect(outcome).toEqual({ path: '/v1/chat/completions', query: {}, status: 200 })
  })

  test.each([
    ['GET /health HTTP/1.1\r\nhost: a\r\nx: \u0001\r\n\r\n'],
    ['GARBAGE\r\n\r\n'],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nhost: a\r\n\r\n`],
  ])('a malformed request (%j) ends only its own connection', async (bytes) => {
    for (const site of sites) {
      const socket = connect(Number(new URL(site.url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.end(Buffer.from(bytes, 'latin1'))
      await new Promise((resolve) => socket.once('close', resolve).resume())
      expect((await site.ask('/health/live')).status).toBe(200)
    }
  })
})
