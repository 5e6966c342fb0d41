import type { Blossom, ClientInternals } from '../client/client.js'
import {
  ClosedError,
  type CloseOptions,
  ConfigError,
  check,
  hookFailed,
  isResponse,
  rules,
} from '../core/index.js'
import { type Caller, readCaller } from './caller.js'
import { Idempotency } from './idempotency/index.js'
import { liveRoutes } from './live/index.js'
import { openApiRoute } from './openapi/index.js'
import { type CheckedGatewayOptions, type GatewayOptions, readGatewayOptions } from './options.js'
import { rejection } from './rejection.js'
import { responsesRoute } from './responses/index.js'
import { batchRoutes } from './routes/batches/index.js'
import { docsRoutes } from './routes/docs.js'
import { metricsRoutes } from './routes/metrics.js'
import type { Route, RouteCall, RouteTools } from './routes/route.js'
import { Routing } from './routes/routing.js'
import { uploadRoutes } from './routes/uploads/index.js'
import { preflightHeaders, requestIdOf } from './server/headers.js'
import { InProgress } from './server/in-progress.js'
import { type Incoming, type Reply, readJson } from './server/message.js'
import { RequestScope } from './server/request-scope.js'
import { fromRequest, replyOf, toResponse } from './server/web.js'
import { StackView } from './stack-view.js'
import { ResumableStreams } from './streams/resumable-streams.js'
import { streamRoutes } from './streams/routes.js'

/** A web-standard function from `Request` to `Response` that serves all routes. */
export interface Gateway<Platform = unknown> {
  (request: Request, platform?: Platform): Promise<Response>
  /**
   * Starts draining: `/health/ready` answers 503 and new calls are rejected with `CLOSED`. Running
   * calls continue.
   */
  drain(): void
  /**
   * Drains, waits for running requests, aborts those left after `timeoutMs` (default 30,000) and
   * ends WebSockets with code 1001. Does not close the client.
   */
  close(options?: CloseOptions): Promise<void>
}

/** Key of the gateway's core, which this library's mounts call without creating web objects. */
export const CORE: unique symbol = Symbol.for('blossom-stack.gateway') as never

const ANY_METHOD: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

const methodsOf = (routes: readonly Route[]): readonly string[] =>
  routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))

/** Routes requests, identifies callers and keeps track of requests in progress. */
export class GatewayCore implements RouteTools {
  readonly blossom: Blossom<readonly unknown[]>
  readonly client: ClientInternals
  readonly options: CheckedGatewayOptions
  readonly view: StackView
  readonly routing: Routing
  readonly inProgress = new InProgress()
  /** Resumable streams, if the option `streams` turns them on. */
  readonly streams: ResumableStreams | undefined
  watcher: RouteTools['watcher']
  readonly #idempotency = new Idempotency()
  readonly #closers = new Set<(finished: Promise<void>) => Promise<void>>()
  #draining = false
  #closing: Promise<void> | undefined

  constructor(
    blossom: Blossom<readonly unknown[]>,
    options: GatewayOptions<never> | undefined,
    more: (core: GatewayCore) => readonly Route[],
  ) {
    if (typeof (blossom as Partial<Blossom> | null)?.request !== 'function')
      throw new ConfigError(
        'createGateway: the first argument must be a client from createBlossom().',
      )
    this.blossom = blossom
    this.client = blossom as unknown as ClientInternals
    this.options = readGatewayOptions(options)
    this.view = new StackView(blossom)
    this.streams = this.#streams()
    this.routing = new Routing(this.options, this.view, more(this))
  }

  isDraining(): boolean {
    return this.#draining
  }

  /** Whether the gateway has a route at this path, for any method. */
  knows(target: string): boolean {
    return this.routing.answersAt(this.routing.pathOf(target))
  }

  drain(): void {
    this.#draining = true
  }

  /**
   * Registers a function that `close()` calls and awaits. Its argument resolves when no request is
   * in progress any more. Returns a function that removes it.
   */
  onClose(end: (finished: Promise<void>) => Promise<void>): () => void {
    this.#closers.add(end)
    return () => this.#closers.delete(end)
  }

  async close(options?: CloseOptions): Promise<void> {
    const { timeoutMs } = check<{ timeoutMs: number }>('close', options, {
      timeoutMs: rules.duration(30_000, { min: 0 }) as rules.Rule<number>,
    })
    this.#closing ??= this.#shut(timeoutMs)
    return this.#closing
  }

  async #shut(timeoutMs: number): Promise<void> {
    this.drain()
    const finished = this.inProgress.finish(timeoutMs)
    await Promise.all([finished, ...[...this.#closers].map((end) => end(finished))])
    this.#idempotency.clear()
  }

  async handle(incoming: Incoming, platform: unknown): Promise<Reply> {
    const scope = new RequestScope(
      incoming,
      this,
      requestIdOf(incoming, this.#givenId(incoming, platform)),
    )
    const { route } = scope
    let reply: Reply
    try {
      reply =
        route === undefined ? this.#withoutRoute(scope) : await this.#run(route, scope, platform)
    } catch (error) {
      reply = scope.fail(error)
    }
    return scope.complete(reply)
  }

  /** The request id returned by the option `requestId`. */
  #givenId(incoming: Incoming, platform: unknown): unknown {
    const { requestId } = this.options
    if (requestId === undefined) return undefined
    try {
      return requestId(incoming.request, platform as never)
    } catch (error) {
      hookFailed('createGateway: requestId()', error)
      return undefined
    }
  }

  async #run(route: Route, scope: RequestScope, platform: unknown): Promise<Reply> {
    if (this.#draining && route.spends) throw new ClosedError('The server is shutting down.')
    const { incoming, requestId } = scope
    const identity = route.anyone ? {} : await this.identify(incoming, platform)
    if (isResponse(identity)) return replyOf(identity)
    let parsed: Promise<Record<string, unknown>> | undefined
    const json = () => (parsed ??= this.#json(incoming, platform, route))
    const handle = (call: RouteCall['call']) =>
      route.handle(
        {
          incoming,
          requestId,
          id: this.routing.idOf(route, incoming.target),
          call,
          json,
          delivery: scope.delivery,
        },
        this,
      )
    const call = scope.callFor(identity)
    const isResumable = route.spends && incoming.header('x-stream-resumable') === 'true'
    if (isResumable && this.streams) return this.streams.begin(call, handle)
    const key = incoming.header('idempotency-key')
    if (key === undefined || !this.#isRepeatable(route, incoming)) return handle(call)
    const { path } = route
    const joins = this.view.has('dedupe') && (call.cache ?? 'default') === 'default'
    const asked = { key, route: path, call, body: await json(), joins }
    return this.#idempotency.run(asked, () => handle(call))
  }

  /**
   * Whether a request may use an `Idempotency-Key`. Its answers are compared by their JSON body.
   */
  #isRepeatable({ method, spends }: Route, incoming: Incoming): boolean {
    const isJson = /^application\/json\b/i.test(incoming.header('content-type') ?? '')
    return method === 'POST' && spends && isJson && this.view.has('cache')
  }

  #streams(): ResumableStreams | undefined {
    const { streams, routes } = this.options
    // Without the route, streams could not be resumed.
    if (streams === undefined || routes?.includes('v1-streams') === false) return undefined
    const resumable = new ResumableStreams(streams, this.inProgress)
    this.onClose((finished) => resumable.close(finished))
    return resumable
  }

  #withoutRoute({ incoming, routes }: RequestScope): Reply {
    const path = this.routing.pathOf(incoming.target)
    const methods = methodsOf(routes)
    if (incoming.method === 'OPTIONS' && path !== undefined) {
      // Allow any method at an unknown path, so that scripts on other origins can read the 404.
      const allowed = methods.length === 0 ? ANY_METHOD : methods
      const headers = preflightHeaders(incoming, this.options.corsOrigins, allowed)
      if (headers) return { status: 204, headers }
    }
    if (routes.length === 0) throw rejection('NOT_FOUND', 404, this.routing.notFound(path))
    const allow = methods.join(', ')
    throw rejection('VALIDATION', 405, `Method not allowed. Use ${allow}.`, { headers: { allow } })
  }

  /** Identifies the caller with the option `call`; a `Response` rejects the request. */
  async identify(incoming: Incoming, platform: unknown): Promise<Caller | Response> {
    const { call } = this.options
    return call === undefined ? {} : readCaller(await call(incoming.request, platform as never))
  }

  async #json(
    incoming: Incoming,
    platform: unknown,
    { carriesMedia }: Route,
  ): Promise<Record<string, unknown>> {
    const { body, bodyLimit, mediaBodyLimit } = this.options
    const parsed = await body?.(incoming.request, platform as never)
    const limit = carriesMedia ? mediaBodyLimit : bodyLimit
    return readJson(incoming, limit, parsed === undefined ? undefined : { parsed })
  }
}

/**
 * Creates a gateway, a function from `Request` to `Response` that serves the `/generate` routes and
 * the OpenAI-compatible ones with one client.
 *
 * Every route runs the client's stack and adds no layers of its own. A route whose layer is not in
 * the stack is not served. Errors are answered with error responses.
 *
 * @throws ConfigError (`CONFIG`) if an option is invalid, or if `routes` names a route that cannot
 * be served
 * @example
 * const gateway = createGateway(blossom, { prefix: '/ai', call: (request) => ({ tenant: tenantOf(request) }) })
 * app.all('/ai/*', (c) => gateway(c.req.raw, c)) // Hono
 */
export function createGateway<Platform = unknown>(
  blossom: Blossom<readonly never[]> | Blossom<readonly unknown[]>,
  options?: GatewayOptions<Platform>,
): Gateway<Platform> {
  const core = new GatewayCore(
    blossom as Blossom<readonly unknown[]>,
    options as GatewayOptions<never> | undefined,
    (own) => [
      ...uploadRoutes,
      responsesRoute(own),
      ...(own.streams ? streamRoutes(own.streams) : []),
      ...batchRoutes(own),
      ...metricsRoutes(own),
      ...liveRoutes(own),
      openApiRoute(own),
      ...docsRoutes(own),
    ],
  )
  const gateway = async (request: Request, platform?: Platform): Promise<Response> => {
    const incoming = fromRequest(request)
    return toResponse(await core.handle(incoming, platform))
  }
  return Object.assign(gateway, {
    drain: () => core.drain(),
    close: (o?: CloseOptions) => core.close(o),
    [CORE]: core,
  })
}
