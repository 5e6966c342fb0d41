import { type Blossom, createBlossom } from '../../client/client.js'
import { ConfigError } from '../../core/index.js'
import { redisShared } from '../../redis/index.js'
import { standard } from '../../standard.js'
import type { RequestLog } from '../log-entry.js'
import type { GatewayOptions } from '../options.js'
import { priceBy } from './budget.js'
import { limitsFrom, othersFrom, protectionFrom, sharesSomething } from './layers.js'
import { ClientVariables, type Environment, GatewayVariables, readVariables } from './variables.js'

export type { Environment } from './variables.js'

const MINUTE_MS = 60_000

/**
 * Creates a client with the recommended layers from the environment variables listed in
 * `src/gateway/README.md`. The default time limits are 60 s for a call, 30 s for an attempt, and
 * 15 minutes for a stream, with 60 s to its first token.
 *
 * @throws ConfigError (`CONFIG`) if a variable is invalid, or if there is no key and
 * `BLOSSOM_FORWARD_KEYS` is off; the message names the variable
 */
export function blossomFromEnv(env: Environment = process.env) {
  const read = readVariables(ClientVariables, env)
  const apiKey = read.POLLINATIONS_API_KEY ?? read.BLOSSOM_API_KEY
  if (apiKey === undefined && !read.BLOSSOM_FORWARD_KEYS) {
    throw new ConfigError(
      'The environment variable POLLINATIONS_API_KEY (or BLOSSOM_API_KEY) must be set to the API key.',
    )
  }
  const { REDIS_URL: url } = read
  const shared = url !== undefined && sharesSomething(read) ? redisShared({ url }) : undefined
  const price = read.BLOSSOM_PRICES && priceBy(read.BLOSSOM_PRICES)
  const blossom = createBlossom({ apiKey, baseURL: read.BLOSSOM_BASE_URL, price }).use(
    ...standard({
      cache: read.BLOSSOM_CACHE && {
        ttlMs: read.BLOSSOM_CACHE_TTL_MS,
        shared: read.BLOSSOM_SHARED_CACHE ? shared : undefined,
      },
      dedupe: { shared: read.BLOSSOM_SHARED_DEDUPE ? shared : undefined },
      timeout: { ms: read.BLOSSOM_TIMEOUT_MS, firstTokenMs: MINUTE_MS },
      retry: { retries: read.BLOSSOM_RETRIES },
      attempt: { ms: read.BLOSSOM_ATTEMPT_TIMEOUT_MS },
      ...limitsFrom(read, read.BLOSSOM_SHARED_LIMITS ? shared : undefined),
      ...othersFrom(read),
      ...protectionFrom(read, shared),
    }),
  )
  return shared === undefined ? blossom : closesWith(blossom, () => shared.close())
}

/** Extends the client's `close()` to close the shared state as well. */
function closesWith<Client extends Blossom<readonly unknown[]>>(
  client: Client,
  also: () => Promise<void>,
): Client {
  const { close } = client
  let ended: Promise<void> | undefined
  return Object.assign(client, {
    async close(options?: { timeoutMs?: number }) {
      await close(options)
      ended ??= also()
      await ended
    },
  })
}

const LEVELS: readonly string[] = ['silent', 'error', 'warn', 'info', 'debug']

/**
 * Reads the gateway's options from the environment variables listed in `src/gateway/README.md`.
 *
 * @throws ConfigError (`CONFIG`) if a variable is invalid; the message names it
 */
export function gatewayOptionsFromEnv(env: Environment = process.env): GatewayOptions {
  const read = readVariables(GatewayVariables, env)
  const { BLOSSOM_CORS_ORIGINS: corsOrigins, BLOSSOM_ADMIN_TOKEN: adminToken, LOG_LEVEL } = read
  const { BLOSSOM_METRICS_TOKEN: token } = read
  const level = LEVELS.indexOf(LOG_LEVEL)
  const log = (entry: RequestLog): void => {
    if (LEVELS.indexOf(entry.level) <= level) process.stdout.write(`${JSON.stringify(entry)}\n`)
  }
  return {
    bodyLimit: read.BLOSSOM_BODY_LIMIT,
    forwardKeys: read.BLOSSOM_FORWARD_KEYS,
    errorDetail: read.BLOSSOM_ERROR_DETAIL,
    ...(corsOrigins && { corsOrigins }),
    ...(adminToken !== undefined && { adminToken }),
    ...(token !== undefined ? { metrics: { token } } : read.BLOSSOM_METRICS && { metrics: true }),
    ...(level > 0 && { log }),
  }
}
