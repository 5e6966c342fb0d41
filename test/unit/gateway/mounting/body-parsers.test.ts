import { gzipSync } from 'node:zlib'
import express, { type Express } from 'express'
import { describe, expect, test, vi } from 'vitest'
import { toNode, toRequest } from '../../../../src/gateway/index.js'
import { ask, textOf } from '../../../support/http-client.js'
import { ExpressFramework, type Framework, serving } from '../../../support/http-frameworks.js'
import {
  comparable,
  openSite,
  type Site,
  type SiteOptions,
  sameFromEach,
} from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'
import { catchWarnings } from '../../../support/warnings.js'

const body = { prompt }

/** The gateway by its Node function at `/node`, and by its web function at `/web`. */
const mountedTwice = (app: Express, { gateway }: Site) =>
  app.use('/node', toNode(gateway)).use('/web', async (req, res) => {
    const answer = await gateway(toRequest(req, res, { body: req.body }))
    res.status(answer.status).send(await answer.text())
  })

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

  test('a wrong body gets the same error as without the parser', async () => {
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

  test('a body that was read but not handed over is a 500 whose log names the remedy, and never hangs', async () => {
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
      /parser has already read the body: .* toRequest\(req, res, \{ body \}\) or the option `body`/,
    )
    expect(outcome.logged).toMatchObject({
      level: 'error',
      status: 500,
      code: 'CONFIG',
      detail: expect.stringContaining('option `body`'),
    })
    expect(outcome.requests).toBe(0)
  })

  test('an owner with neither logger nor listener is warned once', async () => {
    const warnings = catchWarnings()
    const options: SiteOptions = {
      around: { parser: 'forgotten' },
      gateway: { log: undefined, onError: undefined },
    }
    await using site = await openSite(ExpressFramework, options)
    await site.ask('/generate/text', { body })
    await site.ask('/generate/text', { body })
    vi.restoreAllMocks()
    expect(warnings).toEqual([
      expect.stringMatching(/parser has already read the body: .* option `body`/),
    ])
  })

  test.each([
    ['bytes', express.raw({ type: '*/*' })],
    ['text', express.text({ type: '*/*' })],
  ])('when a parser leaves %s, the gateway parses the body itself', async (_name, parser) => {
    await using site = await openSite(ExpressFramework, parsed)
    await using server = await serving(express().use(parser).use(toNode(site.gateway)))
    expect((await ask(server.url, '/generate/text', { body })).json.text).toBe('Read once.')
    expect(await ask(server.url, '/generate/text', { body: '{"prompt":' })).toMatchObject({
      status: 400,
      json: { code: 'VALIDATION' },
    })
  })

  test('an empty object set without reading the request is not mistaken for the body', async () => {
    await using site = await openSite(ExpressFramework, parsed)
    const app = express()
    app.use((req, _, next) => {
      // As urlencoded() of Express 4 does for other types.
      req.body = {}
      next()
    })
    await using server = await serving(mountedTwice(app, site))
    for (const mount of ['/node', '/web'])
      expect((await ask(server.url, `${mount}/generate/text`, { body })).json.text).toBe(
        'Read once.',
      )
  })

  test('uses a body that middleware set without reading the request', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express()
    app.use((req, _, next) => {
      req.body = { prompt: 'Made by hand' }
      next()
    })
    await using server = await serving(mountedTwice(app, site))
    for (const mount of ['/node', '/web'])
      expect((await ask(server.url, `${mount}/generate/text`, { body })).json.text).toContain(
        'Made by hand',
      )
  })

  test('bodies decompressed by the parser are served', async () => {
    await using site = await openSite(ExpressFramework, parsed)
    await using server = await serving(express().use(express.json()).use(toNode(site.gateway)))
    const answer = await fetch(`${server.url}/generate/text`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify(body)),
    })
    expect(await answer.json()).toMatchObject({ text: 'Read once.' })
  })

  test('a parsed form is not accepted as JSON, because a page on another site could send one', async () => {
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

  test('the option `body` may be async, and undefined leaves the reading to the gateway', async () => {
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
