import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Timer } from '../../core/index.js'
import { rejection } from '../rejection.js'
import { securityHeaders } from '../server/headers.js'
import type { Incoming, Reply } from '../server/message.js'
import { bare } from '../server/node.js'
import { clientHasLeft } from '../server/web.js'

/**
 * Converts an upgrade request. Its signal aborts if the client disconnects before the upgrade.
 */
export function fromUpgrade(req: IncomingMessage, socket: Duplex): Incoming & { settled(): void } {
  const leaving = new AbortController()
  const onClose = () => leaving.abort(clientHasLeft())
  // Node removes its own listener. Without one, a connection reset would end the process.
  const onError = () => {}
  socket.on('error', onError).once('close', onClose)
  let request: Request | undefined
  return {
    method: req.method ?? 'GET',
    target: req.url ?? '/',
    header(name) {
      const value = req.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    signal: leaving.signal,
    cut: (reason) => leaving.abort(reason),
    read: async () => ({ bytes: new Uint8Array() }),
    async *parts() {},
    get request() {
      request ??= bare(req, leaving.signal)
      return request
    },
    /** From here on the WebSocket owns the socket. */
    settled() {
      socket.off('error', onError).off('close', onClose)
    },
  }
}

/**
 * Rejects pages of other origins. CORS does not apply to WebSockets, so without this check any page
 * could connect with the cookies of the person who has it open.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-10.2
 */
export function admitOrigin(incoming: Incoming, origins: readonly string[]): void {
  // `sec-websocket-origin` is from an old draft that ws still supports.
  const origin = incoming.header('origin') ?? incoming.header('sec-websocket-origin')
  if (
    origin === undefined ||
    origins.includes('*') ||
    origins.includes(origin) ||
    isOwn(origin, incoming.header('host'))
  )
    return
  throw rejection('FORBIDDEN', 403, 'Connections from this origin are not allowed.')
}

/** The scheme is not compared: it is unknown behind a proxy that terminates TLS. */
function isOwn(origin: string, host: string | undefined): boolean {
  const page = URL.canParse(origin) ? new URL(origin) : undefined
  if (page === undefined || page.host === '' || host === undefined) return false
  const own = `${page.protocol}//${host}`
  return URL.canParse(own) && new URL(own).host === page.host
}

/** Headers that `refuseUpgrade` sets itself, or that apply to one connection only. */
const OURS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'upgrade',
])

/** Answers a request for an upgrade like any other request, and ends the connection. */
export function refuseUpgrade(socket: Duplex, { status, headers, body = '' }: Reply): void {
  if (socket.destroyed || !socket.writable) return void socket.destroy()
  securityHeaders(headers)
  const bytes = Buffer.from(body as string | Uint8Array)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'connection: close',
    `content-length: ${bytes.byteLength}`,
  ]
  for (const [name, value] of Object.entries(headers))
    if (!OURS.has(name)) lines.push(`${name}: ${value}`)
  socket.once('finish', () => socket.destroy())
  socket.end(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]))
}

export const isWebSocket = (req: IncomingMessage): boolean =>
  req.headers.upgrade?.trim().toLowerCase() === 'websocket'

/** The event by which a Node server accepts a connection. */
export interface Accepting {
  emit(event: 'connection' | 'secureConnection', socket: Duplex): unknown
}

/**
 * Serves a request over HTTP/1.1 and ignores its `Upgrade` header, such as the `Upgrade: h2c` of
 * Java's HTTP client. Node has already parsed the request and would not answer it. So the request
 * is written back to the front of the socket without that header, and the server accepts the
 * connection again.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.8
 */
export function serveWithoutUpgrade(
  server: Accepting,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  // Node 26 also parses the body, which older versions leave on the socket.
  if (!req.complete || req.readableLength > 0) return serveParsed(server, req, socket)
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`]
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const [name = '', given = ''] = req.rawHeaders.slice(i, i + 2)
    const value = withoutWish(name.toLowerCase(), given)
    if (value !== '') lines.push(`${name}: ${value}`)
  }
  const request = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  socket.unshift(Buffer.concat([request, head]))
  beginAnew(server, socket)
}

/** Time limit for receiving the body, as Node's default `requestTimeout`. Milliseconds. */
const BODY_MS = 300_000

/** Serves a request that Node has parsed with its body. The connection ends after the answer. */
function serveParsed(server: Accepting, req: IncomingMessage, socket: Connection): void {
  if (socket._httpMessage) {
    socket._httpMessage.once('finish', () => serveParsed(server, req, socket))
    return
  }
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(socket as Socket)
  socket.once('error', () => socket.destroy())
  // Node's own `requestTimeout` does not apply to this socket.
  const limit = new Timer(BODY_MS, () => socket.destroy()).unref()
  req.once('end', () => limit.stop())
  socket.once('close', () => limit.stop())
  res.once('finish', () => {
    res.detachSocket(socket as Socket)
    socket.end()
  })
  const all = server as { emit(event: string, ...about: object[]): unknown }
  all.emit('request', req, res)
}

/** Node's internal field on a socket: the answer to an earlier request that is still being sent. */
type Connection = Duplex & { encrypted?: boolean; _httpMessage?: ServerResponse | null }

/** Lets the server accept the connection again, after the answers to earlier requests. */
function beginAnew(server: Accepting, socket: Connection): void {
  if (socket._httpMessage) {
    socket._httpMessage.once('finish', () => beginAnew(server, socket))
    return
  }
  server.emit(socket.encrypted ? 'secureConnection' : 'connection', socket)
}

/** The value of a header without its upgrade tokens; empty if nothing else is left. */
function withoutWish(name: string, value: string): string {
  if (name === 'upgrade' || name === 'http2-settings') return ''
  if (name !== 'connection') return value
  const others = value
    .split(',')
    .map((option) => option.trim())
    .filter((option) => !/^(upgrade|http2-settings)$/i.test(option))
  return others.join(', ')
}
