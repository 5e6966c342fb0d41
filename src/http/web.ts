import { toWebStream } from '../adapters/index.js'
import { bodyIsGone, collectBytes, type Incoming, type Received, type Reply } from './message.js'

/** Bodies that came with a request made by `toRequest`: parsed already by the framework. */
export const parsedBodies = new WeakMap<Request, { readonly parsed: unknown }>()

/** A web `Request` as the gateway sees it. */
export function fromRequest(request: Request): Incoming {
  // The visitor's leaving is one signal, our cutting another; an own controller is both.
  const leaving = new AbortController()
  const onAbort = () => leaving.abort(request.signal.reason)
  if (request.signal.aborted) onAbort()
  else request.signal.addEventListener('abort', onAbort, { once: true })
  return {
    method: request.method,
    target: targetOf(request.url),
    header: (name) => request.headers.get(name) ?? undefined,
    signal: leaving.signal,
    cut: (reason) => leaving.abort(reason),
    read: (limit) => readBody(request, limit),
    request,
  }
}

/** Path and query as they stand in the URL. */
function targetOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  const target = start === -1 ? '/' : url.slice(start)
  const hash = target.indexOf('#')
  return hash === -1 ? target : target.slice(0, hash)
}

async function readBody(request: Request, limit: number): Promise<Received> {
  const given = parsedBodies.get(request)
  if (given !== undefined) return given
  if (request.bodyUsed) throw bodyIsGone()
  if (request.body === null) return { bytes: new Uint8Array() }
  return { bytes: await collectBytes(request.body as unknown as AsyncIterable<Uint8Array>, limit) }
}

export function toResponse(reply: Reply, incoming: Incoming): Response {
  const { status, headers, body } = reply
  if (typeof body !== 'object' || body instanceof Uint8Array) return new Response((body ?? null) as never, { status, headers })
  const stream = toWebStream(body)
  void incoming
  return new Response(stream as never, { status, headers })
}
