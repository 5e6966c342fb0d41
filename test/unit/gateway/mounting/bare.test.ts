import fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { createGateway, type Gateway, toNode, toRequest } from '../../../../src/gateway/index.js'
import { ConfigError, createBlossom } from '../../../../src/index.js'
import { ask, textOf } from '../../../support/http-client.js'
import { ExpressFramework, serving } from '../../../support/http-frameworks.js'
import { openSite } from '../../../support/http-site.js'
import { KEY, PROMPT as prompt } from '../../../support/secrets.js'

const body = { prompt }

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

  test('cancelling the body of a Response counts as leaving, whatever the signal says', async () => {
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

  test('toRequest serves Fastify, whose parser always runs first', async () => {
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

  test('toNode and createGateway explain what is wrong with an invalid argument', () => {
    expect(() => toNode((() => {}) as never)).toThrow(ConfigError)
    expect(() => toNode(undefined as never)).toThrow(/first argument must be a gateway/)
    expect(() => createGateway({} as never)).toThrow(/first argument must be a client/)
  })

  test.each([{ url: '/', method: 'GET', headers: { host: 'a.example' } }, {}, undefined])(
    'a gateway called with %j instead of a Request explains how to wrap it',
    async (request) => {
      const gateway = createGateway(createBlossom())
      await expect(gateway(request as never)).rejects.toThrow(
        new TypeError(
          'The gateway takes a web Request. For Node requests, wrap it: toNode(gateway).',
        ),
      )
    },
  )

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
