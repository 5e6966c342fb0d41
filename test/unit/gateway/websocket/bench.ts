import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type ClientOptions, WebSocket } from 'ws'
import { type BlossomLayer, createBlossom } from '../../../../src/client/client.js'
import type { WebSocketHandle, WebSocketOptions } from '../../../../src/gateway/index.js'
import {
  attachWebSocket,
  createGateway,
  type Gateway,
  type GatewayOptions,
  type RequestLog,
  toNode,
} from '../../../../src/gateway/index.js'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../../../src/testing/index.js'

export type Message = Record<string, unknown>

/** Who talks to a WebSocket in a test. */
export class Caller {
  readonly socket: WebSocket
  /** How the connection ended. */
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #messages: Message[] = []
  #tell: (() => void) | undefined
  #isClosed = false

  private constructor(url: string, options: ClientOptions) {
    this.socket = new WebSocket(url, options)
    this.socket.on('message', (data) => {
      this.#messages.push(JSON.parse(String(data)) as Message)
      this.#tell?.()
    })
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => {
        this.#isClosed = true
        this.#tell?.()
        resolve({ code, reason: String(reason) })
      })
    })
  }

  static async connect(url: string, options: ClientOptions = {}): Promise<Caller> {
    const caller = new Caller(url, options)
    await once(caller.socket, 'open')
    caller.socket.on('error', () => {})
    return caller
  }

  say(message: object | string): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  /** The next message. */
  async next(): Promise<Message> {
    while (this.#messages.length === 0) {
      if (this.#isClosed) throw new Error('The connection is closed, and nothing more was said.')
      await new Promise<void>((resolve) => {
        this.#tell = resolve
      })
    }
    return this.#messages.shift() as Message
  }

  async ask(message: object | string): Promise<Message> {
    this.say(message)
    return this.next()
  }

  /** The messages up to one of this type. */
  async until(type: string): Promise<Message[]> {
    const heard: Message[] = []
    do heard.push(await this.next())
    while (heard.at(-1)?.type !== type)
    return heard
  }
}

/** The answer to an upgrade that is refused. */
export async function refusal(url: string, options: ClientOptions = {}) {
  const socket = new WebSocket(url, options)
  socket.on('error', () => {})
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  const parts: Buffer[] = []
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part)
  return {
    status: response.statusCode,
    headers: response.headers,
    text: Buffer.concat(parts).toString(),
  }
}

export const urlOf = (server: { address(): unknown }, path: string) =>
  `ws://127.0.0.1:${(server.address() as AddressInfo).port}${path}`

export interface Bench extends AsyncDisposable {
  readonly upstream: LocalBlossom
  readonly gateway: Gateway
  readonly server: Server
  readonly sockets: WebSocketHandle
  readonly url: string
  /** What the gateway has logged. */
  readonly log: RequestLog[]
  /** What the gateway has told `onError`. */
  readonly errors: unknown[]
  connect(options?: ClientOptions): Promise<Caller>
}

/** A local upstream, a gateway over it, and a server that takes WebSockets. */
export async function bench({
  upstream: upstreamOptions = {},
  layers = [],
  gateway: gatewayOptions = {},
  sockets: socketOptions = {},
}: {
  upstream?: LocalBlossomOptions
  layers?: readonly BlossomLayer[]
  gateway?: GatewayOptions
  sockets?: WebSocketOptions
} = {}): Promise<Bench> {
  const upstream = await startLocalBlossom({ coalesce: false, ...upstreamOptions })
  const blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_the_servers_own', layers })
  const log: RequestLog[] = []
  const errors: unknown[] = []
  const gateway = createGateway(blossom as never, {
    log: (entry) => log.push(entry),
    onError: (error) => errors.push(error),
    ...gatewayOptions,
  })
  const server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
  const sockets = attachWebSocket(server, gateway, socketOptions)
  await once(server, 'listening')
  const url = urlOf(server, '/ws/generate')
  return {
    upstream,
    gateway,
    server,
    sockets,
    url,
    log,
    errors,
    connect: (options) => Caller.connect(url, options),
    async [Symbol.asyncDispose]() {
      server.close()
      await sockets.close()
      server.closeAllConnections()
      await blossom.close({ timeoutMs: 0 })
      await upstream.close()
    },
  }
}

/** A request for an upgrade as text. */
export const handshake = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
