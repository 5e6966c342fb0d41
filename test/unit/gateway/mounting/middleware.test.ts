import { gunzipSync } from 'node:zlib'
import express from 'express'
import Koa from 'koa'
import { describe, expect, test, vi } from 'vitest'
import { toNode, toRequest } from '../../../../src/gateway/index.js'
import { ask, begin } from '../../../support/http-client.js'
import {
  ExpressFramework,
  frameworks,
  KoaFramework,
  serving,
} from '../../../support/http-frameworks.js'
import { comparable, openSite, type SiteOptions, sameFromEach } from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'
import { catchWarnings } from '../../../support/warnings.js'

const body = { prompt }

describe('beside the owner’s middleware', () => {
  test('the owner’s error handler never sees our errors, and `onError` sees every one', async () => {
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

  test('compression applies to JSON and still sends each stream event as it comes', async () => {
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

  test('headers that the owner sets for all answers are kept', async () => {
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
    '$name’s own `vary` is merged with ours',
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
    'adopts the request id that $name middleware sets on the response',
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
  ])('uses %s on req.id as the request id', async (_name, id, expected) => {
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

  test('the option `requestId` takes precedence, in every framework', async () => {
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

  test('leaves a response alone that other code has already sent', async () => {
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
