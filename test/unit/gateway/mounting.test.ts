import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { describe, expect, test, vi } from 'vitest'
import { createGateway, type Gateway, toNode, toRequest } from '../../../src/gateway/index.js'
import { ConfigError, createBlossom } from '../../../src/index.js'
import { ask, begin, textOf } from '../../support/http-client.js'
import {
  ExpressFramework,
  type Framework,
  frameworks,
  KoaFramework,
  listen,
} from '../../support/http-frameworks.js'
import {
  comparable,
  heldStack,
  openSite,
  type SiteOptions,
  sameFromEach,
  until,
} from '../../support/http-site.js'
import { spy } from '../../support/layers.js'
import { KEY, PROMPT } from '../../support/secrets.js'
import { catchWarnings } from '../../support/warnings.js'

const prompt = PROMPT
const body = { prompt }

describe('behind a body parser', () => {
  const parsed: SiteOptions = {
    around: { parser: 'handed over' },
    // Express and Koa hand the body over by themselves.
    gateway: (framework: Framework) =>
      framework.name === 'Hono' ? { body: (_, platform) => framework.bodyOf(platform) } : {},
    upstream: { reply: () => 'Read once.' },
  }

  test('every kind of route gets its body', async () => {
    const outcome = await sameFromEach(parsed, async ({ ask }) => [
      (await ask('/generate/text', { body })).json.text,
      textOf((await ask('/generate/stream', { body })).events),
      (await ask('/generate/batch', { body: { prompts: ['a', 'b'] } })).json.results,
      (await ask('/v1/chat/completions', { body: { messages: [{ role: 'user', content: 'a' }] } }))
        .json.choices[0].message.content,
    ])
    expect(outcome).toEqual([
      'Read once.',
      'Read once.',
      ['Read once.', 'Read once.'],
      'Read once.',
    ])
  })

  test('what is wrong is told as without it', async () => {
    const outcome = await sameFromEach(parsed, async ({ ask }) => {
      const answers = [
        await ask('/generate/text', { body: { prompt: '' } }),
        await ask('/generate/text', { body: '[]' }),
        await ask('/generate/text', {
          body: 'prompt=hello',
          headers: { 'content-type': 'text/plain' },
        }),
        await ask('/generate/text', {
          body: 'x'.repeat(1_100_000),
          headers: { 'content-type': 'text/plain' },
        }),
        await ask('/generate/text', { body: { prompt: 'x'.repeat(1_100_000) } }),
      ]
      return answers.map(({ status }) => status)
    })
    expect(outcome).toEqual([400, 400, 415, 413, 413])
  })

  test('a body that was read and not handed over is a 500 whose log names the remedy, and never a hang', async () => {
    const outcome = await sameFromEach(
      { around: { parser: 'forgotten' } },
      async ({ ask, errors, log, upstream }) => {
        const answer = await ask('/generate/text', { body })
        const { level, status, code, detail } = log[0]!
        return {
          answer: comparable(answer),
          told: String(errors[0]),
          logged: { level, status, code, detail },
          requests: upstream.requests.length,
        }
      },
    )
    expect(outcome.answer).toMatchObject({
      status: 500,
      body: { code: 'CONFIG', detail: 'An unexpected error occurred.' },
    })
    expect(outcome.told).toMatch(
      /parser has read the body .* toRequest\(req, res, \{ body \}\) or the option `body`/,
    )
    expect(outcome.logged).toMatchObject({
      level: 'error',
      status: 500,
      code: 'CONFIG',
      detail: expect.stringContaining('option `body`'),
    })
    expect(outcome.requests).toBe(0)
  })

  test('an owner who neither logs nor listens is warned once', async () => {
    const warnings = catchWarnings()
    const options: SiteOptions = {
      around: { parser: 'forgotten' },
      gateway: { log: undefined, onError: undefined },
    }
    await using site = await openSite(ExpressFramework, options)
    await site.ask('/generate/text', { body })
    await site.ask('/generate/text', { body })
    vi.restoreAllMocks()
    expect(warnings).toEqual([expect.stringMatching(/parser has read the body .* option `body`/)])
  })

  test.each([
    ['bytes', express.raw({ type: '*/*' })],
    ['text', express.text({ type: '*/*' })],
  ])('a parser that leaves %s leaves the parsing to the gateway', async (_name, parser) => {
    await using site = await openSite(ExpressFramework, parsed)
    await using server = await serving(express().use(parser).use(toNode(site.gateway)))
    expect((await ask(server.url, '/generate/text', { body })).json.text).toBe('Read once.')
    expect(await ask(server.url, '/generate/text', { body: '{"prompt":' })).toMatchObject({
      status: 400,
      json: { code: 'VALIDATION' },
    })
  })

  test('an empty object on a body that nobody has read is not taken for the body', async () => {
    await using site = await openSite(ExpressFramework, parsed)
    const app = express()
    app.use((req, _, next) => {
      // As urlencoded() of Express 4 does for other types.
      req.body = {}
      next()
    })
    app.use('/node', toNode(site.gateway))
    app.use('/web', async (req, res) => {
      const answer = await site.gateway(toRequest(req, res, { body: req.body }))
      res.status(answer.status).send(await answer.text())
    })
    await using server = await serving(app)
    for (const mount of ['/node', '/web'])
      expect((await ask(server.url, `${mount}/generate/text`, { body })).json.text).toBe(
        'Read once.',
      )
  })

  test('a body that somebody has made without reading the request is used', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express()
    app.use((req, _, next) => {
      req.body = { prompt: 'Made by hand' }
      next()
    })
    app.use('/node', toNode(site.gateway))
    app.use('/web', async (req, res) => {
      const answer = await site.gateway(toRequest(req, res, { body: req.body }))
      res.status(answer.status).send(await answer.text())
    })
    await using server = await serving(app)
    for (const mount of ['/node', '/web'])
      expect((await ask(server.url, `${mount}/generate/text`, { body })).json.text).toContain(
        'Made by hand',
      )
  })

  test('a parser that unpacks bodies may, and then they are served', async () => {
    await using site = await openSite(ExpressFramework, parsed)
    await using server = await serving(express().use(express.json()).use(toNode(site.gateway)))
    const answer = await fetch(`${server.url}/generate/text`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify(body)),
    })
    expect(await answer.json()).toMatchObject({ text: 'Read once.' })
  })

  test('a form is not taken for JSON because somebody has parsed it: a page elsewhere could send one', async () => {
    await using site = await openSite(ExpressFramework, {})
    await using server = await serving(
      express().use(express.urlencoded()).use(toNode(site.gateway)),
    )
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expect(
      (await ask(server.url, '/generate/text', { body: 'prompt=hello', headers })).status,
    ).toBe(415)
    expect(site.upstream.requests).toHaveLength(0)
  })

  test('the option `body` may take its time, and leaves the reading to the gateway with undefined', async () => {
    const gateway: SiteOptions['gateway'] = {
      body: async (request) =>
        request.headers.has('x-supplied') ? { prompt: 'supplied' } : undefined,
    }
    const outcome = await sameFromEach({ gateway }, async ({ ask, upstream }) => {
      await ask('/generate/text', { body, headers: { 'x-supplied': '1' } })
      await ask('/generate/text', { body })
      return upstream.requests.map(
        (one) => (one.body as { messages: { content: string }[] }).messages[0]!.content,
      )
    })
    expect(outcome).toEqual(['supplied', prompt])
  })
})

describe('under a path', () => {
  test.each([undefined, '/elsewhere'])(
    'every route is there and nowhere else (publicPath %s)',
    async (publicPath) => {
      const around = { mount: '/ai' }
      const outcome = await sameFromEach(
        { around, gateway: ({ prefix }) => ({ prefix: prefix('/ai'), publicPath }) },
        async ({ ask, log }) => {
          const answers = [
            await ask('/ai/generate/text', { body }),
            await ask('/ai/generate/stream', { body }),
            await ask('/ai/v1/models'),
            await ask('/ai/health?now'),
            await ask('/generate/text', { body }),
            await ask('/health'),
            await ask('/ai'),
            await ask('/aix/health'),
            await ask('/ai/ai/health'),
          ]
          return { statuses: answers.map(({ status }) => status), route: log[0]!.route }
        },
      )
      expect(outcome).toEqual({
        statuses: [200, 200, 200, 200, 404, 404, 404, 404, 404],
        route: '/generate/text',
      })
    },
  )

  test('Express goes on to the owner’s own routes for paths that are not ours, and for no others', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express().disable('x-powered-by')
    app.use('/ai', toNode(site.gateway))
    app.use((req, res) => void res.json({ owner: req.originalUrl }))
    await using server = await serving(app)
    expect((await ask(server.url, '/ai/generate/text', { body })).json).toMatchObject({
      model: 'openai',
    })
    expect((await ask(server.url, '/ai/other', { body: {} })).json).toEqual({ owner: '/ai/other' })
    expect((await ask(server.url, '/generate/text', { body })).json).toEqual({
      owner: '/generate/text',
    })
    expect(await ask(server.url, '/ai/generate/text')).toMatchObject({
      status: 405,
      json: { code: 'VALIDATION' },
    })
  })

  test('Express does not go on below /v1/: a client of OpenAI’s API could not read what comes', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express()
    app.use('/ai', toNode(site.gateway))
    await using server = await serving(app)
    expect(await ask(server.url, '/ai/v1/nothing', { body: {} })).toMatchObject({
      status: 404,
      json: { error: { code: 'not_found', message: expect.stringContaining('/v1/models') } },
    })
    expect((await ask(server.url, '/ai/v1')).headers['content-type']).toContain('text/html')
    const none = createGateway(site.blossom, { routes: ['health'] })
    await using other = await serving(express().use(toNode(none)))
    expect((await ask(other.url, '/v1/nothing')).headers['content-type']).toContain('text/html')
  })
})

describe('where a framework takes more off the URL than the mount', () => {
  /** As Nest does for `forRoutes('*splat')`. */
  const strip = (serve: ReturnType<typeof toNode>) =>
    express()
      .use((req, _, next) => {
        req.url = '/'
        next()
      })
      .use(serve)
      .use((req, res) => void res.json({ owner: req.originalUrl }))

  test('the path is the original one', async () => {
    await using site = await openSite(ExpressFramework)
    let seen: string | undefined
    const gateway = createGateway(site.blossom, {
      prefix: '/ai',
      call: (request) => {
        seen = request.url
        return {}
      },
    })
    await using server = await serving(strip(toNode(gateway)))
    expect((await ask(server.url, '/ai/generate/text?a=b', { body })).status).toBe(200)
    expect(seen).toBe(`${server.url}/ai/generate/text?a=b`)
    expect((await ask(server.url, '/ai/v1/nothing')).json.error.code).toBe('not_found')
    expect((await ask(server.url, '/generate/text', { body })).json).toEqual({
      owner: '/generate/text',
    })
  })

  test('the shorter path goes first where both are known', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express().use('/health', toNode(site.gateway))
    await using server = await serving(app)
    expect((await ask(server.url, '/health/health/live')).json).toEqual({ status: 'ok' })
    expect((await ask(server.url, '/health/live')).json).toEqual({ status: 'ok' })
    expect((await ask(server.url, '/health/nothing')).status).toBe(404)
  })
})

describe('beside the owner’s middleware', () => {
  test('the owner’s error handler never sees our errors, and `onError` sees each', async () => {
    const outcome = await Promise.all(
      frameworks.map(async (framework) => {
        const owners: unknown[] = []
        await using site = await openSite(framework, {
          around: { onError: (error) => owners.push(error) },
        })
        site.upstream.fail(400)
        await site.ask('/generate/text', { body })
        await site.ask('/generate/text', { body: {} })
        await site.ask('/nothing')
        return {
          owners: owners.length,
          told: site.errors.map((error) => (error as { code: string }).code),
        }
      }),
    )
    for (const seen of outcome)
      expect(seen).toEqual({ owners: 0, told: ['BAD_REQUEST', 'VALIDATION', 'NOT_FOUND'] })
  })

  test('a callback that throws changes nothing', async () => {
    const broken = () => {
      throw new Error('on purpose')
    }
    const outcome = await sameFromEach(
      { gateway: { log: broken, onError: broken } },
      async ({ ask }) => [
        (await ask('/generate/text', { body })).status,
        (await ask('/generate/text', { body: {} })).status,
      ],
    )
    expect(outcome).toEqual([200, 400])
  })

  test('compression takes JSON and lets each event of a stream go out as it comes', async () => {
    const options: SiteOptions = {
      around: { compression: true },
      upstream: { words: 400, wordsPerChunk: 20 },
    }
    const headers = { 'accept-encoding': 'gzip' }
    const outcome = await sameFromEach(options, async ({ url, upstream, visit }) => {
      upstream.faults.push({ stallAfterChunks: 2 })
      const { response, next, leave } = await visit('/generate/stream', { body, headers })
      // Upstream is silent from here on: what arrives was not held back.
      let text = ''
      while (text.split('\n\n').length < 3) text += await next()
      leave()
      const sent = begin(url, '/generate/text', { body: { prompt, max_tokens: 400 }, headers })
      const json = await new Promise<Buffer>((resolve, reject) => {
        sent
          .on('response', async (answer) => resolve(Buffer.concat(await answer.toArray())))
          .on('error', reject)
      })
      return {
        encoding: response.headers['content-encoding'],
        first: text.startsWith('data: {"text":'),
        json: JSON.parse(gunzipSync(json).toString()).model,
      }
    })
    expect(outcome).toEqual({ encoding: undefined, first: true, json: 'openai' })
  })

  test('headers that the owner has set for all his answers stay', async () => {
    const owners = {
      'content-security-policy': "default-src 'self'",
      'referrer-policy': 'same-origin',
      'access-control-allow-origin': 'https://owner.example',
      'x-owner': 'yes',
    }
    const options: SiteOptions = { around: { headers: owners }, gateway: { corsOrigins: ['*'] } }
    const outcome = await sameFromEach(options, async ({ ask }) => {
      const answers = [
        await ask('/generate/text', { body, headers: { origin: 'https://a.example' } }),
        await ask('/generate/stream', { body }),
        await ask('/nothing'),
      ]
      return answers.map((answer) => comparable(answer).headers)
    })
    for (const headers of outcome)
      expect(headers).toMatchObject({
        ...owners,
        'x-content-type-options': 'nosniff',
        'x-request-id': 'an id',
      })
  })

  test.each([ExpressFramework, KoaFramework])(
    '$name’s own `vary` and ours become one',
    async (framework) => {
      await using site = await openSite(framework, {
        around: { headers: { vary: 'accept-language' } },
        gateway: { corsOrigins: ['https://a.example'] },
      })
      expect((await site.ask('/health')).headers.vary).toBe('accept-language, origin')
    },
  )

  test('Koa’s outer middleware sees the status and may add headers afterwards', async () => {
    await using site = await openSite(KoaFramework)
    const app = new Koa()
    const statuses: number[] = []
    app.use(async (ctx, next) => {
      await next()
      statuses.push(ctx.status)
      ctx.set('x-after', 'yes')
    })
    app.use(async (ctx) => {
      ctx.body = await site.gateway(toRequest(ctx.req, ctx.res), ctx as never)
    })
    await using server = await serving(app.callback())
    expect((await ask(server.url, '/generate/text', { body })).headers).toMatchObject({
      'x-after': 'yes',
      'x-request-id': expect.any(String),
    })
    expect((await ask(server.url, '/generate/text', { body: {} })).headers['x-after']).toBe('yes')
    expect(statuses).toEqual([200, 400])
  })

  test.each([ExpressFramework, KoaFramework])(
    'the request id that middleware of $name has set on the response is adopted',
    async (framework) => {
      const headers = { 'x-request-id': 'Root=1-67891233;Parent=53995c3f' }
      await using site = await openSite(framework, { around: { headers } })
      const answer = await site.ask('/generate/text', {
        body: {},
        headers: { 'x-request-id': 'of-the-client' },
      })
      expect(answer.headers['x-request-id']).toBe(headers['x-request-id'])
      expect(answer.json.requestId).toBe(headers['x-request-id'])
      expect(site.log[0]!.requestId).toBe(headers['x-request-id'])
    },
  )

  test.each([
    ['a name', 'of-the-operator', 'of-the-operator'],
    ['a number, as pino-http counts', 7, '7'],
    ['nothing', undefined, 'of-the-client'],
    ['what is no id', { id: 7 }, 'of-the-client'],
    ['what no header may hold', 'two\r\nlines', 'of-the-client'],
    ['what is too long', 'x'.repeat(257), 'of-the-client'],
  ])('%s on req.id is the request id that is used', async (_name, id, expected) => {
    await using site = await openSite(ExpressFramework)
    const app = express()
    app.use((req, _, next) => {
      Object.assign(req, { id })
      next()
    })
    app.use(toNode(site.gateway))
    await using server = await serving(app)
    const headers = { 'x-request-id': 'of-the-client' }
    const answer = await ask(server.url, '/generate/text', { body: {}, headers })
    expect([answer.headers['x-request-id'], answer.json.requestId]).toEqual([expected, expected])
  })

  test('the option `requestId` has the first word, in every framework', async () => {
    const requestId = (request: Request) => {
      if (request.headers.has('x-broken')) throw new Error('on purpose')
      return request.headers.get('x-trace') ?? undefined
    }
    const warnings = catchWarnings()
    const outcome = await sameFromEach({ gateway: { requestId } }, async ({ ask, log }) => {
      const idOf = async (headers: Record<string, string>) =>
        (await ask('/health/live', { headers: { 'x-request-id': 'of-the-client', ...headers } }))
          .headers['x-request-id']
      const ids = [await idOf({ 'x-trace': 'a' }), await idOf({}), await idOf({ 'x-broken': '1' })]
      return [ids, log.map((entry) => entry.requestId)]
    })
    vi.restoreAllMocks()
    expect(outcome).toEqual([
      ['a', 'of-the-client', 'of-the-client'],
      ['a', 'of-the-client', 'of-the-client'],
    ])
    expect(warnings).toEqual([expect.stringMatching(/requestId\(\) threw Error/)])
  })

  test('somebody who has answered already is not disturbed', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express()
    app.use((_, res, next) => {
      next()
      res.status(503).end('too late')
    })
    app.use(toNode(site.gateway))
    await using server = await serving(app)
    for (const path of ['/generate/text', '/generate/stream']) {
      expect(await ask(server.url, path, { body })).toMatchObject({ status: 503, text: 'too late' })
    }
    await site.logged(2)
    await site.upstream.waitFor(({ active }) => active === 0)
  })
})

describe('who the caller is', () => {
  const known: SiteOptions = {
    around: { authentication: true },
    gateway: ({ userOf }) => ({
      call: (_, platform) => {
        const user = userOf(platform)
        if (user === undefined)
          return new Response('Who are you?', {
            status: 401,
            headers: { 'www-authenticate': 'Basic', 'x-mine': 'yes' },
          })
        return { tenant: user, clientAddress: '192.0.2.1' }
      },
    }),
  }
  const as = (user: string) => ({ body, headers: { 'x-user': user } })

  test('tenants never share an answer, stored or under way', async () => {
    const outcome = await sameFromEach(
      { ...known, layers: heldStack },
      async ({ ask, upstream, gate, blossom, log }) => {
        const crowd = ['ann', 'ann', 'bob', 'bob'].map((user) => ask('/generate/cached', as(user)))
        await until(
          () => blossom.stats() as unknown as { dedupe: { joined: number; inFlight: number } },
          ({ dedupe }) => dedupe.joined === 2 && dedupe.inFlight === 2,
        )
        gate.open()
        await Promise.all(crowd)
        const underWay = upstream.requests.length
        const stored = [
          await ask('/generate/cached', as('ann')),
          await ask('/generate/cached', as('bob')),
          await ask('/generate/cached', as('cid')),
        ]
        return {
          underWay,
          cached: stored.map(({ json }) => json.cached),
          requests: upstream.requests.length,
          log: [log.at(-1)!.tenant, log.at(-1)!.clientAddress],
        }
      },
    )
    expect(outcome).toEqual({
      underWay: 2,
      cached: [true, true, false],
      requests: 3,
      log: ['cid', '192.0.2.1'],
    })
  })

  test('a Response refuses as it is, before the body is read or anything spent', async () => {
    const outcome = await sameFromEach(known, async ({ ask, upstream }) => {
      const answers = [
        await ask('/generate/text', { body }),
        await ask('/v1/chat/completions', { body: { messages: [] } }),
        await ask('/generate/text', { body: 'no JSON', headers: { 'content-type': 'text/plain' } }),
        await ask('/pool/stats'),
      ]
      return { answers: answers.map(comparable), requests: upstream.requests.length }
    })
    expect(outcome.requests).toBe(0)
    for (const answer of outcome.answers) {
      expect(answer).toMatchObject({ status: 401, body: 'Who are you?' })
      expect(answer.headers).toMatchObject({
        'www-authenticate': 'Basic',
        'x-mine': 'yes',
        'x-request-id': 'an id',
        'x-content-type-options': 'nosniff',
      })
    }
  })

  test('probes carry no credentials and the admin has his token: neither is asked who he is', async () => {
    const gateway: SiteOptions['gateway'] = {
      adminToken: 'admin-token-of-the-tests',
      call: () => new Response(null, { status: 403 }),
    }
    const outcome = await sameFromEach({ gateway }, async ({ ask }) => [
      (await ask('/health')).status,
      (await ask('/health/live')).status,
      (await ask('/health/ready')).status,
      (
        await ask('/cache/clear', {
          method: 'DELETE',
          headers: { authorization: 'Bearer admin-token-of-the-tests' },
        })
      ).status,
      (await ask('/cache/clear', { method: 'DELETE' })).status,
      (await ask('/queue/stats')).status,
    ])
    expect(outcome).toEqual([200, 200, 200, 200, 401, 403])
  })

  test('a redirect to a login keeps its location and its cookies', async () => {
    const call = () => {
      const response = new Response(null, {
        status: 302,
        headers: { location: 'https://login.example/' },
      })
      response.headers.append('set-cookie', 'a=1; HttpOnly')
      response.headers.append('set-cookie', 'b=2')
      return response
    }
    for (const framework of frameworks) {
      await using site = await openSite(framework, { gateway: { call } })
      const { status, headers } = await site.ask('/generate/text', { body })
      expect([status, headers.location]).toEqual([302, 'https://login.example/'])
      // Koa joins what it is given.
      if (framework !== KoaFramework)
        expect(headers['set-cookie']).toEqual(['a=1; HttpOnly', 'b=2'])
    }
  })

  class ForeignResponse {
    readonly status = 403
    readonly headers = new Headers({ 'x-foreign': 'yes' })
    async arrayBuffer() {
      return new TextEncoder().encode('Not you.').buffer
    }
  }

  test('a Response of another make refuses, too', async () => {
    const outcome = await sameFromEach(
      { gateway: { call: () => new ForeignResponse() as never } },
      async ({ ask, upstream }) => {
        const { status, text, headers } = await ask('/generate/text', { body })
        return { status, text, foreign: headers['x-foreign'], requests: upstream.requests.length }
      },
    )
    expect(outcome).toEqual({ status: 403, text: 'Not you.', foreign: 'yes', requests: 0 })
  })

  test.each([
    ['false', () => false],
    ['a string', () => 'no'],
    ['a numeric tenant', () => ({ tenant: 5 })],
    ['an empty tenant', () => ({ tenant: '' })],
    ['a priority that is no number', () => ({ priority: 'high' })],
    [
      'an exception',
      () => {
        throw new Error(`secret ${KEY}`)
      },
    ],
    ['a rejection', () => Promise.reject(new Error(`secret ${KEY}`))],
  ])('%s instead of a caller lets nobody in', async (_name, call) => {
    const outcome = await sameFromEach(
      { gateway: { call: call as never } },
      async ({ ask, upstream, errors }) => {
        const { status, json, text } = await ask('/generate/text', { body })
        return {
          status,
          detail: json.detail,
          leaks: text.includes('secret'),
          requests: upstream.requests.length,
          told: errors.length,
        }
      },
    )
    expect(outcome).toEqual({
      status: 500,
      detail: 'An unexpected error occurred.',
      leaks: false,
      requests: 0,
      told: 1,
    })
  })

  test('nothing, a promise of it and null are everybody', async () => {
    for (const call of [() => undefined, async () => undefined, () => null as never, () => ({})]) {
      await using site = await openSite(ExpressFramework, { gateway: { call } })
      expect((await site.ask('/generate/text', { body })).status).toBe(200)
    }
  })

  test('he is asked with the request’s own method, headers and address', async () => {
    const outcome = await sameFromEach(
      {
        around: { mount: '/ai' },
        gateway: ({ prefix }) => ({
          prefix: prefix('/ai'),
          call: ({ method, headers, url }) =>
            new Response(`${method} ${headers.get('x-user')} ${new URL(url).search}`, {
              status: 418,
            }),
        }),
      },
      async ({ ask }) => (await ask('/ai/generate/text?a=b', as('ann'))).text,
    )
    expect(outcome).toBe('POST ann ?a=b')
  })

  test('tenant and priority reach the layers', async () => {
    const layer = spy()
    await using site = await openSite(ExpressFramework, {
      layers: () => [layer as never],
      gateway: { call: () => ({ tenant: 'ann', priority: 7 }) },
    })
    await site.ask('/generate/text', { body })
    expect(layer.context).toMatchObject({ tenant: 'ann', priority: 7, cache: 'no-store' })
    await site.ask('/v1/chat/completions', { body: { messages: [{ role: 'user', content: 'a' }] } })
    expect(layer.context).toMatchObject({ tenant: 'ann', priority: 7, cache: 'default' })
  })
})

describe('the caller’s own key', () => {
  const callers = 'sk_the-callers-own-key'
  const sha = (key: string) => createHash('sha256').update(key).digest('hex')
  const bearer = (key: string) => ({ body, headers: { authorization: `Bearer ${key}` } })
  const upstream = { keys: [KEY, callers, 'sk_another-caller'] }

  test('is ignored unless the owner says otherwise', async () => {
    const keys = await sameFromEach({ upstream }, async ({ ask, upstream }) => {
      await ask('/generate/text', bearer(callers))
      await ask('/v1/chat/completions', {
        ...bearer(callers),
        body: { messages: [{ role: 'user', content: 'a' }] },
      })
      return upstream.requests.map(({ keySha256 }) => keySha256)
    })
    expect(keys).toEqual([sha(KEY), sha(KEY)])
  })

  test('pays when it is forwarded; without one the server’s does', async () => {
    const keys = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        await ask('/generate/text', bearer(callers))
        await ask('/generate/stream', bearer(callers))
        await ask('/generate/batch', { ...bearer(callers), body: { prompts: ['a'] } })
        await ask('/v1/models', { headers: { authorization: `Bearer ${callers}` } })
        await ask('/generate/text', { body })
        return upstream.requests.map(({ keySha256 }) => keySha256)
      },
    )
    expect(keys).toEqual([sha(callers), sha(callers), sha(callers), sha(callers), sha(KEY)])
  })

  test('answers paid by different keys are cached apart', async () => {
    const cached = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask }) => {
        const seen = []
        for (const key of [callers, callers, 'sk_another-caller', KEY])
          seen.push((await ask('/generate/cached', bearer(key))).json.cached)
        return seen
      },
    )
    expect(cached).toEqual([false, true, false, false])
  })

  test.each([
    [401, 'AUTH', 'Bearer'],
    [402, 'PAYMENT', undefined],
    [403, 'FORBIDDEN', undefined],
  ])('upstream’s %i about it is the caller’s to hear', async (status, code, challenge) => {
    const outcome = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        upstream.fail(status, 2)
        const guide = await ask('/generate/text', bearer(callers))
        const openai = await ask('/v1/chat/completions', {
          ...bearer(callers),
          body: { messages: [{ role: 'user', content: 'a' }] },
        })
        return { guide: comparable(guide), openai: comparable(openai) }
      },
    )
    expect(outcome.guide).toMatchObject({
      status,
      body: { status, code, detail: expect.stringContaining(String(status)) },
    })
    expect(outcome.guide.headers['www-authenticate']).toBe(challenge)
    expect(outcome.openai).toMatchObject({ status, body: { error: { code: code.toLowerCase() } } })
    expect(JSON.stringify(outcome)).not.toContain(callers)
  })

  test('of the server’s own key upstream’s 401 stays a 502, also where keys are forwarded', async () => {
    const status = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        upstream.fail(401)
        return (await ask('/generate/text', { body })).status
      },
    )
    expect(status).toBe(502)
  })
})

describe('without a framework', () => {
  const client = (url: string) => createBlossom({ apiKey: KEY, baseURL: url })

  test('a gateway is a function from Request to Response', async () => {
    await using site = await openSite(ExpressFramework, { upstream: { reply: () => 'Plain.' } })
    const post = (path: string, payload: unknown) =>
      new Request(`https://any.example${path}`, {
        method: 'POST',
        body: JSON.stringify(payload),
        headers: { 'content-type': 'application/json' },
      })
    const answer = await site.gateway(post('/generate/text', body))
    expect(await answer.json()).toMatchObject({ text: 'Plain.' })
    const stream = await site.gateway(post('/generate/stream', body))
    expect(await stream.text()).toMatch(/^data: \{"text":"Plain\."\}\n\ndata: \[DONE\]\n\n$/)
    expect((await site.gateway(new Request('https://any.example/nothing#part'))).status).toBe(404)
  })

  test('who cancels the body of a Response has left, whatever the signal says', async () => {
    await using site = await openSite(ExpressFramework)
    site.upstream.faults.push({ stallAfterChunks: 3 })
    const stream = await site.gateway(
      new Request('https://any.example/generate/stream', {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    )
    const reader = stream.body!.getReader()
    await reader.read()
    await reader.cancel()
    await site.upstream.waitFor(({ active }) => active === 0)
    await site.logged(1)
    expect(site.log).toMatchObject([{ status: 499, firstTokenMs: expect.any(Number) }])
  })

  test('toNode serves node:http, unknown paths included', async () => {
    await using site = await openSite(ExpressFramework)
    await using server = await serving(toNode(site.gateway))
    expect((await ask(server.url, '/generate/text', { body })).status).toBe(200)
    expect(await ask(server.url, '/nothing')).toMatchObject({
      status: 404,
      json: { code: 'NOT_FOUND' },
    })
  })

  test('toRequest serves Fastify, whose parser is always first', async () => {
    await using site = await openSite(ExpressFramework, { upstream: { reply: () => 'Fast.' } })
    const app = fastify()
    app.all('/*', async (request, reply) => {
      return reply.send(
        await site.gateway(toRequest(request.raw, reply.raw, { body: request.body }), {
          request,
          reply,
        } as never),
      )
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    try {
      expect((await ask(url, '/generate/text', { body })).json.text).toBe('Fast.')
      expect(textOf((await ask(url, '/generate/stream', { body })).events)).toBe('Fast.')
      expect((await ask(url, '/generate/text', { body: { prompt: '' } })).status).toBe(400)
      expect((await ask(url, '/generate/text')).status).toBe(405)
    } finally {
      await app.close()
    }
  })

  test('toNode and createGateway say so when they are given something else', () => {
    expect(() => toNode((() => {}) as never)).toThrow(ConfigError)
    expect(() => toNode(undefined as never)).toThrow(/first argument must be a gateway/)
    expect(() => createGateway({} as never)).toThrow(/first argument must be a client/)
  })

  test('one client may have several gateways, each with its own options', async () => {
    await using site = await openSite(ExpressFramework)
    const blossom = client(site.upstream.url)
    const [a, b]: [Gateway, Gateway] = [
      createGateway(blossom, { prefix: '/a' }),
      createGateway(blossom, { prefix: '/b', routes: ['health'] }),
    ]
    expect((await a(new Request('http://x.example/a/health/live'))).status).toBe(200)
    expect((await b(new Request('http://x.example/b/health/live'))).status).toBe(404)
    a.drain()
    expect((await a(new Request('http://x.example/a/health'))).status).toBe(503)
    expect((await b(new Request('http://x.example/b/health'))).status).toBe(200)
    await blossom.close()
  })
})

/** A server for the time of a test. */
async function serving(listener: Parameters<typeof listen>[0]) {
  const running = await listen(listener)
  return { ...running, [Symbol.asyncDispose]: () => running.close() }
}
