import type { Blossom, ClientInternals } from '../../client/client.js'
import type { BlossomCallOptions } from '../../client/types.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { Finished } from '../server/finished.js'
import type { Incoming, Reply } from '../server/message.js'
import type { Dialect } from '../server/reply.js'
import type { EventDelivery } from '../server/written-events.js'
import type { StackView } from '../stack-view.js'
import type { RouteName } from './names.js'

/** What a route works with; the same for all requests. */
export interface RouteTools {
  readonly blossom: Blossom<readonly unknown[]>
  /** The same client, as the gateway uses it beside its public methods. */
  readonly client: ClientInternals
  readonly options: CheckedGatewayOptions
  readonly view: StackView
  /** Hears of each request that has ended, while somebody watches. */
  watcher: ((finished: Finished) => void) | undefined
  /** Whether the gateway takes no new calls any more. */
  isDraining(): boolean
}

/** One request on its way through a route. */
export interface RouteCall {
  readonly incoming: Incoming
  readonly requestId: string
  /** What stands in the path where the route's has `{id}`. */
  readonly id: string
  /** Body as a JSON object, read at most once. */
  json(): Promise<Record<string, unknown>>
  /** How events are delivered to this client. */
  readonly delivery: EventDelivery
  /**
   * Options for the client: the caller's signal, tenant and priority, the notes, and the caller's own
   * key if keys are forwarded.
   */
  readonly call: BlossomCallOptions & { readonly signal: AbortSignal }
}

export interface Route {
  readonly name: RouteName
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** One part of it may be `{id}`, which stands for any text without a slash. */
  readonly path: string
  /** Whether what stands for `{id}` at the end of the path may have slashes in it. */
  readonly idHasSlashes?: boolean
  /** The kind of layer without which the route does not exist. */
  readonly needs?: 'queue' | 'retry' | 'breaker' | 'cache' | 'pool'
  readonly dialect: Dialect
  /** Whether its bodies may hold pictures or sound: then `mediaBodyLimit` is their limit. */
  readonly carriesMedia?: boolean
  /** Whether it makes calls upstream: such a route is closed while the gateway drains. */
  readonly spends: boolean
  /**
   * Answers everybody, without asking the option `call`: probes carry no credentials, and clearing
   * the cache has a token of its own.
   */
  readonly anyone?: boolean
  /** A file of the docs page: no business of the OpenAPI document's. */
  readonly undocumented?: boolean
  /** Status of a time-out, where it is not 504. */
  readonly timeoutStatus?: number
  handle(call: RouteCall, tools: RouteTools): Promise<Reply>
}

/** A route outside `/v1`. */
export const guideRoute = (
  method: Route['method'],
  path: string,
  route: Pick<Route, 'name' | 'handle'> & Partial<Route>,
): Route => ({ method, path, dialect: 'guide', spends: false, ...route })
