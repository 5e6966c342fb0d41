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
   * The part of every URL before the route, as received; empty behind a mount that strips it.
   * @default ''
   */
  prefix?: string | undefined
  /** The prefix that callers use, for OpenAPI and the docs. @default `prefix` */
  publicPath?: string | undefined
  /** The routes to serve. @default all whose layer is in the stack */
  routes?: readonly RouteName[] | undefined
  /**
   * Identifies the caller; put your authentication here. A `Response` refuses the request. The
   * request has no body to read. `platform` comes from the mount: `{ req, res }` of Node, Koa's
   * `ctx`, Hono's `c`; `{ req, socket }` for a WebSocket.
   */
  call?:
    | ((
        request: Request,
        platform: Platform,
      ) => Caller | Response | undefined | Promise<Caller | Response | undefined>)
    | undefined
  /**
   * The parsed body, if an earlier middleware has read it. `undefined` lets the gateway read the
   * body.
   */
  body?: ((request: Request, platform: Platform) => unknown) | undefined
  /**
   * The request's id, where your framework keeps one of its own: `(_, c) => c.get('requestId')` in
   * Hono. A middleware's `req.id` and header `x-request-id` of the response need no option. At most
   * 256 printable ASCII characters without a blank; anything else is ignored.
   * @default the client's `x-request-id`, or a new one
   */
  requestId?: ((request: Request, platform: Platform) => string | number | undefined) | undefined
  /**
   * Called for every failed request, for your logger. If it throws, there is a warning and no other
   * effect.
   */
  onError?:
    | ((error: unknown, about: { requestId: string; route: string; status: number }) => void)
    | undefined
  /**
   * Called for every finished request: `console.log(JSON.stringify(entry))` writes a log of JSON
   * lines. Without prompts and keys.
   * @default none
   */
  log?: ((entry: RequestLog) => void) | undefined
  /**
   * The token for the live page, for clearing the cache, and for batches of nobody's; without one
   * nobody can.
   * At least 16 characters.
   */
  adminToken?: string | undefined
  /**
   * Batches from `createBatches()`, served at `/v1/files` and `/v1/batches`: each tenant has its
   * own; who has no tenant needs the admin token. Needs the package `@fastify/busboy`.
   * @default none
   */
  batches?: Batches | undefined
  /**
   * Serves `GET /metrics` for Prometheus: to everybody, or with `{ token }` to whoever has it.
   * @default false
   */
  metrics?: boolean | MetricsOptions | undefined
  /** Largest body. Bytes. @default 1048576 (1 MiB) */
  bodyLimit?: number | undefined
  /**
   * Largest body where it may hold pictures or sound: `/v1/chat/completions`, `/v1/responses` and
   * `/v1/messages`. Bytes.
   * @default 20971520 (20 MiB), or `bodyLimit` if that is larger
   */
  mediaBodyLimit?: number | undefined
  /**
   * Largest form with files, on `/v1/images/edits` and `/v1/audio/transcriptions`. It is sent on while
   * it comes in. Bytes.
   * @default 26214400 (25 MiB)
   */
  uploadLimit?: number | undefined
  /** Largest upload to `/v1/files`. Bytes. @default 104857600 (100 MiB) */
  batchUploadLimit?: number | undefined
  /**
   * Origins of pages that may call from a browser, such as `https://app.example`; `*` for all.
   * Credentials are never allowed.
   * @default none
   */
  corsOrigins?: readonly string[] | undefined
  /**
   * Models that callers may request; others are refused with 404. Requests that name none get
   * `openai`, or else the first on the list; under `/v1` they are refused.
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
   * What becomes of `/v1/responses`: `forward` sends them on, `translate` asks for a chat completion
   * and answers as a response, `auto` forwards those for models of which upstream's list says that
   * they serve it. The list is fetched beside the calls and kept for 5 minutes.
   * @default 'auto'
   */
  responses?: 'auto' | 'forward' | 'translate' | undefined
  /**
   * Whether `/v1` follows the request's `Cache-Control`: `no-cache` asks upstream and stores the new
   * answer, `no-store` asks upstream and stores nothing.
   * @default true
   */
  clientCacheControl?: boolean | undefined
  /** `full` shows callers the messages of unexpected errors: for development. @default 'safe' */
  errorDetail?: 'safe' | 'full' | undefined
  /**
   * Send a comment after this time of silence in an event stream. Milliseconds; 0 for none.
   * @default 15000
   */
  heartbeatMs?: number | undefined
  /**
   * A client that does not read a stream's events for so long is cut, so that it holds no slot.
   * Milliseconds.
   * @default 60000
   */
  writeTimeoutMs?: number | undefined
  /**
   * Lets clients resume a stream that was cut, if they ask for it with the header
   * `x-stream-resumable: true`; with `{ shared }` on other servers as well.
   * @default false
   */
  streams?: boolean | StreamsOptions | undefined
  /**
   * Lets `/health` make a tiny generation, which costs money, and answer 503 if it fails; the
   * result is kept for `everyMs`.
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
    'empty, or a path such as "/ai" without a slash at its end',
    fallback,
    (value) => typeof value === 'string' && /^(\/[\w.~-]+)*$/.test(value),
  )

export const names = (expected: string, accepts: (value: string) => boolean) =>
  rules.custom<readonly string[], undefined>(
    expected,
    undefined,
    (value) =>
      Array.isArray(value) && value.every((item) => typeof item === 'string' && accepts(item)),
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

/** Each option by itself. */
const checkEach = (options: GatewayOptions<never> | undefined) =>
  check<GatewayOptions<never>>('createGateway', options, {
    prefix: path(''),
    publicPath: path(undefined),
    routes: names(`a list of names out of ${ROUTE_NAMES.join(', ')}`, (name) =>
      (ROUTE_NAMES as readonly string[]).includes(name),
    ) as rules.Rule<readonly RouteName[] | undefined>,
    call: rules.callback(),
    body: rules.callback(),
    requestId: rules.callback(),
    onError: rules.callback(),
    log: rules.callback(),
    adminToken: tokenRule,
    batches: rules.custom<Batches, undefined>('what createBatches() made', undefined, isBatches),
    metrics: metricsRule,
    bodyLimit: rules.integer(MIB, { min: 1, max: 1024 * MIB }),
    mediaBodyLimit: rules.integer(undefined, { min: 1, max: 1024 * MIB }),
    uploadLimit: rules.integer(25 * MIB, { min: 1, max: 1024 * MIB }),
    batchUploadLimit: rules.integer(100 * MIB, { min: 1, max: 1024 * MIB }),
    corsOrigins: names('a list of origins such as "https://app.example"', isOrigin),
    models: names('a list of model names', (name) => name !== ''),
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
