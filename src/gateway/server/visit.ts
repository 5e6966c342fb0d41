import type { BlossomCallOptions } from '../../client/types.js'
import { isStackError, Notes } from '../../core/index.js'
import type { Visitor } from '../options.js'
import type { Route, RouteTools } from '../routes/route.js'
import type { Routing } from '../routes/routing.js'
import type { Flights } from './flights.js'
import {
  bearer,
  cacheModeOf,
  corsHeaders,
  ownersFirst,
  securityHeaders,
  timingOf,
} from './headers.js'
import type { Incoming, Reply } from './message.js'
import { type Dialect, errorReply } from './reply.js'
import { readNotes, report } from './request-log.js'

/** What a visit needs of its gateway. */
interface Host extends RouteTools {
  readonly routing: Routing
  readonly flights: Flights
}

/** One request on its way through the gateway, from its arrival to the end of its answer. */
export class Visit {
  readonly incoming: Incoming
  readonly requestId: string
  /** The routes at its path, and the one among them that it asks for. */
  readonly routes: readonly Route[]
  readonly route: Route | undefined
  readonly #core: Host
  readonly #dialect: Dialect
  readonly #startedAt = performance.now()
  readonly #meta = new Notes()
  readonly #flight: { end(): boolean }
  #visitor: Visitor = {}
  #visitorsKey = false
  #error: unknown

  constructor(incoming: Incoming, core: Host, requestId: string) {
    const path = core.routing.pathOf(incoming.target)
    const method = incoming.method === 'HEAD' ? 'GET' : incoming.method
    this.#core = core
    this.incoming = incoming
    this.requestId = requestId
    this.routes = core.routing.at(path)
    this.route = this.routes.find((candidate) => candidate.method === method)
    this.#dialect = this.routes[0]?.dialect ?? (path?.startsWith('/v1/') ? 'openai' : 'guide')
    this.#flight = core.flights.begin(incoming)
  }

  /** The options of every call that is made for the visitor. */
  callFor(visitor: Visitor): BlossomCallOptions & { signal: AbortSignal } {
    const { tenant, priority } = visitor
    const { forwardKeys, clientCacheControl } = this.#core.options
    const apiKey = forwardKeys ? bearer(this.incoming) : undefined
    const heedsClient = clientCacheControl && this.#dialect === 'openai'
    const cache = visitor.cache ?? (heedsClient ? cacheModeOf(this.incoming) : undefined)
    this.#visitor = visitor
    this.#visitorsKey = apiKey !== undefined
    return {
      signal: this.incoming.signal,
      meta: this.#meta,
      ...(tenant !== undefined && { tenant }),
      ...(priority !== undefined && { priority }),
      ...(cache !== undefined && { cache }),
      ...(apiKey !== undefined && { apiKey }),
    }
  }

  /** Notes what went wrong after the head of a stream went out. */
  broke(error: unknown): void {
    this.#error = error
  }

  /** The answer for what went wrong before anything was sent. */
  fail(error: unknown): Reply {
    this.#error = error
    const { options, view } = this.#core
    return errorReply(error, {
      requestId: this.requestId,
      dialect: this.#dialect,
      errorDetail: options.errorDetail,
      visitorsKey: this.#visitorsKey,
      retried: view.has('retry'),
      status: isStackError(error, 'TIMEOUT') ? this.route?.timeoutStatus : undefined,
    })
  }

  /** The reply with the headers that every answer has. Its end, however it comes, is reported. */
  complete(reply: Reply): Reply {
    const { incoming } = this
    const headMs = performance.now() - this.#startedAt
    const streams = typeof reply.body === 'object' && Symbol.asyncIterator in reply.body
    this.#addHeaders(reply.headers, headMs, streams)
    const finish = (stopped = false) =>
      this.#finish(reply.status, streams ? headMs : undefined, stopped)
    if (streams && incoming.method !== 'HEAD') {
      // Whoever sends the stream may have stopped asking for more, so its end would never be seen.
      incoming.signal.addEventListener('abort', () => this.#hasLeft() && finish(), { once: true })
      return { ...reply, body: watched(reply.body as AsyncIterable<string>, finish) }
    }
    finish()
    return incoming.method === 'HEAD' ? { status: reply.status, headers: reply.headers } : reply
  }

  #addHeaders(headers: Record<string, string>, headMs: number, streams: boolean): void {
    const { options, view } = this.#core
    const { attempts, queuedMs, cache } = readNotes(this.#meta, (kind) => view.namesOf(kind))
    headers['x-request-id'] = this.requestId
    headers['x-process-time'] = (headMs / 1_000).toFixed(4)
    if (attempts !== undefined) headers['server-timing'] = timingOf(headMs, queuedMs ?? 0, streams)
    if (cache !== undefined) headers['x-cache'] = cache.toUpperCase()
    securityHeaders(headers)
    corsHeaders(this.incoming, options.corsOrigins, headers)
    ownersFirst(this.incoming, headers)
  }

  /** Whether the visitor has gone, and was not cut off by us. */
  #hasLeft(): boolean {
    const { signal } = this.incoming
    return signal.aborted && !isStackError(signal.reason, 'CLOSED')
  }

  /** @param stopped whether the stream's reader went away before its end */
  #finish(status: number, firstTokenMs: number | undefined, stopped: boolean): void {
    if (!this.#flight.end()) return
    // A framework may stop reading before it reports that the client has gone.
    const left = this.#hasLeft() || (stopped && !this.incoming.signal.aborted)
    report(
      {
        requestId: this.requestId,
        method: this.incoming.method,
        route: this.route?.path ?? '(unknown)',
        status,
        startedAt: this.#startedAt,
        firstTokenMs,
        meta: this.#meta,
        visitor: this.#visitor,
        left,
        error: left ? undefined : this.#error,
      },
      this.#core,
    )
  }
}

/** Reports when a streamed body has ended, and whether its reader stopped before. */
function watched(
  body: AsyncIterable<string>,
  finish: (stopped: boolean) => void,
): AsyncIterable<string> {
  const iterator = body[Symbol.asyncIterator]()
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const result = await iterator.next()
        if (result.done) finish(false)
        return result
      },
      async return() {
        finish(true)
        await iterator.return?.()
        return { done: true, value: undefined }
      },
    }),
  }
}
