import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  ServerResponse,
} from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createGateway, type RequestLog, toNode } from '../../../src/gateway/index.js'
import { cache, createBlossom, dedupe, queue } from '../../../src/index.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An upstream that answers every request with these bytes. */
const upstreamOf = (type: string, body: string) =>
  listen(
    createServer((request, response) => {
      request.resume()
      request.on('end', () => response.writeHead(200, { 'content-type': type }).end(body))
    }),
  )

async function gatewayBefore(
  baseURL: string,
  options: { writeTimeoutMs?: number; log?: (entry: RequestLog) => void } = {},
) {
  const slots = queue({ concurrency: 2 })
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL }).use(cache(), dedupe(), slots)
  const gateway = createGateway(blossom, options)
  const url = await listen(createServer(toNode(gateway)))
  closers.push(() => blossom.close({ timeoutMs: 0 }))
  return { url, gateway, slots }
}

const chat = (stream: boolean) =>
  JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...(stream && { stream }) })

async function post(url: string, body: string): Promise<{ text: string; cache: string | null }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  return { text: await response.text(), cache: response.headers.get('x-cache') }
}

describe('upstream text', () => {
  it('is sent byte for byte as it arrived, fresh and from the cache', async () => {
    const odd =
      '{ "id" : "x", "object":"chat.completion","created":1, "model":"m", "unknown":{"b":1.50,"a":"\\u00e9"},' +
      '\n"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
    const { url } = await gatewayBefore(await upstreamOf('application/json', odd))
    expect(await post(url, chat(false))).toEqual({ text: odd, cache: 'MISS' })
    expect(await post(url, chat(false))).toEqual({ text: odd, cache: 'HIT' })
  })

  it('is sent as the same events, without comments and ids', async () => {
    const one = '{"id":"x", "choices":[{"index":0,"delta":{"content":"\\u00e9"}}], "n": 1.0}'
    const last = '{"id":"x","choices":[ {"index":0,"delta":{},"finish_reason":"stop"} ]}'
    const came = `: hello\n\nid: 7\ndata: ${one}\n\n: still here\n\ndata: ${last}\n\ndata: [DONE]\n\n`
    const { url } = await gatewayBefore(await upstreamOf('text/event-stream', came))
    const text = `data: ${one}\n\ndata: ${last}\n\ndata: [DONE]\n\n`
    expect(await post(url, chat(true))).toEqual({ text, cache: 'MISS' })
    expect(await post(url, chat(true))).toEqual({ text, cache: 'HIT' })
  })

  it('is sent without any field named __proto__', async () => {
    const answer =
      '{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi","__proto__":{"a":1}},"finish_reason":"stop"}]}'
    const { url } = await gatewayBefore(await upstreamOf('application/json', answer))
    expect((await post(url, chat(false))).text).not.toContain('__proto__')
    expect((await post(url, chat(false))).text).not.toContain('__proto__')
  })
})

describe('events', () => {
  it('that arrive together are written together, along with the headers', async () => {
    const chunk = (content: string) =>
      `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`
    const body = `${'abcdefgh'.split('').map(chunk).join('')}data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`
    const { url } = await gatewayBefore(await upstreamOf('text/event-stream', body))
    const { port } = new URL(url)
    const socket = connect(Number(port), '127.0.0.1')
    const parts: string[] = []
    socket.on('data', (bytes) => parts.push(bytes.toString()))
    const text = chat(true)
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    )
    await once(socket, 'close')
    expect(parts.join('')).toContain('[DONE]')
    expect(parts.length).toBeLessThanOrEqual(3)
    expect(parts[0]).toContain('"content":"h"')
  })

  it('that arrive as many HTTP chunks in one packet are sent in one write', async () => {
    const http = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
    const chunk = (content: string, finish: string | null = null) =>
      http(
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`,
      )
    let goOn = () => {}
    const upstream = createTcpServer((socket) => {
      socket.once('data', () => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunk('first')}`,
        )
        goOn = () =>
          socket.write(
            `${[...'abcdefgh'].map((letter) => chunk(letter)).join('')}${chunk('', 'stop')}`,
          )
      })
    })
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    closers.push(() => upstream.close())
    const { port } = upstream.address() as AddressInfo
    const { url } = await gatewayBefore(`http://127.0.0.1:${port}`)
    const written = vi.spyOn(ServerResponse.prototype, 'write')
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chat(true),
    })
    const reader = response.body!.getReader()
    await reader.read()
    written.mockClear()
    goOn()
    let text = ''
    while (!text.includes('"stop"')) text += new TextDecoder().decode((await reader.read()).value)
    expect(written).toHaveBeenCalledTimes(1)
    written.mockRestore()
    await reader.cancel()
  })
})

describe('a client that does not read', () => {
  /** Sends as fast as it may, without an end. */
  const endless = () => {
    const open = new Set<Socket>()
    const chunk = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x'.repeat(4_000) } }] })}\n\n`
    return {
      open,
      server: createServer((request, response) => {
        const { socket } = request
        open.add(socket)
        socket.on('close', () => open.delete(socket))
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        const more = () => {
          while (!response.destroyed && response.write(chunk));
        }
        response.on('drain', more)
        more()
      }),
    }
  }

  function ask(url: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const body = chat(true).replace('Hello', String(Math.random()))
      const asked = httpRequest(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': body.length },
      })
      asked.on('response', resolve)
      asked.on('error', reject)
      asked.end(body)
    })
  }

  it('loses its slot after writeTimeoutMs, is logged as 499, and stops upstream', async () => {
    const log: RequestLog[] = []
    const { server, open } = endless()
    const { url, slots } = await gatewayBefore(await listen(server), {
      writeTimeoutMs: 300,
      log: (entry) => log.push(entry),
    })
    const clients = await Promise.all([ask(url), ask(url)])
    for (const client of clients) client.pause().on('error', () => {})
    await vi.waitFor(() => expect(slots.stats().running).toBe(2))
    await vi.waitFor(() => expect(slots.stats().running).toBe(0), { timeout: 10_000 })
    await vi.waitFor(() => expect(open.size).toBe(0), { timeout: 10_000 })
    expect(log.map(({ status, code, phase }) => ({ status, code, phase }))).toEqual([
      { status: 499, code: 'TIMEOUT', phase: 'read' },
      { status: 499, code: 'TIMEOUT', phase: 'read' },
    ])
    // A third one is served at once.
    const third = await ask(url)
    expect(third.statusCode).toBe(200)
    third.destroy()
  })

  it('is cut off in the same way behind a web Response', async () => {
    const log: RequestLog[] = []
    const { server, open } = endless()
    const { gateway, slots } = await gatewayBefore(await listen(server), {
      writeTimeoutMs: 200,
      log: (entry) => log.push(entry),
    })
    const response = await gateway(
      new Request('http://gateway/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: chat(true),
      }),
    )
    const reader = response.body!.getReader()
    expect((await reader.read()).done).toBe(false)
    await vi.waitFor(() => expect(slots.stats().running).toBe(0), { timeout: 10_000 })
    await vi.waitFor(() => expect(open.size).toBe(0), { timeout: 10_000 })
    await expect(reader.read()).rejects.toMatchObject({ code: 'TIMEOUT', phase: 'read' })
    expect(log).toMatchObject([{ status: 499, code: 'TIMEOUT', phase: 'read' }])
  })
})
