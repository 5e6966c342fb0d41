import { toWebStream } from '../../streams/index.js'
import { eventStream } from './event-response.js'
import {
  bodyIsGone,
  collectBytes,
  type Incoming,
  limited,
  type Received,
  type Reply,
} from './message.js'

/** Details of a Node request that a web `Request` cannot hold, recorded by `toRequest`. */
export interface NodeFacts {
  /** Path and query as received, which a URL would normalize. */
  readonly target: string
  readonly givenId: unknown
  already(name: string): string | undefined
  /** The body, if a parser has read it. */
  body(): Received | undefined
}

export const nodeFacts = new WeakMap<Request, NodeFacts>()

/**
 * Converts a web `Request`.
 * @throws TypeError for anything else, most often a Node request
 */
export function fromRequest(request: Request): Incoming {
  if (typeof (request as Partial<Request> | undefined)?.headers?.get !== 'function')
    throw new TypeError(
      'The gateway takes a web Request. For Node requests, wrap it: toNode(gateway).',
    )
  const facts = nodeFacts.get(request)
  // One controller for both reasons: the client disconnects, or the gateway aborts the request.
  const leaving = new AbortController()
  const onAbort = () => leaving.abort(clientHasLeft())
  if (request.signal.aborted) onAbort()
  else request.signal.addEventListener('abort', onAbort, { once: true })
  return {
    method: request.method,
    target: facts?.target ?? targetOf(request.url),
    header: (name) => request.headers.get(name) ?? undefined,
    signal: leaving.signal,
    cut: (reason) => leaving.abort(reason),
    givenId: facts?.givenId,
    already: (name) => facts?.already(name),
    read: async (limit) => facts?.body() ?? readBody(request, limit),
    parts: (limit) => partsOf(request, facts, limit),
    request,
  }
}

/** The abort reason of a call whose client has disconnected. */
export const clientHasLeft = () => new DOMException('The client has disconnected.', 'AbortError')

/** Path and query of the URL, unchanged. */
function targetOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  const target = start === -1 ? '/' : url.slice(start)
  const hash = target.indexOf('#')
  return hash === -1 ? target : target.slice(0, hash)
}

async function readBody(request: Request, limit: number): Promise<Received> {
  if (request.bodyUsed) throw bodyIsGone()
  // Some servers have a light `Request`, which reading `body` would turn into a full one.
  if (Number(request.headers.get('content-length') ?? Number.POSITIVE_INFINITY) <= limit)
    return { bytes: new Uint8Array(await request.arrayBuffer()) }
  if (request.body === null) return { bytes: new Uint8Array() }
  return { bytes: await collectBytes(request.body as unknown as AsyncIterable<Uint8Array>, limit) }
}

async function* partsOf(request: Request, facts: NodeFacts | undefined, limit: number) {
  if (request.bodyUsed || facts?.body() !== undefined) throw bodyIsGone()
  if (request.body !== null)
    yield* limited(request.body as unknown as AsyncIterable<Uint8Array>, limit)
}

export function toResponse({
  status,
  headers,
  cookies = [],
  body,
  events,
  parts,
}: Reply): Response {
  const sent =
    events !== undefined
      ? eventStream(events)
      : parts !== undefined
        ? toWebStream(parts)
        : (body ?? null)
  // A plain record instead of `Headers`, for which some servers have a faster path.
  const fields =
    cookies.length === 0
      ? headers
      : [...Object.entries(headers), ...cookies.map((cookie) => ['set-cookie', cookie])]
  return new Response(sent as never, { status, headers: fields as Record<string, string> })
}

/** The reply for a `Response` returned by the option `call`, unchanged. */
export async function replyOf(response: Response): Promise<Reply> {
  const body = new Uint8Array(await response.arrayBuffer())
  const headers = Object.fromEntries(response.headers)
  const cookies = response.headers.getSetCookie()
  delete headers['set-cookie']
  return { status: response.status, headers, cookies, ...(body.byteLength > 0 && { body }) }
}
