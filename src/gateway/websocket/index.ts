import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'
import { ClosedError, ConfigError, StackError, warn } from '../../core/index.js'
import { CORE, type Gateway, type GatewayCore } from '../gateway.js'
import type { Visitor } from '../options.js'
import { bearer, requestIdOf } from '../server/headers.js'
import type { Incoming, Reply } from '../server/message.js'
import { errorReply } from '../server/reply.js'
import { report } from '../server/request-log.js'
import { replyOf } from '../server/web.js'
import { ROUTE } from './generation.js'
import {
  type CheckedWebSocketOptions,
  readWebSocketOptions,
  type WebSocketOptions,
} from './options.js'
import { Session } from './session.js'
import {
  admitOrigin,
  fromUpgrade,
  isWebSocket,
  refuseUpgrade,
  serveWithoutUpgrade,
} from './upgrade.js'

type UpgradeListener = (req: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * A server of node:http or node:https, whoever has made it: `createServer`, Fastify's `app.server`,
 * Hono's `serve()`.
 */
export interface UpgradableServer {
  /** Adds a listener. */
  on(event: 'upgrade', listener: UpgradeListener): unknown
  /** Removes it. */
  off(event: 'upgrade', listener: UpgradeListener): unknown
  /** How many there are. */
  listenerCount(event: 'upgrade'): number
  /** Begins a connection anew, for a request whose upgrade nobody takes. */
  emit(event: 'connection' | 'secureConnection', socket: Duplex): unknown
}

/** The WebSockets of one server. */
export interface WebSocketHandle {
  /**
   * Resolves when connections can be taken; rejects with a `ConfigError` when the package `ws` is
   * missing. Upgrades wait by themselves.
   */
  readonly ready: Promise<void>
  /** Connections open now. */
  readonly connections: number
  /**
   * Leaves the server and ends all connections with 1001 at once, what runs on them included;
   * `gateway.close()` waits for it instead. Resolves when all sockets are closed. Harmless twice.
   */
  close(): Promise<void>
}

/** All that is attached to a server, to tell other listeners for upgrades from our own. */
const attached = new WeakMap<UpgradableServer, Map<string, Attachment>>()

class Attachment {
  readonly ready: Promise<void>
  readonly #core: GatewayCore
  readonly #options: CheckedWebSocketOptions
  readonly #origins: readonly string[]
  readonly #sessions = new Set<Session>()
  #webSockets: WebSocketServer | undefined
  #pending = 0
  #isClosed = false

  constructor(core: GatewayCore, options: CheckedWebSocketOptions) {
    this.#core = core
    this.#options = options
    this.#origins = options.origins ?? core.options.corsOrigins
    this.ready = this.#load()
    this.ready.catch((error: ConfigError) => warn(error.message))
  }

  get connections(): number {
    return this.#sessions.size
  }

  async #load(): Promise<void> {
    const { maxPayload, closeTimeoutMs: closeTimeout } = this.#options
    try {
      const { WebSocketServer } = await import('ws')
      // Versions that do not know `closeTimeout` wait longer for a visitor whose bye has come and
      // whose socket stays open.
      const settings = {
        noServer: true,
        clientTracking: false,
        perMessageDeflate: false,
        maxPayload,
        closeTimeout,
      }
      this.#webSockets = new WebSocketServer(settings)
    } catch (cause) {
      throw new ConfigError(
        'attachWebSocket: the package ws is needed and cannot be loaded; install it with `npm install ws`.',
        { cause },
      )
    }
  }

  async upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const startedAt = performance.now()
    const incoming = fromUpgrade(req, socket)
    let visitor: Visitor = {}
    this.#pending++
    try {
      this.#admit(incoming)
      const identity = await this.#core.identify(incoming, { req, socket })
      if (identity instanceof Response) {
        return this.refuse(incoming, socket, {
          startedAt,
          visitor,
          error: undefined,
          reply: await replyOf(identity),
        })
      }
      visitor = identity
      await this.ready.catch(() => {})
      this.#open(incoming, visitor, req, socket, head)
    } catch (error) {
      this.refuse(incoming, socket, { startedAt, visitor, error })
    } finally {
      this.#pending--
    }
  }

  /** What can be said before the owner is asked. */
  #admit(incoming: Incoming): void {
    this.#admitNew()
    admitOrigin(incoming, this.#origins)
    const { maxConnections } = this.#options
    // Who is being let in counts, this one included.
    if (this.#sessions.size + this.#pending <= maxConnections) return
    const sentence = `${maxConnections} connections are open already, so this one was refused.`
    throw new StackError(sentence, {
      code: 'QUEUE_FULL',
      status: 503,
      retryable: true,
      refused: true,
    })
  }

  #admitNew(): void {
    if (this.#isClosed || this.#core.isDraining())
      throw new ClosedError('The server is shutting down.')
  }

  #open(
    incoming: ReturnType<typeof fromUpgrade>,
    visitor: Visitor,
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): void {
    const core = this.#core
    // A lot may have happened while the owner was asked.
    this.#admitNew()
    if (incoming.signal.aborted) return
    if (this.#webSockets === undefined) {
      throw new StackError('This server takes no WebSockets.', {
        code: 'CONFIG',
        status: 501,
        refused: true,
      })
    }
    const apiKey = core.options.forwardKeys ? bearer(incoming) : undefined
    incoming.settled()
    this.#webSockets.handleUpgrade(req, socket, head, (webSocket) => {
      this.#sessions.add(
        new Session(webSocket, { core, visitor, apiKey }, this.#options, (session) => {
          this.#sessions.delete(session)
        }),
      )
    })
  }

  /** Answers as the HTTP routes do, and tells the owner. */
  refuse(
    incoming: Incoming,
    socket: Duplex,
    about: { startedAt: number; visitor: Visitor; error: unknown; reply?: Reply; route?: string },
  ): void {
    const { startedAt, visitor, error, route = ROUTE } = about
    const requestId = requestIdOf(incoming)
    const { errorDetail } = this.#core.options
    const reply =
      about.reply ??
      errorReply(error, {
        requestId,
        dialect: 'guide',
        errorDetail,
        visitorsKey: false,
        retried: false,
      })
    reply.headers['x-request-id'] = requestId
    const left = incoming.signal.aborted
    refuseUpgrade(socket, reply)
    const { method } = incoming
    const { status } = reply
    report(
      {
        requestId,
        method,
        route,
        status,
        startedAt,
        firstTokenMs: undefined,
        meta: new Map(),
        visitor,
        left,
        error,
      },
      this.#core,
    )
  }

  /**
   * Ends the connections with the gateway: idle ones now, the others when what runs on them has
   * ended.
   */
  async leave(landed: Promise<void>): Promise<void> {
    for (const session of this.#sessions) session.leave()
    await landed
    await this.end()
  }

  async end(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.end()))
  }

  close(): Promise<void> {
    this.#isClosed = true
    return this.end()
  }
}

/**
 * Takes WebSockets at `/ws/generate` of a server, over the gateway's client: with its prefix, its
 * `call` (asked once, at the upgrade), its log, and its drain and close. Needs the optional peer
 * `ws`. Upgrades of other paths are left alone, or refused with 404 when nobody else listens for
 * them. A request for another protocol (`Upgrade: h2c`) is then served over HTTP/1.1.
 *
 * Messages are JSON objects in text. `{type: "generate", prompt, max_tokens?, temperature?, model?,
 * id?}` is answered by `{type: "result", text, id?}`; `stream` in its place by any number of
 * `{type: "delta", text, id?}` and then `{type: "done", finish_reason, usage, id?}`; `{type:
 * "cancel", id}` ends either, which is answered by `{type: "cancelled", id}`; `{type: "ping"}` by
 * `{type: "pong"}`. What fails is `{type: "error", message, code, requestId, errors?, retryAfter?,
 * id?}`, and the connection goes on; a message that is too large ends it with 1009, one that is not
 * UTF-8 with 1007, too many with 1008.
 *
 * Close the server without waiting for it before `gateway.close()`: it is closed only when its
 * WebSockets are.
 *
 * @throws ConfigError for a wrong option, or a path that is attached already
 * @example
 * const server = createServer(toNode(gateway)).listen(8787)
 * attachWebSocket(server, gateway)
 */
export function attachWebSocket(
  server: UpgradableServer,
  gateway: Gateway<never> | Gateway,
  options?: WebSocketOptions,
): WebSocketHandle {
  if (typeof (server as Partial<UpgradableServer> | null)?.listenerCount !== 'function') {
    throw new ConfigError(
      'attachWebSocket: the first argument must be a server of node:http or node:https.',
    )
  }
  const core = (gateway as { [CORE]?: GatewayCore } | null)?.[CORE]
  if (core === undefined)
    throw new ConfigError(
      'attachWebSocket: the second argument must be a gateway from createGateway().',
    )
  const checked = readWebSocketOptions(options)
  const neighbours = attached.get(server) ?? new Map<string, Attachment>()
  attached.set(server, neighbours)
  const path = checked.path ?? `${core.options.prefix}${ROUTE}`
  if (neighbours.has(path))
    throw new ConfigError(`attachWebSocket: "${path}" of this server is attached already.`)
  const attachment = new Attachment(core, checked)
  neighbours.set(path, attachment)

  const onUpgrade: UpgradeListener = (req, socket, head) => {
    const [at = ''] = (req.url ?? '').split('?', 1)
    const forWebSocket = isWebSocket(req)
    if (forWebSocket && at === path) return void attachment.upgrade(req, socket, head)
    // Node leaves the socket to the listeners, so it would hang where nobody takes it.
    const isOthers =
      server.listenerCount('upgrade') > neighbours.size || (forWebSocket && neighbours.has(at))
    const [first] = neighbours.values()
    if (isOthers || first !== attachment) return
    if (!forWebSocket) return serveWithoutUpgrade(server, req, socket, head)
    const error = new StackError('There is no such route.', {
      code: 'NOT_FOUND',
      status: 404,
      refused: true,
    })
    attachment.refuse(fromUpgrade(req, socket), socket, {
      startedAt: performance.now(),
      visitor: {},
      error,
      route: '(unknown)',
    })
  }
  server.on('upgrade', onUpgrade)
  const forget = core.onClose((landed) => attachment.leave(landed))

  let closing: Promise<void> | undefined
  return {
    ready: attachment.ready,
    get connections() {
      return attachment.connections
    },
    close() {
      if (closing === undefined) {
        server.off('upgrade', onUpgrade)
        neighbours.delete(path)
        forget()
        closing = attachment.close()
      }
      return closing
    },
  }
}
