import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { toNodeReadable } from '../adapters/index.js'
import { CORE, type Gateway, type GatewayCore } from './gateway.js'
import { bodyIsGone, collectBytes, type Incoming, type Received, type Reply } from './message.js'
import { parsedBodies } from './web.js'

/** Node's request with what frameworks hang on it. */
type NodeRequest = IncomingMessage & { body?: unknown; originalUrl?: string }

/** Called for paths the gateway does not know. */
type Next = (error?: unknown) => void

export interface ToRequestOptions {
  /** The body as a parser further out has made it; `undefined` when nobody has read it. */
  body?: unknown
}

/**
 * The gateway as a handler for node:http, Express (`app.use('/ai', toNode(gateway))`) and everything that speaks `(req, res, next)`.
 *
 * It uses `req.body` when a parser has read the stream, and calls `next()` only for paths it does not know.
 *
 * @example createServer(toNode(createGateway(blossom))).listen(8787)
 */
export function toNode(gateway: Gateway<never> | Gateway): (req: IncomingMessage, res: ServerResponse, next?: Next) => void {
  const core = (gateway as unknown as { [CORE]: GatewayCore })[CORE]
  return (req, res, next) => {
    if (next !== undefined && !core.knows(req.url ?? '/')) return next()
    void serve(core, req, res)
  }
}

async function serve(core: GatewayCore, req: NodeRequest, res: ServerResponse): Promise<void> {
  const incoming = fromNode(req, res)
  const reply = await core.handle(incoming, { req, res })
  // Somebody who has gone gets no answer.
  if (incoming.signal.aborted && !res.writable) return void res.destroy()
  await send(reply, res)
}

/** Writes a reply; what a framework or middleware has set already stays. */
async function send({ status, headers, body }: Reply, res: ServerResponse): Promise<void> {
  if (res.destroyed || res.writableEnded) {
    if (typeof body === 'object' && Symbol.asyncIterator in body) await body[Symbol.asyncIterator]().return?.()
    return
  }
  res.statusCode = status
  for (const [name, value] of Object.entries(headers)) if (!KEPT.has(name) || !res.hasHeader(name)) res.setHeader(name, value)
  if (typeof body !== 'object' || body instanceof Uint8Array) {
    if (body !== undefined && !res.hasHeader('content-length')) res.setHeader('content-length', Buffer.byteLength(body))
    return void res.end(body)
  }
  res.flushHeaders()
  // A visitor who leaves ends the pipeline with an error that is nobody's news.
  await pipeline(toNodeReadable(body), res).catch(() => {})
}

/** CORS and security headers: the owner's own come first. */
const KEPT: ReadonlySet<string> = new Set([
  'x-content-type-options',
  'referrer-policy',
  'content-security-policy',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'vary',
])

/** A signal that tells when the visitor has gone before his answer was complete: `close` of the response, never of the request. */
function leavingOf(res: ServerResponse): AbortController {
  const leaving = new AbortController()
  res.once('close', () => {
    if (!res.writableFinished) leaving.abort(new DOMException('The visitor has left.', 'AbortError'))
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
    read: (limit) => readNode(req, limit),
    get request() {
      request ??= bare(req, leaving.signal)
      return request
    },
  }
}

async function readNode(req: NodeRequest, limit: number): Promise<Received> {
  // A parser that has read the stream leaves what it made of it in `body`.
  if (req.readableDidRead || req.readableEnded || req.body !== undefined) {
    if (req.body === undefined) throw bodyIsGone()
    return { parsed: req.body }
  }
  return { bytes: await collectBytes(req, limit) }
}

const METHODS_WITHOUT_REQUEST = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** A web `Request` without a body. Built so that `//host/path` stays a path. */
function bare(req: NodeRequest, signal: AbortSignal): Request {
  const { method, headers, url } = webParts(req)
  return new Request(url, { method: METHODS_WITHOUT_REQUEST.has(method) ? 'GET' : method, headers, signal })
}

function webParts(req: NodeRequest): { method: string; headers: Headers; url: string } {
  const headers = new Headers()
  for (const [name, value] of Object.entries(req.headers)) {
    if (value === undefined || name.startsWith(':')) continue
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, item)
  }
  const host = /^[\w.:[\]-]+$/.test(req.headers.host ?? '') ? req.headers.host : 'localhost'
  const scheme = (req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http'
  return { method: req.method ?? 'GET', headers, url: `${scheme}://${host}${req.url ?? '/'}` }
}

/**
 * A web `Request` from Node's, for frameworks whose own answer should be used: Koa, Fastify.
 * Its signal is aborted when the visitor leaves before the answer is complete.
 *
 * @param options.body what a body parser has made of the body, when one has read it
 * @example ctx.body = await gateway(toRequest(ctx.req, ctx.res, { body: ctx.request.body }), ctx) // Koa
 */
export function toRequest(req: IncomingMessage, res: ServerResponse, options: ToRequestOptions = {}): Request {
  const { signal } = leavingOf(res)
  const { method, headers, url } = webParts(req)
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const isRead = req.readableDidRead || req.readableEnded
  const init: RequestInit & { duplex?: 'half' } = { method, headers, signal }
  if (hasBody && !isRead) {
    init.body = Readable.toWeb(req) as unknown as NonNullable<RequestInit['body']>
    init.duplex = 'half'
  }
  const request = new Request(url, init)
  const { body } = options
  if (isRead && hasBody) parsedBodies.set(request, body === undefined ? GONE : { parsed: body })
  return request
}

/** Stands for a body that was read and not handed over: reading it says so. */
const GONE = {
  get parsed(): never {
    throw bodyIsGone()
  },
}
