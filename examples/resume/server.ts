/**
 * Answers that survive the loss of their connection or server: a page that continues reading from
 * another server, and a chat for the AI SDK's `useChat({ resume: true })`.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Blossom } from 'blossom-stack'
import {
  blossomFromEnv,
  createGateway,
  type Gateway,
  gatewayOptionsFromEnv,
  type StreamsOptions,
  toNode,
  toRequest,
} from 'blossom-stack/http'
import { redisShared } from 'blossom-stack/redis'
import { startLocalBlossom } from 'blossom-stack/testing'
import { type Chats, chatRoutes } from './chat.js'

export interface Options {
  blossom: Blossom<readonly unknown[]>
  /** Shared state of the servers. Without it, a stream can be resumed only on its own server. */
  shared?: StreamsOptions['shared']
  /** The stream id of each chat's latest answer. All servers need it, so store it in a database. */
  chats: Chats
  /** Addresses of the other servers, for pages that are not behind a load balancer. */
  others?: readonly string[]
  port: number
  host: string
}

export interface Site {
  readonly server: Server
  readonly gateway: Gateway
  readonly url: string
  /** Stops the server. Its clients reconnect to the other servers. */
  handOver(timeoutMs?: number): Promise<void>
}

const FILES: Readonly<Record<string, readonly [name: string, type: string]>> = {
  '/': ['page.html', 'text/html; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
}

export async function start(options: Options): Promise<Site> {
  const { blossom, shared, chats, others = [], port, host } = options
  const gateway = createGateway(blossom, {
    ...gatewayOptionsFromEnv({ LOG_LEVEL: 'error' }),
    prefix: '/ai',
    streams: { shared },
    // Pages of the other servers may continue reading from this one.
    corsOrigins: others,
  })
  const serveGateway = toNode(gateway)
  const serveChat = chatRoutes(gateway, chats)
  /** Connections that send a resumable stream. */
  const streams = new Set<ServerResponse>()

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/'
    const isResumable = request.headers['x-stream-resumable'] === 'true'
    if (isResumable || /^\/(ai\/v1\/streams|api)\//.test(path)) {
      streams.add(response)
      response.once('close', () => streams.delete(response))
    }
    if (path.startsWith('/ai/')) return serveGateway(request, response)
    if (path.startsWith('/api/'))
      return send(await serveChat(toRequest(request, response)), response)
    const [name, type] = FILES[path] ?? []
    if (name === undefined || type === undefined) return void response.writeHead(404).end()
    // The page may only send requests to the servers.
    const policy = [
      "default-src 'self'",
      'img-src data:',
      `connect-src 'self' ${others.join(' ')}`.trim(),
    ]
    response.writeHead(200, { 'content-type': type, 'content-security-policy': policy.join('; ') })
    const text = await readFile(join(import.meta.dirname, name), 'utf8')
    response.end(text.replace('SERVERS', others.join(' ')))
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy())
  })
  await once(server.listen(port, host), 'listening')
  return {
    server,
    gateway,
    url: addressOf(server),
    async handOver(timeoutMs = 25_000) {
      gateway.drain()
      server.close()
      // Disconnect the clients now: they continue reading from other servers, while this one
      // finishes the answers.
      for (const response of streams) response.destroy()
      await gateway.close({ timeoutMs })
      server.closeAllConnections()
      await blossom.close()
    },
  }
}

function addressOf(server: Server): string {
  const address = server.address()
  return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
}

/** Sends a web `Response` with Node's response. */
async function send(answer: Response, response: ServerResponse): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  if (answer.body === null) return void response.end()
  await pipeline(Readable.fromWeb(answer.body as never), response)
}

// As a program: REDIS_URL=redis://127.0.0.1:6379 node --import tsx examples/resume/server.ts
if (process.argv[1] === import.meta.filename) {
  const { REDIS_URL: url, OTHERS = '', PORT, HOST } = process.env
  const hasKey = Boolean(process.env.POLLINATIONS_API_KEY)
  const local = hasKey ? undefined : await startLocalBlossom({ words: 200, chunkDelayMs: 100 })
  const blossom = blossomFromEnv(
    local ? { BLOSSOM_BASE_URL: local.url, POLLINATIONS_API_KEY: 'none' } : process.env,
  )
  const shared = url ? redisShared({ url }) : undefined
  const site = await start({
    blossom: blossom as Blossom<readonly unknown[]>,
    shared,
    chats: new Map(),
    others: OTHERS.split(' ').filter(Boolean),
    port: Number(PORT || 8787),
    host: HOST || '127.0.0.1',
  })
  console.log(`Listening on ${site.url}`)
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, async () => {
      await site.handOver()
      await shared?.close()
      await local?.close()
      process.exit(0)
    })
}
