export const RAW = 'undici request()'
export const DISPATCH = 'undici dispatch()'
export const PLAIN = 'blossom-stack, no layers'
export const OURS = 'blossom-stack, full stack'
export const STANDARD = 'blossom-stack, standard()'
export const BY_HAND = 'packages by hand'
export const COCKATIEL = 'cockatiel'
export const POLLINATIONS = '@pollinations/sdk'
export const OPENAI = 'openai'
export const VERCEL = 'ai (Vercel)'

/** Around a function that does nothing. */
export const NOOP = 'the function alone'
export const BARE = 'stack() without layers'

export const BREAKER = 'breaker'
export const PARSED = "JSON.parse() of the answer's text"
export const QUEUED = 'p-queue'

export const BOUND = 'lower bound: max(total / 10, longest)'
export const IN_ORDER = 'text.batch, in input order'
export const ESTIMATED = 'text.batch, in input order, with estimate'
export const BATCH_BY_HAND = 'p-queue and undici by hand'
export const GROUPS = 'fixed groups and a pause'

export const UNTOLD = `${OURS}, told four times the capacity`
export const PLAIN_LIMIT = 'undici request() with a time limit'
export const SHORT_LINE = 'cockatiel, 64 may wait'

export const LIBRARY = 'blossom-stack'
export const CORE = 'blossom-stack/core'

export const DIRECT = 'no gateway'
export const PIPE = 'byte pipe, node:http'
export const NODE = 'blossom-stack/http, node:http'
export const HONO_PIPE = 'byte pipe, Hono'
export const HONO = 'blossom-stack/http, Hono'
export const PORTKEY = '@portkey-ai/gateway'
export const REPLAYED = `${NODE}, replayed from the cache`
export const JOINED = `${NODE}, 16 joiners a stream`

/** Figures beside a table's own. */
export const SOCKET = 'socket free ms'
export const SLOT = 'slot free ms'
export const REFUSAL = 'refusal ms'
export const BYTES = 'bytes/call'
export const UNDICI_MODULES = 'undici modules'

/** Layers of their own, in `layers.bench.ts`. */
export const REQUEST_LIMIT = 'rateLimit, requests'
export const TOKEN_LIMIT = 'rateLimit, requests and tokens'
export const FALLBACK = 'fallback'
export const HEDGE = 'hedge'
export const FAIR_QUEUE = 'queue, 1,000 tenants'
export const ADAPTIVE_QUEUE = 'queue, adaptive concurrency'
/** How many wait. */
export const WAITING = ['100', '10,000', '100,000'] as const

/** Who listens to a call, in `telemetry.bench.ts`. */
export const UNHEARD = 'nobody listens'
export const EVENTS = 'events, to a listener that does nothing'
export const PROMETHEUS = 'prometheus()'
export const OPEN_TELEMETRY = 'instrument(), OpenTelemetry SDK'
