import type { IncomingMessage, ServerResponse } from 'node:http'
import { ConfigError, warn } from '../../core/index.js'
import { toWebStream } from '../../streams/index.js'
import { CORE, type Gateway, type GatewayCore } from '../gateway.js'
import { writeEvents } from './event-writer.js'
import { bodyIsGone, collectBytes, type Incoming, type Received } from './message.js'
import { clientHasLeft, nodeFacts } from './web.js'

/** Node's request with what frameworks hang on it. */
type NodeRequest = IncomingMessage & { body?: unknown; originalUrl?: string }

/** Called for paths the gateway does not know. */
type Next = (error?: unknown) => void

/** Options of `toRequest()`. */
export interface ToRequestOptions {
  /** The body as a parser further out has made it; `undefined` when nobody has read it. */
  body?: unknown
}

/**
 * The gateway as a handler for node:http, Express (`app.use('/ai', toNode(gateway))`) and
 * everything that speaks `(req, res, next)`.
 *
 * It uses `req.body` when a parser has read the stream, and calls `next()` only for paths it does
 * not know.
 *
 * @example createServer(toNode(createGateway(blossom))).listen(8787)
 */
export function toNode(
  gateway: Gateway<never> | Gateway,
): (req: IncomingMessage, res: ServerResponse, next?: Next) => void {
  const core = (gateway as unknown as { [CORE]?: GatewayCore } | null)?.[CORE]
  if (core === undefined)
    throw new ConfigError('toNode: the first argument must be a gateway from createGateway().')
  return (req, res, next) => {
    if (next !== undefined && !core.knows(req.url ?? '/')) return next()
    // Nobody waits for this: what fails here must end the connection, not the process.
    serve(core, req, res).catch((error: unknown) => {
      warn(
        `toNode: an answer could not be sent: ${error instanceof Error ? error.name : typeof error}.`,
      )
      res.destroy()
    })
  }
}

async function serve(core: GatewayCore, req: NodeRequest, res: ServerResponse): Promise<void> {
  const { status, headers, cookies, body, events } = await core.handle(fromNode(req, res), {
    req,
    res,
  })
  // The client has gone, or somebody else has answered it.
  if (res.destroyed || res.writableEnded || res.headersSent) {
    events?.leave()
    return
  }
  res.statusCode = status
  for (const name in headers) res.setHeader(name, headers[name] as string)
  if (cookies?.length) res.appendHeader('set-cookie', cookies)
  if (events !== undefined) {
    writeEvents(events, res)
    return
  }
  if (body !== undefined && !res.hasHeader('content-length'))
    res.setHeader('content-length', Buffer.byteLength(body))
  res.end(body)
}

/**
 * A signal that tells when the client has gone before its answer was complete: `close` of the
 * response, never of the request.
 */
function leavingOf(res: ServerResponse): AbortController {
  const leaving = new AbortController()
  res.once('close', () => {
    if (!res.writableFinished) leaving.abort(clientHasLeft())
  })
  return leaving
}

function fromNode(req: NodeRequest, res: ServerResponse): Incoming {
  const leaving = leavingOf(res)
  let request: Request | undefined
  return {
    method: req.method ?? 'GET',
    target: req.url ?? '/',
    header(name) {
      const value = req.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    signal: leaving.signal,
    cut(reason) {
      leaving.abort(reason)
    },
    already: (name) => textOf(res.getHeader(name)),
    read: async (limit) =>
      bodyRead(req, req.body) ?? { bytes: await collectBytes(partsOf(req), limit) },
    get request() {
      request ??= bare(req, leaving.signal)
      return request
    },
  }
}

const textOf = (value: number | string | string[] | undefined): string | undefined =>
  value === undefined ? undefined : String(value)

/** What a parser that has read the stream has made of it; undefined while nobody has. */
function bodyRead(req: IncomingMessage, parsed: unknown): Received | undefined {
  if (parsed !== undefined) return { parsed }
  if (req.readableDidRead || req.readableEnded) throw bodyIsGone()
  return undefined
}

/**
 * The body's parts. Whoever stops before its end may still answer: the rest is thrown away, where
 * Node would break the connection.
 */
async function* partsOf(req: IncomingMessage): AsyncGenerator<Uint8Array, undefined, undefined> {
  try {
    for await (const part of req.iterator({ destroyOnReturn: false })) yield part as Uint8Array
  } finally {
    req.resume()
  }
  return undefined
}

/** The same as a web stream; nothing is read before it is asked for. */
function webBodyOf(req: IncomingMessage): ReadableStream {
  return toWebStream(partsOf(req))
}

/** Methods that a web `Request` refuses. */
const FORBIDDEN: ReadonlySet<string> = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A web `Request` without a body. Built so that `//host/path` stays a path. */
export function bare(req: IncomingMessage, signal: AbortSignal): Request {
  return webRequest(req, { signal })
}

function webRequest(req: IncomingMessage, init: RequestInit & { duplex?: 'half' }): Request {
  const headers = new Headers()
  for (const [name, value] of Object.entries(req.headers)) {
    if (value === undefined || name.startsWith(':')) continue
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, item)
  }
  const { method = 'GET', url = '/' } = req
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
  req: IncomingMessage,
  res: ServerResponse,
  options: ToRequestOptions = {},
): Request {
  const { signal } = leavingOf(res)
  const { method = 'GET', readableDidRead } = req
  const hasBody =
    method !== 'GET' && method !== 'HEAD' && !FORBIDDEN.has(method) && !readableDidRead
  const request = webRequest(req, {
    signal,
    ...(hasBody && { body: webBodyOf(req) as never, duplex: 'half' }),
  })
  nodeFacts.set(request, {
    target: req.url ?? '/',
    already: (name) => textOf(res.getHeader(name)),
    body: () => (readableDidRead ? bodyRead(req, options.body) : undefined),
  })
  return request
}
