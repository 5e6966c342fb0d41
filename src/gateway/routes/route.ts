import type { Blossom, ClientInternals } from '../../client/client.js'
import type { BlossomCallOptions } from '../../client/types.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { Finished } from '../server/finished.js'
import type { Incoming, Reply } from '../server/message.js'
import type { Dialect } from '../server/reply.js'
import type { EventDelivery } from '../server/written-events.js'
import type { StackView } from '../stack-view.js'
import type { RouteName } from './names.js'

/** Tools of the routes, the same for all requests. */
export interface RouteTools {
  readonly blossom: Blossom<readonly unknown[]>
  /** The client's internal methods. */
  readonly client: ClientInternals
  readonly options: CheckedGatewayOptions
  readonly view: StackView
  /** Called with each request that has ended, while the live page is open. */
  watcher: ((finished: Finished) => void) | undefined
  /** Whether the gateway is draining and rejects new calls. */
  isDraining(): boolean
}

/** One request as its route receives it. */
export interface RouteCall {
  readonly incoming: Incoming
  readonly requestId: string
  /** The part of the path at the route's `{id}`. */
  readonly id: string
  /** Reads the body as a JSON object, at most once. */
  json(): Promise<Record<string, unknown>>
  /** How events are delivered to this client. */
  readonly delivery: EventDelivery
  /**
   * Call options for the client: the caller's signal, tenant and priority, `meta`, and the caller's
   * own key if keys are forwarded.
   */
  readonly call: BlossomCallOptions & { readonly signal: AbortSignal }
}

export interface Route {
  readonly name: RouteName
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Path. One segment may be `{id}`, which matches any text without a slash. */
  readonly path: string
  /** Whether `{id}` at the end of the path may contain slashes. */
  readonly idHasSlashes?: boolean
  /** The kind of layer that the route needs to be served. */
  readonly needs?: 'queue' | 'retry' | 'breaker' | 'cache' | 'pool'
  readonly dialect: Dialect
  /** Whether bodies may contain images or audio; their limit is then `mediaBodyLimit`. */
  readonly carriesMedia?: boolean
  /** Whether the route calls upstream; it is then rejected while the gateway drains. */
  readonly spends: boolean
  /**
   * Whether the route skips the option `call`: health checks have no credentials, and clearing the
   * cache has its own token.
   */
  readonly anyone?: boolean
  /** Whether the OpenAPI document leaves the route out, such as for files of the docs page. */
  readonly undocumented?: boolean
  /** Status for timeouts. @default 504 */
  readonly timeoutStatus?: number
  handle(call: RouteCall, tools: RouteTools): Promise<Reply>
}

/** A route outside `/v1`. */
export const guideRoute = (
  method: Route['method'],
  path: string,
  route: Pick<Route, 'name' | 'handle'> & Partial<Route>,
): Route => ({ method, path, dialect: 'guide', spends: false, ...route })
