import { type CacheMode, ConfigError, check, rules } from '../core/index.js'

/** Who a visitor is, as the owner's `call` says. */
export interface Visitor {
  /** On whose behalf: caches and shared calls never cross tenants. */
  tenant?: string | undefined
  /** Larger goes first where calls wait. */
  priority?: number | undefined
  /**
   * How this request is cached: wins over the client's `Cache-Control`. Routes that never read the
   * cache do not begin to.
   */
  cache?: CacheMode | undefined
  /** For the log only. */
  clientAddress?: string | undefined
}

/** The routes' names, for the option `routes`. */
export const ROUTE_NAMES = [
  'text',
  'queued',
  'retry',
  'circuit-breaker',
  'cached',
  'batch',
  'stream',
  'pool-stats',
  'queue-stats',
  'cache-clear',
  'health',
  'health-live',
  'health-ready',
  'openapi',
  'docs',
  'v1-chat',
  'v1-embeddings',
  'v1-models',
  'v1-images',
  'v1-speech',
] as const
/** One of the routes, for `routes`. */
export type RouteName = (typeof ROUTE_NAMES)[number]

/** One finished request. Nothing of what was asked or answered is in it. */
export interface RequestLog {
  /** ISO 8601. */
  readonly time: string
  readonly level: 'info' | 'warn' | 'error'
  readonly requestId: string
  /** `WS` for a message over a WebSocket. */
  readonly method: string
  /**
   * The route's path, without prefix and query; the visitor's words are not repeated for an unknown
   * one.
   */
  readonly route: string
  /** As sent; 499 when the visitor left before the end. */
  readonly status: number
  readonly durationMs: number
  /** Streams: from the request to the first token. */
  readonly firstTokenMs?: number
  /** Time the call waited for a slot. */
  readonly queuedMs?: number
  /** Whether our cache had it. */
  readonly cached?: boolean
  /** Requests made upstream. */
  readonly attempts?: number
  readonly upstreamRequestId?: string
  readonly tenant?: string
  readonly clientAddress?: string
  /** The error's code, when it failed. */
  readonly code?: string
  /** Of an error that only the owner can mend, code `CONFIG`: what to do. */
  readonly detail?: string
}

/** Options of `createGateway()`. */
export interface GatewayOptions<Platform = unknown> {
  /**
   * What comes before every route in the URL as received; empty behind a mount that strips it.
   * @default ''
   */
  prefix?: string | undefined
  /** What visitors see before every route, for OpenAPI and the docs. @default `prefix` */
  publicPath?: string | undefined
  /** Which routes exist. @default all whose layer is in the stack */
  routes?: readonly RouteName[] | undefined
  /**
   * Who the visitor is: authentication speaks here. A `Response` refuses. The request has no body
   * to read. `platform` is what the mount passes on: `{ req, res }` of Node, Koa's `ctx`, Hono's
   * `c`; `{ req, socket }` for a WebSocket.
   */
  call?:
    | ((
        request: Request,
        platform: Platform,
      ) => Visitor | Response | undefined | Promise<Visitor | Response | undefined>)
    | undefined
  /**
   * The parsed body, where a parser further out has read it already. `undefined` leaves the reading
   * to the gateway.
   */
  body?: ((request: Request, platform: Platform) => unknown) | undefined
  /**
   * The request's id, where your framework keeps one of its own: `(_, c) => c.get('requestId')` in
   * Hono. A middleware's `req.id` and header `x-request-id` of the response need no option. At most
   * 256 printable ASCII characters without a blank; anything else is passed over.
   * @default the client's `x-request-id`, or a new one
   */
  requestId?: ((request: Request, platform: Platform) => string | number | undefined) | undefined
  /**
   * Told of every failed request, for your logger. What it throws is a warning and changes nothing.
   */
  onError?:
    | ((error: unknown, about: { requestId: string; route: string; status: number }) => void)
    | undefined
  /**
   * Told of every finished request: `console.log(JSON.stringify(entry))` writes a log of JSON
   * lines. No prompts, no keys.
   * @default none
   */
  log?: ((entry: RequestLog) => void) | undefined
  /**
   * Needed as a Bearer token to clear the cache; without one nobody can. At least 16 characters.
   */
  adminToken?: string | undefined
  /** Largest body. Bytes. @default 1048576 (1 MiB) */
  bodyLimit?: number | undefined
  /**
   * Largest body where it may hold pictures or sound: `/v1/chat/completions`. Bytes.
   * @default 20971520 (20 MiB), or `bodyLimit` if that is larger
   */
  mediaBodyLimit?: number | undefined
  /**
   * Origins of pages that may call from a browser, such as `https://app.example`; `*` for all,
   * never with credentials.
   * @default none
   */
  corsOrigins?: readonly string[] | undefined
  /**
   * Names of models that visitors may ask for; others are refused with 404. Without a name the
   * guide's routes use `openai` or else the list's first, and `/v1` asks for one.
   * @default all
   */
  models?: readonly string[] | undefined
  /**
   * Whether a visitor's own `Authorization: Bearer` key is used instead of the server's.
   * @default false
   */
  forwardKeys?: boolean | undefined
  /**
   * Whether `/v1` heeds the request's `Cache-Control`: `no-cache` asks upstream and stores the new
   * answer, `no-store` asks upstream and stores nothing.
   * @default true
   */
  clientCacheControl?: boolean | undefined
  /** `full` shows visitors the words of unexpected errors: for development. @default 'safe' */
  errorDetail?: 'safe' | 'full' | undefined
  /**
   * A comment after so much silence of an event stream. Milliseconds; 0 for none. @default 15000
   */
  heartbeatMs?: number | undefined
  /**
   * Lets `/health` buy a tiny generation now and then, and be 503 when it fails; the verdict is
   * kept for `everyMs`.
   * @default none
   */
  probe?: { everyMs: number; prompt?: string | undefined } | undefined
}

export interface CheckedGatewayOptions extends GatewayOptions<never> {
  readonly prefix: string
  readonly publicPath: string
  readonly bodyLimit: number
  readonly mediaBodyLimit: number
  readonly corsOrigins: readonly string[]
  readonly forwardKeys: boolean
  readonly clientCacheControl: boolean
  readonly errorDetail: 'safe' | 'full'
  readonly heartbeatMs: number
}

const MIB = 1024 * 1024

const path = (fallback: string | undefined) =>
  rules.custom<string, string | undefined>(
    'empty, or a path such as "/ai" without a slash at its end',
    fallback,
    (value) => typeof value === 'string' && /^(\/[\w.~-]+)*$/.test(value),
  )

const flag = (fallback: boolean) =>
  rules.custom<boolean, boolean>('true or false', fallback, (value) => typeof value === 'boolean')

const CACHE_MODES: readonly unknown[] = ['default', 'reload', 'no-store', undefined]

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
  const checked = check<GatewayOptions<never>>('createGateway', options, {
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
    adminToken: {
      ...rules.custom<string, undefined>(
        'a string of at least 16 printable ASCII characters',
        undefined,
        (value) => typeof value === 'string' && /^[\x21-\x7e]{16,}$/.test(value),
      ),
      secret: true,
    },
    bodyLimit: rules.integer(MIB, { min: 1, max: 1024 * MIB }),
    mediaBodyLimit: rules.integer(undefined, { min: 1, max: 1024 * MIB }),
    corsOrigins: names('a list of origins such as "https://app.example"', isOrigin),
    models: names('a list of model names', (name) => name !== ''),
    forwardKeys: flag(false),
    clientCacheControl: flag(true),
    errorDetail: rules.oneOf(['safe', 'full'], 'safe'),
    heartbeatMs: rules.duration(15_000, { min: 0, max: 24 * 3_600_000 }),
    probe: rules.custom<{ everyMs: number; prompt?: string }, undefined>(
      'an object { everyMs, prompt } with everyMs of at least 1000',
      undefined,
      (value) => Number((value as { everyMs?: unknown } | null)?.everyMs) >= 1_000,
    ),
  })
  if (
    checked.adminToken !== undefined &&
    checked.forwardKeys === true &&
    checked.adminToken.startsWith('sk_')
  ) {
    throw new ConfigError('createGateway: option "adminToken" must not be an API key.')
  }
  return {
    ...checked,
    prefix: checked.prefix ?? '',
    publicPath: checked.publicPath ?? checked.prefix ?? '',
    mediaBodyLimit: checked.mediaBodyLimit ?? Math.max(20 * MIB, checked.bodyLimit ?? 0),
    corsOrigins: checked.corsOrigins ?? [],
  } as CheckedGatewayOptions
}

/**
 * What the owner's `call` gave. A `Response`, of whatever make, refuses; what is neither that nor a
 * visitor lets nobody in.
 * @throws ConfigError for anything else
 */
export async function readVisitor(given: unknown): Promise<Visitor | Response> {
  if (given === undefined || given === null || given instanceof Response) return given ?? {}
  const wrong = (expected: string) =>
    new ConfigError(`createGateway: call() must return ${expected}.`)
  if (typeof given !== 'object')
    throw wrong('{ tenant, priority, cache, clientAddress }, a Response or undefined')
  const { arrayBuffer, status, headers } = given as Partial<Response>
  if (typeof arrayBuffer === 'function') {
    const body = await (given as Response).arrayBuffer()
    return new Response(body.byteLength === 0 ? null : body, {
      status: status ?? 500,
      headers: [...(headers ?? [])] as [string, string][],
    })
  }
  const { tenant, priority, cache, clientAddress } = given as Visitor
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
    throw wrong('a tenant that is a string with something in it')
  if (priority !== undefined && !Number.isFinite(priority))
    throw wrong('a priority that is a finite number')
  if (!CACHE_MODES.includes(cache)) throw wrong('a cache that is default, reload or no-store')
  if (clientAddress !== undefined && typeof clientAddress !== 'string')
    throw wrong('a clientAddress that is a string')
  return { tenant, priority, cache, clientAddress }
}
