import express from 'express'
import { describe, expect, test } from 'vitest'
import { createGateway, toNode } from '../../../../src/gateway/index.js'
import { ask } from '../../../support/http-client.js'
import { ExpressFramework, serving } from '../../../support/http-frameworks.js'
import { openSite, sameFromEach } from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'

const body = { prompt }

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

  test('Express passes only paths that are not ours on to the owner’s routes', async () => {
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

  test('Express passes nothing below /v1/ on, because an OpenAI client could not read the answer', async () => {
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

describe('where a framework strips more off the URL than the mount', () => {
  /** As Nest does for `forRoutes('*splat')`. */
  const strip = (serve: ReturnType<typeof toNode>) =>
    express()
      .use((req, _, next) => {
        req.url = '/'
        next()
      })
      .use(serve)
      .use((req, res) => void res.json({ owner: req.originalUrl }))

  test('the original path is used', async () => {
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

  test('the shorter path wins when both are known', async () => {
    await using site = await openSite(ExpressFramework)
    const app = express().use('/health', toNode(site.gateway))
    await using server = await serving(app)
    expect((await ask(server.url, '/health/health/live')).json).toEqual({ status: 'ok' })
    expect((await ask(server.url, '/health/live')).json).toEqual({ status: 'ok' })
    expect((await ask(server.url, '/health/nothing')).status).toBe(404)
  })
})
