import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Agent } from 'undici'
import { describe, expect, it } from 'vitest'
import { closedPort, httpServer, type Seen, socketServer } from '../../../support/bare-server.js'
import { CERTIFICATES } from '../../../support/certificates.js'
import { PROMPT } from '../../../support/secrets.js'
import { failure } from '../../../support/watch.js'
import { completion } from '../../../support/wire.js'
import { clientOf, expectFailure, NETWORK, OK, PROTOCOL, TIMEOUT } from './expected.js'

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

  it('does not retry a server with an untrusted certificate, and sends it nothing', async () => {
    let heard = 0
    const server = createSecureServer(CERTIFICATES.unknown, () => heard++)
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

  it('recovers when an upstream restarts', async () => {
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
