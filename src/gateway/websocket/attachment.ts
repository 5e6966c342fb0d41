import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'
import { ClosedError, ConfigError, isResponse, now, warn } from '../../core/index.js'
import type { Caller } from '../caller.js'
import type { GatewayCore } from '../gateway.js'
import { rejection } from '../rejection.js'
import { bearer, requestIdOf } from '../server/headers.js'
import type { Incoming, Reply } from '../server/message.js'
import { errorReply } from '../server/reply.js'
import { report } from '../server/request-log.js'
import { replyOf } from '../server/web.js'
import { ROUTE } from './generation.js'
import type { CheckedWebSocketOptions } from './options.js'
import { Session } from './session.js'
import { admitOrigin, fromUpgrade, refuseUpgrade } from './upgrade.js'

/** A gateway attached at one path of a server: its connections and pending upgrades. */
export class Attachment {
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
      // Older versions of ws ignore `closeTimeout`, and wait longer for clients that confirm the
      // close but keep their socket open.
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
        'attachWebSocket: the package ws is needed and cannot be loaded. Install it with `npm install ws`.',
        { cause },
      )
    }
  }

  async upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const startedAt = now()
    const incoming = fromUpgrade(req, socket)
    let caller: Caller = {}
    this.#pending++
    try {
      this.#admit(incoming)
      const identity = await this.#core.identify(incoming, { req, socket })
      if (isResponse(identity)) {
        return this.refuse(incoming, socket, {
          startedAt,
          caller,
          error: undefined,
          reply: await replyOf(identity),
        })
      }
      caller = identity
      await this.ready.catch(() => {})
      this.#open(incoming, caller, req, socket, head)
    } catch (error) {
      this.refuse(incoming, socket, { startedAt, caller, error })
    } finally {
      this.#pending--
    }
  }

  /** The checks before the option `call` runs. */
  #admit(incoming: Incoming): void {
    this.#admitNew()
    admitOrigin(incoming, this.#origins)
    const { maxConnections } = this.#options
    // Pending upgrades count, this one included.
    if (this.#sessions.size + this.#pending <= maxConnections) return
    const sentence = `Rejected: the maximum of ${maxConnections} connections is reached. Try again later.`
    throw rejection('QUEUE_FULL', 503, sentence, { retryable: true })
  }

  #admitNew(): void {
    if (this.#isClosed || this.#core.isDraining())
      throw new ClosedError('The server is shutting down.')
  }

  #open(
    incoming: ReturnType<typeof fromUpgrade>,
    caller: Caller,
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): void {
    const core = this.#core
    // The server may have closed, or the client disconnected, while `call` was running.
    this.#admitNew()
    if (incoming.signal.aborted) return
    if (this.#webSockets === undefined)
      throw rejection('CONFIG', 501, 'This server does not accept WebSockets.')
    const apiKey = core.options.forwardKeys ? bearer(incoming) : undefined
    incoming.settled()
    this.#webSockets.handleUpgrade(req, socket, head, (webSocket) => {
      this.#sessions.add(
        new Session(webSocket, { core, caller, apiKey }, this.#options, (session) => {
          this.#sessions.delete(session)
        }),
      )
    })
  }

  /** Answers as the HTTP routes do, and reports the request. */
  refuse(
    incoming: Incoming,
    socket: Duplex,
    about: { startedAt: number; caller: Caller; error: unknown; reply?: Reply; route?: string },
  ): void {
    const { startedAt, caller, error, route = ROUTE } = about
    const requestId = requestIdOf(incoming)
    const { errorDetail } = this.#core.options
    const reply =
      about.reply ??
      errorReply(error, {
        requestId,
        dialect: 'guide',
        errorDetail,
        usesCallersKey: false,
        retried: false,
      })
    reply.headers['x-request-id'] = requestId
    const left = incoming.signal.aborted
    refuseUpgrade(socket, reply)
    const { method } = incoming
    const { status } = reply
    report({ requestId, method, route, status, startedAt, caller, left, error }, this.#core)
  }

  /**
   * Ends the connections when the gateway closes: idle ones now, the others after their
   * generations.
   */
  async leave(finished: Promise<void>): Promise<void> {
    for (const session of this.#sessions) session.leave()
    await finished
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
