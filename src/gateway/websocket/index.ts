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
   * Resolves once connections can be accepted; rejects with a `ConfigError` if the package `ws` is
   * missing. Upgrades wait for it.
   */
  readonly ready: Promise<void>
  /** Connections open now. */
  readonly connections: number
  /**
   * Detaches from the server and ends all connections with 1001, without waiting for their
   * generations as `gateway.close()` does. Resolves once all sockets are closed. Harmless twice.
   */
  close(): Promise<void>
}

/** The attachments of each server, to tell our listeners for upgrades from others. */
const attached = new WeakMap<UpgradableServer, Map<string, Attachment>>()

/**
 * Accepts WebSockets at `/ws/generate` of a server, for the gateway's client: with the gateway's
 * prefix, `call` (asked once, at the upgrade), log, drain and close. Needs the optional peer `ws`.
 * Upgrades of other paths are left alone, or refused with 404 if there is no other listener. A
 * request for another protocol (`Upgrade: h2c`) is then served over HTTP/1.1.
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
  const core = coreOf(server, gateway)
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
    // Node leaves the socket to the listeners: without another one it would hang.
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
