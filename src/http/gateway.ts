import { randomUUID } from 'node:crypto'
import type { Blossom } from '../blossom/client.js'
import type { BlossomCallOptions } from '../blossom/types.js'
import { ClosedError, type CloseOptions, ConfigError, check, isStackError, rules, runHook, StackError } from '../core/index.js'
import { Flights } from './flights.js'
import { corsHeaders, milliseconds, preflightHeaders, securityHeaders } from './headers.js'
import { type Incoming, type Reply, readJson } from './message.js'
import { type CheckedGatewayOptions, type GatewayOptions, readGatewayOptions, type Visitor } from './options.js'
import { type Dialect, errorReply } from './reply.js'
import { readNotes } from './request-log.js'
import type { Route, RouteTools } from './route.js'
import { Routing } from './routing.js'
import { StackView } from './stack-view.js'
import { fromRequest, toResponse } from './web.js'

/** One web-standard function that serves all routes, in any framework. */
export interface Gateway<Platform = unknown> {
  (request: Request, platform?: Platform): Promise<Response>
  /** From now on readiness is 503 and new calls are refused with `CLOSED`; those under way go on. */
  drain(): void
  /** Drains, waits for what is under way, cuts the rest after `timeoutMs` (30 s) and ends WebSockets with 1001. It does not close the client. */
  close(options?: CloseOptions): Promise<void>
}

/** The gateway for the mounts of this library: requests and replies without web objects in between. */
export const CORE: unique symbol = Symbol.for('blossom-stack.gateway') as never

/** Serves one request, and is told who it is for. */
export class GatewayCore implements RouteTools {
  readonly blossom: Blossom<readonly unknown[]>
  readonly options: CheckedGatewayOptions
  readonly view: StackView
  readonly routing: Routing
  readonly flights = new Flights()
  #draining = false

  constructor(
    blossom: Blossom<readonly unknown[]>,
    options: GatewayOptions<never> | undefined,
    more: (core: GatewayCore) => readonly Route[],
  ) {
    if (typeof (blossom as Partial<Blossom> | null)?.request !== 'function')
      throw new ConfigError('createGateway: the first argument must be a client from createBlossom().')
    this.blossom = blossom
    this.options = readGatewayOptions(options)
    this.view = new StackView(blossom)
    this.routing = new Routing(this.options, this.view, more(this))
  }

  isDraining(): boolean {
    return this.#draining
  }

  /** Whether the path is one of ours, whatever the method. */
  knows(target: string): boolean {
    return this.routing.at(this.routing.pathOf(target)).length > 0
  }

  drain(): void {
    this.#draining = true
  }

  async close(options?: CloseOptions): Promise<void> {
    const { timeoutMs } = check<Required<CloseOptions>>('close', options, {
      timeoutMs: rules.duration(30_000, { min: 0 }) as rules.Rule<number>,
    })
    this.drain()
    await this.flights.land(timeoutMs)
  }

  async handle(incoming: Incoming, platform: unknown): Promise<Reply> {
    const startedAt = performance.now()
    const requestId = requestIdOf(incoming)
    const path = this.routing.pathOf(incoming.target)
    const routes = this.routing.at(path)
    const method = incoming.method === 'HEAD' ? 'GET' : incoming.method
    const route = routes.find((candidate) => candidate.method === method)
    const dialect: Dialect = routes[0]?.dialect ?? (path?.startsWith('/v1/') ? 'openai' : 'guide')
    const meta = new Map<string, unknown>()
    const flight = this.flights.begin(incoming)
    let visitor: Visitor = {}
    let visitorsKey = false
    let reply: Reply
    let failure: unknown
    try {
      if (route === undefined) reply = this.#withoutRoute(incoming, routes)
      else {
        if (this.#draining && route.spends) throw new ClosedError('The server is shutting down.')
        const identity = await this.identify(incoming, platform)
        if (identity instanceof Response) reply = await replyOf(identity)
        else {
          visitor = identity
          const apiKey = this.options.forwardKeys ? bearer(incoming) : undefined
          visitorsKey = apiKey !== undefined
          const call: BlossomCallOptions & { signal: AbortSignal } = {
            signal: incoming.signal,
            meta,
            ...(visitor.tenant !== undefined && { tenant: visitor.tenant }),
            ...(visitor.priority !== undefined && { priority: visitor.priority }),
            ...(apiKey !== undefined && { apiKey }),
          }
          reply = await route.handle({ incoming, requestId, call, json: () => this.#json(incoming, platform) }, this)
        }
      }
    } catch (error) {
      failure = error
      const { errorDetail } = this.options
      const timedOut = isStackError(error, 'TIMEOUT') ? route?.timeoutStatus : undefined
      reply = errorReply(error, { requestId, dialect, errorDetail, visitorsKey, retried: this.view.has('retry'), status: timedOut })
    }
    const headMs = performance.now() - startedAt
    const facts = readNotes(meta, (kind) => this.view.namesOf(kind))
    const streams = typeof reply.body === 'object' && Symbol.asyncIterator in reply.body
    const { headers } = reply
    headers['x-request-id'] = requestId
    headers['x-process-time'] = (headMs / 1_000).toFixed(4)
    if (facts.attempts !== undefined) headers['server-timing'] = timingOf(headMs, facts.queuedMs ?? 0, streams)
    if (facts.cache !== undefined) headers['x-cache'] = facts.cache === 'miss' ? 'MISS' : facts.cache === 'hit' ? 'HIT' : 'STALE'
    securityHeaders(headers)
    corsHeaders(incoming, this.options.corsOrigins, headers)

    const finish = (error?: unknown) => {
      if (!flight.end()) return
      const left = incoming.signal.aborted
      const status = left ? 499 : reply.status
      const failed = error ?? failure
      const shown = route?.path ?? '(unknown)'
      const { onError, log } = this.options
      if (failed !== undefined && !left && onError)
        runHook('createGateway: onError()', () => onError(failed, { requestId, route: shown, status }))
      if (!log) return
      const code = failed === undefined ? undefined : isStackError(failed) ? failed.code : 'INTERNAL'
      const { queuedMs, cache, attempts, upstreamRequestId } = readNotes(meta, (kind) => this.view.namesOf(kind))
      runHook('createGateway: log()', () =>
        log({
          time: new Date().toISOString(),
          level: status >= 500 || (streams && code !== undefined) ? 'error' : status >= 400 ? 'warn' : 'info',
          requestId,
          method: incoming.method,
          route: shown,
          status,
          durationMs: round(performance.now() - startedAt),
          ...(streams && { firstTokenMs: round(headMs) }),
          ...(queuedMs !== undefined && { queuedMs: round(queuedMs) }),
          ...(cache !== undefined && { cached: cache !== 'miss' }),
          ...(attempts !== undefined && { attempts }),
          ...(upstreamRequestId !== undefined && { upstreamRequestId }),
          ...(visitor.tenant !== undefined && { tenant: visitor.tenant }),
          ...(visitor.clientAddress !== undefined && { clientAddress: visitor.clientAddress }),
          ...(code !== undefined && { code }),
        }),
      )
    }
    if (incoming.method === 'HEAD') {
      finish()
      return { status: reply.status, headers }
    }
    if (!streams) {
      finish()
      return reply
    }
    return { ...reply, body: watched(reply.body as AsyncIterable<string>, finish) }
  }

  #withoutRoute(incoming: Incoming, routes: readonly Route[]): Reply {
    if (routes.length === 0) throw new StackError('There is no such route.', { code: 'NOT_FOUND', status: 404, refused: true })
    const methods = routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    if (incoming.method === 'OPTIONS') {
      const headers = preflightHeaders(incoming, this.options.corsOrigins, methods)
      if (headers) return { status: 204, headers }
    }
    const error = new StackError(`This route takes ${methods.join(', ')}.`, { code: 'VALIDATION', status: 405, refused: true })
    throw Object.assign(error, { replyHeaders: { allow: methods.join(', ') } })
  }

  /** Asks the owner who the visitor is; a `Response` refuses him. */
  async identify(incoming: Incoming, platform: unknown): Promise<Visitor | Response> {
    const { call } = this.options
    if (call === undefined) return {}
    return (await call(incoming.request, platform as never)) ?? {}
  }

  async #json(incoming: Incoming, platform: unknown): Promise<Record<string, unknown>> {
    const { body, bodyLimit } = this.options
    const parsed = body?.(incoming.request, platform as never)
    return readJson(incoming, bodyLimit, parsed === undefined ? undefined : { parsed })
  }
}

/** The visitor's own id, if it is one that can go into a log as it is. */
function requestIdOf(incoming: Incoming): string {
  const given = incoming.header('x-request-id')
  return given !== undefined && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID()
}

const bearer = (incoming: Incoming): string | undefined => /^Bearer ([\x21-\x7e]+)$/i.exec(incoming.header('authorization') ?? '')?.[1]

const round = (ms: number): number => Number(ms.toFixed(1))

/** @see https://www.w3.org/TR/server-timing/ */
function timingOf(headMs: number, queuedMs: number, streams: boolean): string {
  const upstream = `upstream;dur=${milliseconds(Math.max(0, headMs - queuedMs))}`
  return `queue;dur=${milliseconds(queuedMs)}, ${upstream}${streams ? `, first-token;dur=${milliseconds(headMs)}` : ''}`
}

/** A refusal by the owner's own function, as it is. */
async function replyOf(response: Response): Promise<Reply> {
  const body = new Uint8Array(await response.arrayBuffer())
  return { status: response.status, headers: Object.fromEntries(response.headers), ...(body.byteLength > 0 && { body }) }
}

/** Tells when a streamed body has ended, however it did. */
function watched(body: AsyncIterable<string>, finish: (error?: unknown) => void): AsyncIterable<string> {
  const iterator = body[Symbol.asyncIterator]()
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        try {
          const result = await iterator.next()
          if (result.done) finish()
          return result
        } catch (error) {
          finish(error)
          throw error
        }
      },
      async return() {
        finish()
        await iterator.return?.()
        return { done: true, value: undefined }
      },
    }),
  }
}

/**
 * The guide's routes and the OpenAI-compatible ones over one client, as a function from `Request` to `Response`.
 *
 * Every route runs the client's stack and adds no layer of its own; a route whose layer is missing does not exist. The gateway answers its own errors.
 *
 * @throws ConfigError for a wrong option, or a route that is named and cannot exist
 * @example
 * const gateway = createGateway(blossom, { prefix: '/ai', call: (request) => ({ tenant: tenantOf(request) }) })
 * app.all('/ai/*', (c) => gateway(c.req.raw, c)) // Hono
 */
export function createGateway<Platform = unknown>(
  blossom: Blossom<readonly never[]> | Blossom<readonly unknown[]>,
  options?: GatewayOptions<Platform>,
): Gateway<Platform> {
  const core = new GatewayCore(blossom as Blossom<readonly unknown[]>, options as GatewayOptions<never> | undefined, () => [])
  const gateway = async (request: Request, platform?: Platform): Promise<Response> => {
    const incoming = fromRequest(request)
    return toResponse(await core.handle(incoming, platform), incoming)
  }
  return Object.assign(gateway, { drain: () => core.drain(), close: (o?: CloseOptions) => core.close(o), [CORE]: core })
}
