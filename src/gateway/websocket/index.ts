import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { ConfigError, now } from '../../core/index.js'
import { CORE, type Gateway, type GatewayCore } from '../gateway.js'
import { rejection } from '../rejection.js'
import { Attachment } from './attachment.js'
import { ROUTE } from './generation.js'
import { readWebSocketOptions, type WebSocketOptions } from './options.js'
import { fromUpgrade, isWebSocket, serveWithoutUpgrade } from './upgrade.js'

type UpgradeListener = (req: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * A server of node:http or node:https: from `createServer`, Fastify's `app.server` or Hono's
 * `serve()`.
 */
export interface UpgradableServer {
  /** Adds a listener. */
  on(event: 'upgrade', listener: UpgradeListener): unknown
  /** Removes a listener. */
  off(event: 'upgrade', listener: UpgradeListener): unknown
  /** Number of listeners. */
  listenerCount(event: 'upgrade'): number
  /** Hands the socket back to the server, for a request whose upgrade is ignored. */
  emit(event: 'connection' | 'secureConnection', socket: Duplex): unknown
}

/** The WebSockets of one server. */
export interface WebSocketHandle {
  /**
   * Resolves when connections can be accepted. Rejects with a `ConfigError` (`CONFIG`) if the
   * package `ws` is missing. Upgrades wait for it.
   */
  readonly ready: Promise<void>
  /** Number of open connections. */
  readonly connections: number
  /**
   * Detaches from the server and ends all connections with code 1001. Unlike `gateway.close()`, it
   * does not wait for running generations. Resolves when all sockets are closed; may be called
   * twice.
   */
  close(): Promise<void>
}

/** The attachments of each server, to distinguish this library's upgrade listeners from others. */
const attached = new WeakMap<UpgradableServer, Map<string, Attachment>>()

/**
 * Accepts WebSockets at `/ws/generate` of a server and answers them with the gateway's client. Uses
 * the gateway's prefix, log, drain, close and `call`, which runs once for each upgrade. Requires
 * the optional peer `ws`. If there are no other upgrade listeners, upgrades at other paths are
 * rejected with 404, and upgrades to other protocols (`Upgrade: h2c`) are served over HTTP/1.1.
 *
 * Messages are JSON objects, sent as text:
 *
 * - `{type: "generate", prompt, max_tokens?, temperature?, model?, id?}` is answered by `{type:
 *   "result", text, id?}`.
 * - `{type: "stream", …}` is answered by any number of `{type: "delta", text, id?}`, then `{type:
 *   "done", finish_reason, usage, id?}`.
 * - `{type: "cancel", id}` ends either, and is answered by `{type: "cancelled", id}`.
 * - `{type: "ping"}` is answered by `{type: "pong"}`.
 * - Errors are `{type: "error", message, code, requestId, errors?, retryAfter?, id?}`. The connection
 *   stays open, except after a message that is too large (1009) or not UTF-8 (1007), or after too
 *   many messages (1008).
 *
 * To shut down, call `server.close()` without awaiting it, then `gateway.close()`: the server
 * closes only after its WebSockets have closed.
 *
 * @throws ConfigError (`CONFIG`) if an option is invalid, or the path is already attached
 * @example
 * const server = createServer(toNode(gateway)).listen(8787)
 * attachWebSocket(server, gateway)
 */
export function attachWebSocket(
  server: UpgradableServer,
  gateway: Gateway<never> | Gateway,
  options?: WebSocketOptions,
): WebSocketHandle {
  const core = coreOf(server, gateway)
  const checked = readWebSocketOptions(options)
  const neighbours = attached.get(server) ?? new Map<string, Attachment>()
  attached.set(server, neighbours)
  const path = checked.path ?? `${core.options.prefix}${ROUTE}`
  if (neighbours.has(path))
    throw new ConfigError(
      `attachWebSocket: a gateway is already attached at "${path}" of this server.`,
    )
  const attachment = new Attachment(core, checked)
  neighbours.set(path, attachment)

  const onUpgrade: UpgradeListener = (req, socket, head) => {
    const [at = ''] = (req.url ?? '').split('?', 1)
    const forWebSocket = isWebSocket(req)
    if (forWebSocket && at === path) return void attachment.upgrade(req, socket, head)
    // Node leaves the socket to the upgrade listeners. If none handles it, it would stay open.
    const isOthers =
      server.listenerCount('upgrade') > neighbours.size || (forWebSocket && neighbours.has(at))
    const [first] = neighbours.values()
    if (isOthers || first !== attachment) return
    if (!forWebSocket) return serveWithoutUpgrade(server, req, socket, head)
    const error = rejection('NOT_FOUND', 404, 'There is no such route.')
    attachment.refuse(fromUpgrade(req, socket), socket, {
      startedAt: now(),
      caller: {},
      error,
      route: '(unknown)',
    })
  }
  server.on('upgrade', onUpgrade)
  const forget = core.onClose((finished) => attachment.leave(finished))

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

function coreOf(server: unknown, gateway: unknown): GatewayCore {
  if (typeof (server as Partial<UpgradableServer> | null)?.listenerCount !== 'function') {
    throw new ConfigError(
      'attachWebSocket: the first argument must be a server of node:http or node:https.',
    )
  }
  const core = (gateway as { [CORE]?: GatewayCore } | null)?.[CORE]
  if (core !== undefined) return core
  throw new ConfigError(
    'attachWebSocket: the second argument must be a gateway from createGateway().',
  )
}
