import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import {
  type AddressInfo,
  createServer as createSocketServer,
  type Server,
  type Socket,
} from 'node:net'

/** One request as a bare server saw it. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A server on this machine that does what a test tells it, proper or not. */
export interface BareServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Requests that have arrived whole. */
  readonly requests: readonly Seen[]
  /** Connections made so far. */
  readonly connections: number
  /** Connections open now. */
  readonly open: number
  /** Resolves when no connection is open; rejects after `ms`. */
  idle(ms?: number): Promise<void>
}

/** Answers each request over HTTP, once its body has arrived. `nth` counts from 0. */
export async function httpServer(
  answer: (request: Seen, response: ServerResponse, nth: number) => unknown,
  port = 0,
): Promise<BareServer> {
  const requests: Seen[] = []
  const server = createServer(async (request, response) => {
    response.on('error', () => {})
    const parts: Buffer[] = []
    try {
      for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
    } catch {
      return
    }
    const { method = '', url: path = '', headers } = request
    const seen = { method, path, headers, body: Buffer.concat(parts).toString() }
    requests.push(seen)
    await answer(seen, response, requests.length - 1)
  })
  server.keepAliveTimeout = 0
  return started(server, requests, port)
}

/**
 * Speaks over bare sockets, for what no HTTP server would do: `talk` is called when a request has
 * arrived whole.
 */
export async function socketServer(
  talk: (socket: Socket, request: Seen, nth: number) => unknown,
  connected: (socket: Socket) => unknown = () => {},
): Promise<BareServer> {
  const requests: Seen[] = []
  const server = createSocketServer((socket) => {
    socket.setNoDelay(true)
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      for (;;) {
        const [request, rest] = takeRequest(text)
        if (request === undefined) return
        text = rest
        requests.push(request)
        talk(socket, request, requests.length - 1)
      }
    })
    connected(socket)
  })
  return started(server, requests, 0)
}

/** The first request in what has arrived, if it is there whole, and what follows it. */
export function takeRequest(text: string): readonly [Seen | undefined, string] {
  const end = text.indexOf('\r\n\r\n')
  const length = Number(/^content-length: (\d+)/im.exec(text.slice(0, end))?.[1] ?? 0)
  if (end < 0 || text.length < end + 4 + length) return [undefined, text]
  const [line = '', ...lines] = text.slice(0, end).split('\r\n')
  const [method = '', path = ''] = line.split(' ')
  const headers = Object.fromEntries(
    lines.map((one) => [
      one.split(':', 1)[0]?.toLowerCase(),
      one.slice(one.indexOf(':') + 1).trim(),
    ]),
  )
  return [
    { method, path, headers, body: text.slice(end + 4, end + 4 + length) },
    text.slice(end + 4 + length),
  ]
}

async function started(
  server: Server,
  requests: readonly Seen[],
  port: number,
): Promise<BareServer> {
  const sockets = new Set<Socket>()
  const waiting = new Set<() => void>()
  let connections = 0
  server.on('connection', (socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0) for (const tell of waiting) tell()
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const bound = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    requests,
    get connections() {
      return connections
    },
    get open() {
      return sockets.size
    },
    idle: (ms = 1_000) =>
      new Promise((resolve, reject) => {
        if (sockets.size === 0) return resolve()
        const timer = setTimeout(
          () => reject(new Error(`${sockets.size} connections are still open after ${ms} ms.`)),
          ms,
        )
        waiting.add(() => {
          clearTimeout(timer)
          resolve()
        })
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A port of this machine on which nobody listens. */
export async function closedPort(): Promise<number> {
  const server = await socketServer(() => {})
  await server[Symbol.asyncDispose]()
  return server.port
}

/** Writes this again and again, as fast as it is taken. */
export function flood(response: ServerResponse, block: string | Buffer): void {
  while (!response.destroyed)
    if (!response.write(block)) return void response.once('drain', () => flood(response, block))
}
