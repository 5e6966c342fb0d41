import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { ConfigError, isError, warn } from '../../core/index.js'
import { toWebStream } from '../../streams/index.js'
import { CORE, type Gateway, type GatewayCore } from '../gateway.js'
import { writeEvents } from './event-writer.js'
import { bodyIsGone, collectBytes, type Incoming, limited, type Received } from './message.js'
import { writeParts } from './parts-body.js'
import { clientHasLeft, nodeFacts } from './web.js'

/** A request of node:http, or of the compatibility API of node:http2. */
type NodeRequest = IncomingMessage | Http2ServerRequest
type NodeResponse = ServerResponse | Http2ServerResponse

/** A Node request with the properties that frameworks add. */
type FrameworkRequest = NodeRequest & { body?: unknown; id?: unknown; originalUrl?: string }

/** Called for paths without a route. */
type Next = (error?: unknown) => void

/** Options of `toRequest()`. */
export interface ToRequestOptions {
  /** The body as parsed by middleware. @default the body has not been read */
  body?: unknown
}

/**
 * Converts a gateway to a handler for node:http, Express (`app.use('/ai', toNode(gateway))`) and
 * anything else that takes `(req, res, next)`.
 *
 * The handler uses `req.body` if a parser has read the body, and calls `next()` only for paths
 * without a route.
 *
 * @throws ConfigError (`CONFIG`) if the argument is not a gateway
 * @example createServer(toNode(createGateway(blossom))).listen(8787)
 */
export function toNode(
  gateway: Gateway<never> | Gateway,
): (req: NodeRequest, res: NodeResponse, next?: Next) => void {
  const core = (gateway as unknown as { [CORE]?: GatewayCore } | null)?.[CORE]
  if (core === undefined)
    throw new ConfigError('toNode: the first argument must be a gateway from createGateway().')
  return (req, res, next) => {
    const target = targetOf(core, req)
    if (next !== undefined && !core.knows(target)) return next()
    // An unhandled rejection would end the process; end only the connection.
    // The responses of http and http2 have the same methods; only their types differ.
    serve(core, req, res as ServerResponse, target).catch((error: unknown) => {
      warn(`toNode: an answer could not be sent: ${isError(error) ? error.name : typeof error}.`)
      res.destroy()
    })
  }
}

/**
 * Path and query as received. Frameworks remove the path of a mount from `url`, and Nest's
 * `forRoutes('*splat')` removes all of it. `originalUrl` has the whole path.
 */
function targetOf(core: GatewayCore, { url = '/', originalUrl }: FrameworkRequest): string {
  return !core.knows(url) && originalUrl !== undefined && core.knows(originalUrl)
    ? originalUrl
    : url
}

async function serve(
  core: GatewayCore,
  req: FrameworkRequest,
  res: ServerResponse,
  target: string,
): Promise<void> {
  const incoming = fromNode(req, res, target)
  const reply = await core.handle(incoming, { req, res })
  const { status, headers, cookies, body, events, parts } = reply
  // The client has disconnected, or other code has answered.
  if (res.destroyed || res.writableEnded || res.headersSent) {
    events?.leave()
    parts?.leave()
    return
  }
  res.statusCode = status
  for (const name in headers) res.setHeader(name, headers[name] as string)
  if (cookies?.length) res.appendHeader('set-cookie', cookies)
  if (events !== undefined) {
    writeEvents(events, res)
    return
  }
  if (parts !== undefined) return writeParts(parts, res)
  if (body !== undefined && !res.hasHeader('content-length'))
    res.setHeader('content-length', Buffer.byteLength(body))
  res.end(body)
}

/**
 * A controller that aborts if the client disconnects before its answer is complete. It listens to
 * `close` of the response, as that of the request comes too early.
 */
function leavingOf(res: NodeResponse): AbortController {
  const leaving = new AbortController()
  res.once('close', () => {
    if (!wasSent(res)) leaving.abort(clientHasLeft())
  })
  return leaving
}

/**
 * Whether a closed response was sent completely. Over HTTP/2 every closed response is
 * `writableFinished`, so the stream's reset code is checked instead.
 */
function wasSent(res: NodeResponse): boolean {
  const { rstCode } = ('stream' in res && res.stream) || {}
  return rstCode === undefined
    ? res.writableFinished
    : res.writableEnded && rstCode === constants.NGHTTP2_NO_ERROR
}

function fromNode(req: FrameworkRequest, res: NodeResponse, target: string): Incoming {
  const leaving = leavingOf(res)
  let request: Request | undefined
  return {
    method: req.method ?? 'GET',
    target,
    header(name) {
      const value = req.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    address: req.socket.remoteAddress,
    signal: leaving.signal,
    cut(reason) {
      leaving.abort(reason)
    },
    get givenId() {
      return idOf(req, res)
    },
    already: (name) => textOf(res.getHeader(name)),
    read: async (limit) =>
      bodyRead(req, req.body) ?? { bytes: await collectBytes(partsOf(req), limit) },
    parts(limit) {
      if (bodyRead(req, req.body) !== undefined) throw bodyIsGone()
      return limited(partsOf(req), limit)
    },
    get request() {
      request ??= bare(req, leaving.signal, target)
      return request
    },
  }
}

/** The request id that middleware has set, as a header of the response or on the request. */
const idOf = (req: FrameworkRequest, res: NodeResponse): unknown =>
  res.getHeader('x-request-id') ?? req.id

const textOf = (value: number | string | string[] | undefined): string | undefined =>
  value === undefined ? undefined : String(value)

/** The body as parsed by middleware; `undefined` if it has not been read. */
function bodyRead(req: NodeRequest, parsed: unknown): Received | undefined {
  const wasRead = req.readableDidRead || req.readableEnded
  // Express 4 sets `{}` for content types that its parsers do not read.
  if (parsed !== undefined && (wasRead || !isEmpty(parsed))) return { parsed }
  if (wasRead) throw bodyIsGone()
  return undefined
}

const isEmpty = (parsed: unknown): boolean =>
  typeof parsed === 'object' && parsed !== null && Object.keys(parsed).length === 0

/**
 * The parts of the body. If the reader stops early, the rest is discarded, so that the request can
 * still be answered; Node would close the connection.
 */
async function* partsOf(req: NodeRequest): AsyncGenerator<Uint8Array, undefined, undefined> {
  try {
    for await (const part of req.iterator({ destroyOnReturn: false })) yield part as Uint8Array
  } finally {
    req.resume()
  }
  return undefined
}

/** The body as a web stream, which reads only when pulled. */
function webBodyOf(req: NodeRequest): ReadableStream {
  return toWebStream(partsOf(req))
}

/** Methods that a web `Request` does not accept. */
const FORBIDDEN: ReadonlySet<string> = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A web `Request` without a body. Built so that `//host/path` stays a path. */
export function bare(req: NodeRequest, signal: AbortSignal, target = req.url): Request {
  return webRequest(req, target, { signal })
}

function webRequest(req: NodeRequest, url = '/', init: RequestInit & { duplex?: 'half' }): Request {
  const headers = new Headers()
  for (const [name, value] of Object.entries(req.headers)) {
    if (value === undefined || name.startsWith(':')) continue
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, item)
  }
  const { method = 'GET' } = req
  const host = /^[\w.:[\]-]+$/.test(req.headers.host ?? '') ? req.headers.host : 'localhost'
  const scheme = (req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http'
  // The target may be `*` or another server's address, which has no route.
  const address = [
    `${scheme}://${host}${url.startsWith('/') ? url : '/'}`,
    `${scheme}://localhost/`,
  ].find((one) => URL.canParse(one))
  const request = new Request(address as string, {
    ...init,
    method: FORBIDDEN.has(method) ? 'GET' : method,
    headers,
  })
  return FORBIDDEN.has(method)
    ? Object.defineProperty(request, 'method', { value: method })
    : request
}

/**
 * Converts a Node request to a web `Request`, for frameworks that send the answer themselves, such
 * as Koa and Fastify. Its signal aborts if the client disconnects before the answer is complete.
 *
 * @param options.body the parsed body, if a body parser has read it
 * @example ctx.body = await gateway(toRequest(ctx.req, ctx.res, { body: ctx.request.body }), ctx) // Koa
 */
export function toRequest(
  req: NodeRequest,
  res: NodeResponse,
  options: ToRequestOptions = {},
): Request {
  const { signal } = leavingOf(res)
  const { method = 'GET', readableDidRead } = req
  const hasBody =
    method !== 'GET' && method !== 'HEAD' && !FORBIDDEN.has(method) && !readableDidRead
  const request = webRequest(req, req.url, {
    signal,
    ...(hasBody && { body: webBodyOf(req) as never, duplex: 'half' }),
  })
  nodeFacts.set(request, {
    target: req.url ?? '/',
    givenId: idOf(req, res),
    already: (name) => textOf(res.getHeader(name)),
    body: () => bodyRead(req, options.body),
  })
  return request
}
