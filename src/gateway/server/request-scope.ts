import type { BlossomCallOptions } from '../../client/types.js'
import { isStackError, Notes, now } from '../../core/index.js'
import type { Caller } from '../caller.js'
import type { Route, RouteTools } from '../routes/route.js'
import type { Routing } from '../routes/routing.js'
import {
  bearer,
  cacheModeOf,
  corsHeaders,
  isPrintable,
  operatorFirst,
  securityHeaders,
  timingOf,
} from './headers.js'
import type { InProgress } from './in-progress.js'
import { limitHeaders } from './limit-headers.js'
import type { Incoming, Reply } from './message.js'
import { type Dialect, errorReply } from './reply.js'
import { readNotes, report } from './request-log.js'
import type { EventDelivery } from './written-events.js'

/** The parts of the gateway that a request uses. */
interface Host extends RouteTools {
  readonly routing: Routing
  readonly inProgress: InProgress
}

/** One request in the gateway, from its arrival to the end of its answer. */
export class RequestScope {
  readonly incoming: Incoming
  readonly requestId: string
  /** The routes at the request's path; `route` is the one for its method. */
  readonly routes: readonly Route[]
  readonly route: Route | undefined
  readonly #core: Host
  readonly #dialect: Dialect
  readonly #startedAt = now()
  readonly #meta = new Notes()
  readonly #entry: { end(): boolean }
  #caller: Caller = {}
  #isCallersKey = false
  #error: unknown
  /** Whether the client did not read its answer in time. */
  #isTooSlow = false

  constructor(incoming: Incoming, core: Host, requestId: string) {
    const path = core.routing.pathOf(incoming.target)
    const method = incoming.method === 'HEAD' ? 'GET' : incoming.method
    this.#core = core
    this.incoming = incoming
    this.requestId = requestId
    this.routes = core.routing.at(path)
    this.route = this.routes.find((candidate) => candidate.method === method)
    this.#dialect = this.routes[0]?.dialect ?? (path?.startsWith('/v1/') ? 'openai' : 'guide')
    this.#entry = core.inProgress.begin(incoming)
  }

  /** The call options for this caller. */
  callFor(caller: Caller): BlossomCallOptions & { signal: AbortSignal } {
    const { tenant, priority } = caller
    const { forwardKeys, clientCacheControl } = this.#core.options
    const apiKey = forwardKeys ? this.#ownKey : undefined
    const heedsClient = clientCacheControl && this.#dialect !== 'guide'
    const cache = caller.cache ?? (heedsClient ? cacheModeOf(this.incoming) : undefined)
    this.#caller = caller
    this.#isCallersKey = apiKey !== undefined
    return {
      signal: this.incoming.signal,
      meta: this.#meta,
      ...(tenant !== undefined && { tenant }),
      ...(priority !== undefined && { priority }),
      ...(cache !== undefined && { cache }),
      ...(apiKey !== undefined && { apiKey }),
    }
  }

  /** The caller's own key. Clients of Anthropic's API send it in `x-api-key`. */
  get #ownKey(): string | undefined {
    const { incoming } = this
    const given = this.#dialect === 'anthropic' ? incoming.header('x-api-key') : undefined
    return given !== undefined && isPrintable(given) ? given : bearer(incoming)
  }

  /** How events are delivered to this client. */
  get delivery(): EventDelivery {
    const { heartbeatMs, writeTimeoutMs } = this.#core.options
    return {
      heartbeatMs,
      writeTimeoutMs,
      cut: (error) => {
        this.#isTooSlow = true
        this.#error = error
      },
    }
  }

  /** The reply for an error, if nothing has been sent yet. */
  fail(error: unknown): Reply {
    this.#error = error
    const { options, view } = this.#core
    return errorReply(error, {
      requestId: this.requestId,
      dialect: this.#dialect,
      errorDetail: options.errorDetail,
      usesCallersKey: this.#isCallersKey,
      retried: view.has('retry'),
      status: isStackError(error, 'TIMEOUT') ? this.route?.timeoutStatus : undefined,
    })
  }

  /** Adds the headers that every answer has. Reports the request when the answer ends. */
  complete(reply: Reply): Reply {
    const { incoming } = this
    const headMs = now() - this.#startedAt
    const { events } = reply
    const body = events ?? reply.parts
    this.#addHeaders(reply.headers, headMs, events !== undefined)
    if (body === undefined || incoming.method === 'HEAD') {
      body?.leave()
      this.#finish(reply.status, undefined)
      return incoming.method === 'HEAD' ? { status: reply.status, headers: reply.headers } : reply
    }
    body.onEnd(({ error, outcome }) => {
      this.#error ??= error
      this.#finish(reply.status, events && headMs, outcome === 'left')
    })
    // The framework may have stopped reading the body, and would then never notice the end.
    incoming.signal.addEventListener('abort', () => this.#hasLeft() && body.leave(), {
      once: true,
    })
    return reply
  }

  #addHeaders(headers: Record<string, string>, headMs: number, streams: boolean): void {
    const { options, view } = this.#core
    const { attempts, queuedMs, cache, model, limits } = readNotes(this.#meta, (kind) =>
      view.namesOf(kind),
    )
    headers['x-request-id'] = this.requestId
    headers['x-process-time'] = (headMs / 1_000).toFixed(4)
    if (attempts !== undefined) headers['server-timing'] = timingOf(headMs, queuedMs ?? 0, streams)
    if (cache !== undefined) headers['x-cache'] = cache.toUpperCase()
    if (model !== undefined && isPrintable(model)) headers['x-blossom-model'] = model
    limitHeaders(limits, headers)
    securityHeaders(headers)
    corsHeaders(this.incoming, options.corsOrigins, headers)
    operatorFirst(this.incoming, headers)
  }

  /** Whether the client disconnected, as opposed to being aborted by a close. */
  #hasLeft(): boolean {
    const { signal } = this.incoming
    return signal.aborted && !isStackError(signal.reason, 'CLOSED')
  }

  #finish(status: number, firstTokenMs: number | undefined, stopped = false): void {
    if (!this.#entry.end()) return
    // A framework may stop reading before it reports the disconnect.
    const hasStopped = stopped && !this.incoming.signal.aborted
    const left = (this.#hasLeft() || hasStopped) && !this.#isTooSlow
    report(
      {
        requestId: this.requestId,
        method: this.incoming.method,
        route: this.route?.path ?? '(unknown)',
        status: this.#isTooSlow ? 499 : status,
        startedAt: this.#startedAt,
        firstTokenMs,
        meta: this.#meta,
        caller: this.#caller,
        left,
        error: left ? undefined : this.#error,
      },
      this.#core,
    )
  }
}
