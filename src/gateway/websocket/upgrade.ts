import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { StackError } from '../../core/index.js'
import { securityHeaders } from '../server/headers.js'
import type { Incoming, Reply } from '../server/message.js'
import { bare } from '../server/node.js'
import { clientHasLeft } from '../server/web.js'

/**
 * A request for an upgrade as the gateway sees it. Its signal aborts if the client disconnects
 * before the upgrade.
 */
export function fromUpgrade(req: IncomingMessage, socket: Duplex): Incoming & { settled(): void } {
  const leaving = new AbortController()
  const onClose = () => leaving.abort(clientHasLeft())
  // Node removes its own listener, and without one a reset would end the process.
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
 * Refuses pages of other origins. Browsers send the origin, and only this check keeps any page from
 * connecting in the name of whoever opens it.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-10.2
 */
export function admitOrigin(incoming: Incoming, origins: readonly string[]): void {
  // The second name is from the draft that ws still supports.
  const origin = incoming.header('origin') ?? incoming.header('sec-websocket-origin')
  if (
    origin === undefined ||
    origins.includes('*') ||
    origins.includes(origin) ||
    isOwn(origin, incoming.header('host'))
  )
    return
  throw new StackError('Pages of this origin may not connect.', {
    code: 'FORBIDDEN',
    status: 403,
    refused: true,
  })
}

/** The scheme is not compared: it is unknown behind a proxy that terminates TLS. */
function isOwn(origin: string, host: string | undefined): boolean {
  const page = URL.canParse(origin) ? new URL(origin) : undefined
  if (page === undefined || page.host === '' || host === undefined) return false
  const own = `${page.protocol}//${host}`
  return URL.canParse(own) && new URL(own).host === page.host
}

/** Headers that this function sets, or that belong to one connection. */
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
