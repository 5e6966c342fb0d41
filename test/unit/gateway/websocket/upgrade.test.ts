import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectSecurely } from 'node:tls'
import { serve } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { attachWebSocket, createGateway, toNode } from '../../../../src/gateway/index.js'
import { createBlossom } from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { CERTIFICATES } from '../../../support/certificates.js'
import { gate } from '../../../support/gate.js'
import { turn } from '../../../support/watch.js'
import { bench, Caller, handshake, refusal, urlOf } from './bench.js'

const OWN = 'http://app.example'

describe('origin', () => {
  const cases: [string, Record<string, string>, 'taken' | 'refused', object?][] = [
    ['no origin', {}, 'taken'],
    ["the server's own", { origin: OWN, host: 'app.example' }, 'taken'],
    [
      "the server's own behind a proxy that ends TLS",
      { origin: 'https://app.example', host: 'app.example' },
      'taken',
    ],
    [
      "the server's own with its port spelled out",
      { origin: 'https://app.example', host: 'APP.example:443' },
      'taken',
    ],
    ['another port', { origin: `${OWN}:8080`, host: 'app.example' }, 'refused'],
    ['another host', { origin: 'https://evil.example', host: 'app.example' }, 'refused'],
    [
      'a host that ends alike',
      { origin: 'https://evil-app.example', host: 'app.example' },
      'refused',
    ],
    ['null', { origin: 'null', host: 'null' }, 'refused'],
    ['nonsense', { origin: '//app.example', host: 'app.example' }, 'refused'],
    [
      'another host under the name of an older draft',
      { 'sec-websocket-origin': 'https://evil.example' },
      'refused',
    ],
    ['one that is named', { origin: OWN }, 'taken', { sockets: { origins: [OWN] } }],
    [
      'one that is not named',
      { origin: 'https://other.example' },
      'refused',
      { sockets: { origins: [OWN] } },
    ],
    [
      "one of the gateway's corsOrigins",
      { origin: OWN },
      'taken',
      { gateway: { corsOrigins: [OWN] } },
    ],
    ['any, when all are named', { origin: 'null' }, 'taken', { gateway: { corsOrigins: ['*'] } }],
    [
      'one of the corsOrigins, when none is named here',
      { origin: OWN },
      'refused',
      { gateway: { corsOrigins: ['*'] }, sockets: { origins: [] } },
    ],
  ]
  test.each(cases)('%s', async (_name, headers, expected, options = {}) => {
    await using it = await bench(options)
    if (expected === 'taken') {
      const caller = await it.connect({ headers })
      expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    } else {
      const { status, text } = await refusal(it.url, { headers })
      expect([status, JSON.parse(text).code]).toEqual([403, 'FORBIDDEN'])
      expect(it.log).toMatchObject([
        { method: 'GET', route: '/ws/generate', status: 403, level: 'warn' },
      ])
      expect(it.sockets.connections).toBe(0)
    }
  })
})

describe("the owner's call", () => {
  test('refuses with a Response, which is sent unchanged', async () => {
    const call = () =>
      new Response('{"login":"first"}', {
        status: 401,
        headers: { 'www-authenticate': 'Bearer', 'content-type': 'application/json' },
      })
    await using it = await bench({ gateway: { call } })
    const { status, headers, text } = await refusal(it.url)
    expect([status, text]).toEqual([401, '{"login":"first"}'])
    expect(headers).toMatchObject({
      'www-authenticate': 'Bearer',
      'x-content-type-options': 'nosniff',
      connection: 'close',
    })
    expect(it.log).toMatchObject([{ status: 401, requestId: headers['x-request-id'] }])
    expect(it.errors).toEqual([])
  })

  test('sees the original request, with Node objects beside it', async () => {
    let seen: unknown
    const call = (request: Request, platform: unknown) => {
      const { req, socket } = platform as { req: IncomingMessage; socket: Duplex }
      seen = [
        request.method,
        new URL(request.url).pathname + new URL(request.url).search,
        request.headers.get('authorization'),
        req.url,
        socket.writable,
      ]
      return {}
    }
    await using it = await bench({ gateway: { call } })
    await Caller.connect(`${it.url}?token=a%20b`, { headers: { authorization: 'Bearer x' } })
    expect(seen).toEqual([
      'GET',
      '/ws/generate?token=a%20b',
      'Bearer x',
      '/ws/generate?token=a%20b',
      true,
    ])
  })

  test.each([new Error('the password is 1234'), undefined])(
    'answers 500 in general words when it throws',
    async (thrown) => {
      await using it = await bench({
        gateway: {
          call: () => {
            throw thrown
          },
        },
      })
      const { status, text } = await refusal(it.url)
      expect(status).toBe(500)
      expect(JSON.parse(text)).toMatchObject({
        code: 'INTERNAL',
        detail: 'An unexpected error occurred.',
      })
    },
  )

  test('is not waited for when the caller has already left', async () => {
    const asked = gate()
    const answer = gate()
    const call = async () => {
      asked.open()
      await answer.promise
    }
    await using it = await bench({ gateway: { call: call as never } })
    const socket = connect(Number(new URL(it.url).port), '127.0.0.1')
    const accepted = once(it.server, 'connection')
    socket.write(handshake('/ws/generate'))
    await asked.promise
    const [served] = (await accepted) as [Duplex]
    const gone = new Promise((resolve) => served.once('close', resolve))
    served.destroy(new Error('reset'))
    await gone
    answer.open()
    await it.sockets.ready
    expect(it.sockets.connections).toBe(0)
    socket.destroy()
  })
})

describe('connections', () => {
  test('beyond the limit are refused with 503 until one closes', async () => {
    await using it = await bench({ sockets: { maxConnections: 2 } })
    const first = await it.connect()
    await it.connect()
    expect(it.sockets.connections).toBe(2)
    const { status, text } = await refusal(it.url)
    expect([status, JSON.parse(text).code]).toEqual([503, 'QUEUE_FULL'])
    first.socket.close()
    await first.closed
    await it.connect()
  })

  test('count towards the limit while their upgrade is in progress', async () => {
    const answer = gate()
    await using it = await bench({
      sockets: { maxConnections: 1 },
      gateway: { call: (() => answer.promise) as never },
    })
    const first = it.connect()
    await once(it.server, 'upgrade')
    expect((await refusal(it.url)).status).toBe(503)
    answer.open()
    await first
  })

  test('with a wrong handshake are refused and no longer counted', async () => {
    await using it = await bench({ sockets: { maxConnections: 1 } })
    const headers = {
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '99',
      'sec-websocket-key': 'x',
    }
    const asked = request(it.url.replace('ws:', 'http:'), { headers, agent: false }).end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(400)
    await it.connect()
  })

  test('are refused with 503 while the gateway drains, even if that began during the upgrade', async () => {
    const answer = gate()
    await using it = await bench({ gateway: { call: (() => answer.promise) as never } })
    const early = refusal(it.url)
    await once(it.server, 'upgrade')
    it.gateway.drain()
    const { status, text } = await refusal(it.url)
    expect([status, JSON.parse(text).code]).toEqual([503, 'CLOSED'])
    answer.open()
    expect((await early).status).toBe(503)
  })
})

describe('paths', () => {
  test.each(['/', '/ws', '/ws/generate/', '//ws/generate', '/WS/generate', '/ws%2Fgenerate'])(
    '%s is refused with 404',
    async (path) => {
      await using it = await bench()
      const { status, headers } = await refusal(urlOf(it.server, path))
      expect([status, headers['content-type']]).toEqual([404, 'application/problem+json'])
      expect(it.log).toMatchObject([{ route: '(unknown)', status: 404 }])
    },
  )

  test('leaves upgrades on other paths to other listeners', async () => {
    await using it = await bench()
    const theirs = new WebSocketServer({ noServer: true })
    it.server.on('upgrade', (req, socket, head) => {
      if (req.url === '/chat')
        theirs.handleUpgrade(req, socket, head, (client) => client.send('"theirs"'))
    })
    const caller = await Caller.connect(urlOf(it.server, '/chat'))
    expect(await caller.next()).toBe('theirs')
    const ours = await it.connect()
    expect(await ours.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    caller.socket.terminate()
  })

  test('two gateways on one server have their own paths, and one of them refuses the rest', async () => {
    await using it = await bench()
    const blossom = createBlossom({ baseURL: it.upstream.url })
    const second = attachWebSocket(it.server, createGateway(blossom, { prefix: '/two' }))
    const caller = await Caller.connect(urlOf(it.server, '/two/ws/generate'))
    expect((await caller.ask({ type: 'generate', prompt: 'Hello' })).type).toBe('result')
    expect([it.sockets.connections, second.connections]).toEqual([0, 1])
    expect((await refusal(urlOf(it.server, '/three/ws/generate'))).status).toBe(404)
    await second.close()
    expect((await refusal(urlOf(it.server, '/two/ws/generate'))).status).toBe(404)
    await blossom.close()
  })

  test('a plain request gets the answer for an unknown path', async () => {
    await using it = await bench()
    expect((await fetch(it.url.replace('ws:', 'http:'))).status).toBe(404)
  })
})

describe('an upgrade to another protocol', () => {
  /** Sends bytes and collects what comes until the server ends the connection. */
  async function exchange(socket: Duplex, ...parts: string[]): Promise<string> {
    const received = socket.toArray()
    for (const part of parts) {
      socket.write(part)
      await turn()
    }
    return Buffer.concat(await received).toString()
  }
  const to = (server: { address(): unknown }) =>
    connect((server.address() as AddressInfo).port, '127.0.0.1')
  const lines = (...all: string[]) => `${all.join('\r\n')}\r\n\r\n`
  const H2C = ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']
  const body = JSON.stringify({ prompt: 'Hello' })
  const statusesIn = (text: string) =>
    [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status))

  test.each([
    ['h2c, as Java asks for it', 'Connection: Upgrade, HTTP2-Settings, close', H2C],
    ['h2c with other words for it', 'connection: close, upgrade', ['UPGRADE: H2C']],
    ['something else', 'Connection: close, Upgrade', ['Upgrade: example/1, foo']],
  ])('is served over HTTP/1.1: %s', async (_name, connection, upgrade) => {
    await using it = await bench()
    const head = lines('GET /health/live HTTP/1.1', 'Host: a', connection, ...upgrade)
    const answer = await exchange(to(it.server), head)
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(answer).toMatch(/\r\n\r\n\{"status":"ok"\}$/)
  })

  test.each([
    ['with its length', [`Content-Length: ${body.length}`], body],
    [
      'in chunks',
      ['Transfer-Encoding: chunked'],
      `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])('keeps the body %s, whenever it comes', async (_name, framing, sent) => {
    await using it = await bench()
    const head = lines(
      'POST /generate/text HTTP/1.1',
      'Host: a',
      'Connection: Upgrade, HTTP2-Settings, close',
      'Content-Type: application/json',
      ...framing,
      ...H2C,
    )
    for (const parts of [[head + sent], [head, sent], [head, sent.slice(0, 9), sent.slice(9)]]) {
      const answer = await exchange(to(it.server), ...parts)
      expect(statusesIn(answer)).toEqual([200])
      expect(answer).toContain('Hello')
    }
  })

  test('leaves the connection usable, for data sent with it and data sent later', async () => {
    await using it = await bench()
    const first = lines('GET /health/live HTTP/1.1', 'Host: a', 'Connection: Upgrade', ...H2C)
    const second = lines('GET /health HTTP/1.1', 'Host: a')
    const last = lines('GET /nothing HTTP/1.1', 'Host: a', 'Connection: close')
    expect(statusesIn(await exchange(to(it.server), first + second + last))).toEqual([
      200, 200, 404,
    ])
    expect(statusesIn(await exchange(to(it.server), first, second, last))).toEqual([200, 200, 404])
  })

  test('waits for the answers to earlier requests of the connection', async () => {
    await using it = await bench({ upstream: { latencyMs: 20, coalesce: false } })
    const slow = lines(
      'POST /generate/text HTTP/1.1',
      'Host: a',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
    )
    const upgrade = lines('GET /health HTTP/1.1', 'Host: a', 'Connection: Upgrade', ...H2C)
    const last = lines('GET /nothing HTTP/1.1', 'Host: a', 'Connection: close')
    const parts = [slow + body + slow + body + upgrade, upgrade + last]
    for (const sent of [parts, [parts.join('')]])
      expect(statusesIn(await exchange(to(it.server), ...sent))).toEqual([200, 200, 200, 200, 404])
  })

  test('on the WebSocket path is treated as a plain request', async () => {
    await using it = await bench()
    const head = lines('GET /ws/generate HTTP/1.1', 'Host: a', 'Connection: Upgrade, close', ...H2C)
    expect(statusesIn(await exchange(to(it.server), head))).toEqual([404])
    expect(it.log).toMatchObject([{ route: '(unknown)', status: 404 }])
  })

  test('is served over TLS, too', async () => {
    await using it = await bench()
    const { key, cert } = CERTIFICATES.good
    const server = createSecureServer({ key, cert }, toNode(it.gateway)).listen(0, '127.0.0.1')
    const handle = attachWebSocket(server, it.gateway, { path: '/tls' })
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = connectSecurely({ port, host: '127.0.0.1', ca: cert })
    await once(socket, 'secureConnect')
    const head = lines('GET /health/live HTTP/1.1', 'Host: a', 'Connection: Upgrade, close', ...H2C)
    expect(statusesIn(await exchange(socket, head))).toEqual([200])
    await handle.close()
    server.close()
  })

  test('is left to other listeners', async () => {
    await using it = await bench()
    it.server.on('upgrade', (req, socket) => {
      if (req.headers.upgrade === 'h2c') socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    })
    const head = lines('GET /health/live HTTP/1.1', 'Host: a', 'Connection: Upgrade', ...H2C)
    expect(statusesIn(await exchange(to(it.server), head))).toEqual([101])
    const ours = await it.connect()
    expect(await ours.ask({ type: 'ping' })).toEqual({ type: 'pong' })
  })

  test('is served once with two gateways on a server', async () => {
    await using it = await bench()
    const second = attachWebSocket(it.server, it.gateway, { path: '/two' })
    const head = lines('GET /health/live HTTP/1.1', 'Host: a', 'Connection: Upgrade, close', ...H2C)
    expect(statusesIn(await exchange(to(it.server), head))).toEqual([200])
    await second.close()
    expect(statusesIn(await exchange(to(it.server), head))).toEqual([200])
  })
})

describe('behind a framework', () => {
  test('Express, whose mount is named by path', async () => {
    await using upstream = await startLocalBlossom()
    const blossom = createBlossom({ baseURL: upstream.url })
    const gateway = createGateway(blossom)
    const app = express().use('/ai', toNode(gateway))
    const server = app.listen(0, '127.0.0.1')
    attachWebSocket(server, gateway, { path: '/ai/ws/generate' })
    await once(server, 'listening')
    const caller = await Caller.connect(urlOf(server, '/ai/ws/generate'))
    expect((await caller.ask({ type: 'generate', prompt: 'Hello' })).type).toBe('result')
    const response = await fetch(urlOf(server, '/ai/health/live').replace('ws:', 'http:'))
    expect(response.status).toBe(200)
    server.close()
    await gateway.close()
    expect((await caller.closed).code).toBe(1001)
    await blossom.close()
  })

  test('Hono on Node', async () => {
    await using upstream = await startLocalBlossom()
    const blossom = createBlossom({ baseURL: upstream.url })
    const gateway = createGateway(blossom, { prefix: '/ai' })
    const app = new Hono().all('/ai/*', (c) => gateway(c.req.raw, c))
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
    attachWebSocket(server, gateway)
    await once(server, 'listening')
    const caller = await Caller.connect(urlOf(server, '/ai/ws/generate'))
    expect((await caller.ask({ type: 'generate', prompt: 'Hello' })).type).toBe('result')
    server.close()
    await gateway.close()
    expect((await caller.closed).code).toBe(1001)
    await blossom.close()
  })

  test('Fastify', async () => {
    await using upstream = await startLocalBlossom()
    const blossom = createBlossom({ baseURL: upstream.url })
    const gateway = createGateway(blossom)
    const app = fastify()
    attachWebSocket(app.server, gateway)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const caller = await Caller.connect(urlOf(app.server, '/ws/generate'))
    expect((await caller.ask({ type: 'generate', prompt: 'Hello' })).type).toBe('result')
    await gateway.close()
    await app.close()
    await blossom.close()
  })
})
