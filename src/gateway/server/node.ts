import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { ConfigError, isError, warn } from '../../core/index.js'
import { toWebStream } from '../../streams/index.js'
import { CORE, type Gateway, type GatewayCore } from '../gateway.js'
import { writeEvents } from './event-writer.js'
import { bodyIsGone, collectBytes, type Incoming, limited, type Received } from './message.js'
import { writeParts } from './parts-body.js'
import { clientHasLeft, nodeFacts } from './web.js'

/** A request of node:http, or of node:http2 in the form that is compatible with it. */
type NodeRequest = IncomingMessage | Http2ServerRequest
type NodeResponse = ServerResponse | Http2ServerResponse

/** The same with what frameworks hang on it. */
type FrameworkRequest = NodeRequest & { body?: unknown; id?: unknown; originalUrl?: string }

/** Called for paths the gateway does not know. */
type Next = (error?: unknown) => void

/** Options of `toRequest()`. */
export interface ToRequestOptions {
  /** The body as a parser further out has made it; `undefined` when nobody has read it. */
  body?: unknown
}

/**
 * The gateway as a handler for node:http, Express (`app.use('/ai', toNode(gateway))`) and
 * everything that takes `(req, res, next)`.
 *
 * It uses `req.body` when a parser has read the stream, and calls `next()` only for paths it does
 * not know.
 *
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
    // Nobody waits for this: what fails here must end the connection, not the process.
    // Both kinds of response have the same methods; only their types differ.
    serve(core, req, res as ServerResponse, target).catch((error: unknown) => {
      warn(`toNode: an answer could not be sent: ${isError(error) ? error.name : typeof error}.`)
      res.destroy()
    })
  }
}

/**
 * Path and query as received. Frameworks take a mount's path off the URL, and some of them more:
 * Nest's `forRoutes('*splat')` leaves nothing of it. What they took is in `originalUrl`.
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
  // The client has gone, or somebody else has answered it.
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
 * A signal that aborts when the client leaves before its answer is complete: `close` of the
 * response, never of the request.
 */
function leavingOf(res: NodeResponse): AbortController {
  const leaving = new AbortController()
  res.once('close', () => {
    if (!wasSent(res)) leaving.abort(clientHasLeft())
  })
  return leaving
}

/**
 * Whether a closed response went out whole. Over HTTP/2 every closed one is `writableFinished`, so
 * there it counts who has ended it, and how.
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

/** The id that middleware has set: on the response as a header, or on the request. */
const idOf = (req: FrameworkRequest, res: NodeResponse): unknown =>
  res.getHeader('x-request-id') ?? req.id

const textOf = (value: number | string | string[] | undefined): string | undefined =>
  value === undefined ? undefined : String(value)

/** What a parser that has read the stream has made of it; undefined while nobody has. */
function bodyRead(req: NodeRequest, parsed: unknown): Received | undefined {
  const wasRead = req.readableDidRead || req.readableEnded
  // Parsers of Express 4 leave `{}` on a body of another type, which they have not read.
  if (parsed !== undefined && (wasRead || !isEmpty(parsed))) return { parsed }
  if (wasRead) throw bodyIsGone()
  return undefined
}

const isEmpty = (parsed: unknown): boolean =>
  typeof parsed === 'object' && parsed !== null && Object.keys(parsed).length === 0

/**
 * The body's parts. Whoever stops before its end may still answer: the rest is thrown away, where
 * Node would break the connection.
 */
async function* partsOf(req: NodeRequest): AsyncGenerator<Uint8Array, undefined, undefined> {
  try {
    for await (const part of req.iterator({ destroyOnReturn: false })) yield part as Uint8Array
  } finally {
    req.resume()
  }
  return undefined
}

/** The same as a web stream; nothing is read before it is asked for. */
function webBodyOf(req: NodeRequest): ReadableStream {
  return toWebStream(partsOf(req))
}

/** Methods that a web `Request` refuses. */
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
  // A target such as `*` or another server's address is no path of ours.
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
 * A web `Request` from Node's, for frameworks whose own answer should be used: Koa, Fastify.
 * Its signal is aborted when the client leaves before the answer is complete.
 *
 * @param options.body what a body parser has made of the body, when one has read it
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
