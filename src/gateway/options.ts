import type { Batches } from '../batches/index.js'
import { isBatches } from '../batches/internals.js'
import { ConfigError, check, rules } from '../core/index.js'
import type { Caller } from './caller.js'
import type { RequestLog } from './log-entry.js'
import {
  type CheckedMetricsOptions,
  checkMetricsRoute,
  type MetricsOptions,
  metricsRule,
  readMetricsOptions,
} from './metrics.js'
import { ROUTE_NAMES, type RouteName } from './routes/names.js'
import {
  type CheckedStreamsOptions,
  checkStreamRoutes,
  readStreamsOptions,
  type StreamsOptions,
  streamsRule,
} from './streams/options.js'
import { tokenRule } from './token.js'

/** Options of `createGateway()`. */
export interface GatewayOptions<Platform = unknown> {
  /**
   * Path before every route, as it arrives: empty, or such as `/ai`. Leave it empty if your
   * framework removes the prefix.
   * @default ''
   */
  prefix?: string | undefined
  /** Prefix as callers see it, for the OpenAPI document and the docs. @default `prefix` */
  publicPath?: string | undefined
  /** Names of the routes to serve. @default all whose layer is in the stack */
  routes?: readonly RouteName[] | undefined
  /**
   * Identifies the caller. Put your authentication here: a returned `Response` rejects the request.
   * The `Request` it receives has no body. `platform` depends on the mount: `{ req, res }` in Node,
   * `ctx` in Koa, `c` in Hono; `{ req, socket }` for a WebSocket.
   * @default none: every request is accepted, without a tenant
   */
  call?:
    | ((
        request: Request,
        platform: Platform,
      ) => Caller | Response | undefined | Promise<Caller | Response | undefined>)
    | undefined
  /**
   * Returns the parsed body if an earlier middleware has read it, or `undefined` to let the gateway
   * read it.
   * @default the gateway reads it
   */
  body?: ((request: Request, platform: Platform) => unknown) | undefined
  /**
   * Returns the request id of your framework, such as `(_, c) => c.get('requestId')` in Hono. Not
   * needed for a middleware that sets `req.id` or the response header `x-request-id`. The id may
   * have 256 printable ASCII characters without spaces; other values are ignored.
   * @default the client's `x-request-id`, or a new one
   */
  requestId?: ((request: Request, platform: Platform) => string | number | undefined) | undefined
  /**
   * Called for every failed request. If it throws, a warning is emitted and the response is not
   * affected.
   * @default none
   */
  onError?:
    | ((error: unknown, about: { requestId: string; route: string; status: number }) => void)
    | undefined
  /**
   * Called for every finished request; `console.log(JSON.stringify(entry))` writes a log of JSON
   * lines. Entries contain no prompts and no keys.
   * @default none
   */
  log?: ((entry: RequestLog) => void) | undefined
  /**
   * Bearer token for the live page, for clearing the cache, and for batches without a tenant. At
   * least 16 characters.
   * @default none: these are not available
   */
  adminToken?: string | undefined
  /**
   * Batches from `createBatches()`, served at `/v1/files` and `/v1/batches`. Each tenant sees only
   * its own; callers without a tenant need the admin token. Requires the package `@fastify/busboy`.
   * @default none
   */
  batches?: Batches | undefined
  /**
   * Serves `GET /metrics` for Prometheus. With `{ token }`, only to requests with that Bearer
   * token; with `true`, to anyone.
   * @default false
   */
  metrics?: boolean | MetricsOptions | undefined
  /** Maximum size of a request body, in bytes, 1 to 1 GiB. @default 1048576 (1 MiB) */
  bodyLimit?: number | undefined
  /**
   * Maximum size of a request body that may contain images or audio, in bytes, 1 to 1 GiB. It
   * applies to `/v1/chat/completions`, `/v1/responses` and `/v1/messages`.
   * @default 20971520 (20 MiB), or `bodyLimit` if that is larger
   */
  mediaBodyLimit?: number | undefined
  /**
   * Maximum size of a form with files, in bytes, 1 to 1 GiB. It applies to `/v1/images/edits` and
   * `/v1/audio/transcriptions`. The form is streamed to upstream as it arrives.
   * @default 26214400 (25 MiB)
   */
  uploadLimit?: number | undefined
  /**
   * Maximum size of an upload to `/v1/files`, in bytes, 1 to 1 GiB.
   * @default 104857600 (100 MiB)
   */
  batchUploadLimit?: number | undefined
  /**
   * Origins of web pages that may call the gateway, such as `https://app.example`; `*` for all. CORS
   * credentials are never allowed.
   * @default none
   */
  corsOrigins?: readonly string[] | undefined
  /**
   * Models that callers may use; others are rejected with 404. A request without a model uses
   * `openai` if it is listed, otherwise the first one; under `/v1` it is rejected.
   * @default all
   */
  models?: readonly string[] | undefined
  /**
   * Whether the caller's own `Authorization: Bearer` key is used instead of the server's; on
   * `/v1/messages` also one in `x-api-key`.
   * @default false
   */
  forwardKeys?: boolean | undefined
  /**
   * How `/v1/responses` is served: `forward` sends requests to upstream unchanged, `translate`
   * converts them to chat completions, `auto` forwards requests for models that upstream lists with
   * this endpoint and translates all others. The list is fetched in the background and cached for 5
   * minutes.
   * @default 'auto'
   */
  responses?: 'auto' | 'forward' | 'translate' | undefined
  /**
   * Whether `/v1` respects the request's `Cache-Control`: `no-cache` calls upstream and stores the
   * new answer, `no-store` calls upstream and stores nothing.
   * @default true
   */
  clientCacheControl?: boolean | undefined
  /**
   * Whether responses contain the messages of unexpected errors: `full` for development, `safe` to
   * hide them.
   * @default 'safe'
   */
  errorDetail?: 'safe' | 'full' | undefined
  /**
   * Sends a comment after this time without events, to keep the connection of a stream open.
   * Milliseconds, at most one day; 0 for never.
   * @default 15000
   */
  heartbeatMs?: number | undefined
  /**
   * Disconnects a client that has not read its event stream for this time, which frees its slot.
   * Milliseconds, at least 1, at most one day.
   * @default 60000
   */
  writeTimeoutMs?: number | undefined
  /**
   * Lets clients resume an interrupted stream that they requested with the header
   * `x-stream-resumable: true`. With `{ shared }` they can resume it on another server.
   * @default false
   */
  streams?: boolean | StreamsOptions | undefined
  /**
   * Lets `/health` generate a short text, which costs money, and answer 503 if that fails. The
   * result is reused for `everyMs` milliseconds, at least 1000.
   * @default none
   */
  probe?: { everyMs: number; prompt?: string | undefined } | undefined
}

export interface CheckedGatewayOptions extends Omit<GatewayOptions<never>, 'streams' | 'metrics'> {
  readonly metrics: CheckedMetricsOptions | undefined
  readonly streams: CheckedStreamsOptions | undefined
  readonly prefix: string
  readonly publicPath: string
  readonly bodyLimit: number
  readonly mediaBodyLimit: number
  readonly uploadLimit: number
  readonly batchUploadLimit: number
  readonly corsOrigins: readonly string[]
  readonly forwardKeys: boolean
  readonly responses: 'auto' | 'forward' | 'translate'
  readonly clientCacheControl: boolean
  readonly errorDetail: 'safe' | 'full'
  readonly heartbeatMs: number
  readonly writeTimeoutMs: number
}

const MIB = 1024 * 1024

const path = (fallback: string | undefined) =>
  rules.custom<string, string | undefined>(
    'empty, or a path such as "/ai" without a trailing slash',
    fallback,
    (value) => typeof value === 'string' && /^(\/[\w.~-]+)*$/.test(value),
  )

export const isOrigin = (value: string) =>
  value === '*' ||
  (URL.canParse(value) && /^https?:\/\//.test(value) && new URL(value).origin === value)

export function readGatewayOptions(
  options: GatewayOptions<never> | undefined,
): CheckedGatewayOptions {
  const checked = checkEach(options)
  const named = checked.routes?.find((name) => /^v1-(files|batches)-/.test(name))
  if (named !== undefined && checked.batches === undefined)
    throw new ConfigError(`createGateway: the route "${named}" needs the option "batches".`)
  if (
    checked.adminToken !== undefined &&
    checked.forwardKeys === true &&
    checked.adminToken.startsWith('sk_')
  ) {
    throw new ConfigError('createGateway: option "adminToken" must not be an API key.')
  }
  const streams = readStreamsOptions(checked.streams ?? false)
  checkStreamRoutes(checked.routes, streams)
  const metrics = readMetricsOptions(checked.metrics ?? false)
  checkMetricsRoute(checked.routes, metrics)
  return {
    ...checked,
    metrics,
    streams,
    prefix: checked.prefix ?? '',
    publicPath: checked.publicPath ?? checked.prefix ?? '',
    mediaBodyLimit: checked.mediaBodyLimit ?? Math.max(20 * MIB, checked.bodyLimit ?? 0),
    corsOrigins: checked.corsOrigins ?? [],
  } as CheckedGatewayOptions
}

/** Checks each option on its own. */
const checkEach = (options: GatewayOptions<never> | undefined) =>
  check<GatewayOptions<never>>('createGateway', options, {
    prefix: path(''),
    publicPath: path(undefined),
    routes: rules.list(`a list of route names out of ${ROUTE_NAMES.join(', ')}`, (name) =>
      (ROUTE_NAMES as readonly string[]).includes(name),
    ) as rules.Rule<readonly RouteName[] | undefined>,
    call: rules.callback(),
    body: rules.callback(),
    requestId: rules.callback(),
    onError: rules.callback(),
    log: rules.callback(),
    adminToken: tokenRule,
    batches: rules.custom<Batches, undefined>('batches from createBatches()', undefined, isBatches),
    metrics: metricsRule,
    bodyLimit: rules.integer(MIB, { min: 1, max: 1024 * MIB }),
    mediaBodyLimit: rules.integer(undefined, { min: 1, max: 1024 * MIB }),
    uploadLimit: rules.integer(25 * MIB, { min: 1, max: 1024 * MIB }),
    batchUploadLimit: rules.integer(100 * MIB, { min: 1, max: 1024 * MIB }),
    corsOrigins: rules.list('a list of origins such as "https://app.example"', isOrigin),
    models: rules.list('a list of model names', (name) => name !== ''),
    forwardKeys: rules.flag(false),
    responses: rules.oneOf(['auto', 'forward', 'translate'], 'auto'),
    clientCacheControl: rules.flag(true),
    errorDetail: rules.oneOf(['safe', 'full'], 'safe'),
    heartbeatMs: rules.duration(15_000, { min: 0, max: 24 * 3_600_000 }),
    writeTimeoutMs: rules.duration(60_000, { max: 24 * 3_600_000 }),
    streams: streamsRule,
    probe: rules.custom<{ everyMs: number; prompt?: string }, undefined>(
      'an object { everyMs, prompt } with everyMs of at least 1000',
      undefined,
      (value) => Number((value as { everyMs?: unknown } | null)?.everyMs) >= 1_000,
    ),
  })
