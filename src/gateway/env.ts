import { type Blossom, createBlossom } from '../client/client.js'
import { ConfigError } from '../core/index.js'
import { breaker } from '../layers/breaker/index.js'
import { cache } from '../layers/cache/index.js'
import { dedupe } from '../layers/dedupe/index.js'
import { pool } from '../layers/pool/index.js'
import { queue } from '../layers/queue/index.js'
import { retry } from '../layers/retry/index.js'
import { timeout } from '../layers/timeout.js'
import { type GatewayOptions, isOrigin } from './options.js'
import { redisStore } from './redis-store.js'

/** Environment variables: `process.env`, or another record in tests. */
export type Environment = Readonly<Record<string, string | undefined>>

function fail(name: string, expected: string): never {
  // The value is not shown: it may be a key in the wrong place.
  throw new ConfigError(`The environment variable ${name} must be ${expected}.`)
}

const given = (env: Environment, name: string): string | undefined =>
  env[name]?.trim() ? env[name]?.trim() : undefined

function integer(
  env: Environment,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = given(env, name)
  if (value === undefined) return fallback
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
  return number >= min && number <= max
    ? number
    : fail(name, `a whole number from ${min} to ${max}`)
}

function oneOf<const T extends string>(
  env: Environment,
  name: string,
  words: readonly T[],
  fallback: T,
): T {
  const value = given(env, name)
  if (value === undefined) return fallback
  return words.includes(value as T) ? (value as T) : fail(name, `one of ${words.join(', ')}`)
}

/** Ten years: what the layers allow. */
const LONGEST = 10 * 365 * 24 * 3_600_000
const STREAM_MS = 15 * 60_000

/**
 * The client with the recommended layers, set up from the environment. A call may take 60 s and an
 * attempt 30 s, as in the guide; streams 15 minutes with 60 s to their first token.
 *
 * Reads `POLLINATIONS_API_KEY` (else `BLOSSOM_API_KEY`), `BLOSSOM_BASE_URL`, `BLOSSOM_TIMEOUT_MS`,
 * `BLOSSOM_ATTEMPT_TIMEOUT_MS`, `BLOSSOM_RETRIES`, `BLOSSOM_POOL_CONNECTIONS`,
 * `BLOSSOM_QUEUE_CONCURRENCY`, `BLOSSOM_QUEUE_MAX_WAITING`, `BLOSSOM_RATE_LIMIT_PER_MINUTE`,
 * `BLOSSOM_CACHE`, `BLOSSOM_CACHE_TTL_MS`, `REDIS_URL`.
 *
 * @throws ConfigError one line that names the variable; also without a key, unless
 * `BLOSSOM_FORWARD_KEYS` is on
 */
export function blossomFromEnv(env: Environment = process.env) {
  const keyName =
    given(env, 'POLLINATIONS_API_KEY') === undefined ? 'BLOSSOM_API_KEY' : 'POLLINATIONS_API_KEY'
  const apiKey = given(env, keyName)
  if (apiKey === undefined && !isForwarding(env)) {
    throw new ConfigError(
      'The environment variable POLLINATIONS_API_KEY must be set to the API key (or BLOSSOM_API_KEY).',
    )
  }
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey))
    fail(keyName, 'an API key of printable ASCII characters without spaces')
  const baseURL = given(env, 'BLOSSOM_BASE_URL')
  const ms = integer(env, 'BLOSSOM_TIMEOUT_MS', 60_000, 1, LONGEST)
  const attemptMs = integer(env, 'BLOSSOM_ATTEMPT_TIMEOUT_MS', Math.min(30_000, ms), 1, LONGEST)
  const retries = integer(env, 'BLOSSOM_RETRIES', 2, 0, 100)
  const connections = integer(env, 'BLOSSOM_POOL_CONNECTIONS', 10, 1, 100_000)
  const concurrency = integer(env, 'BLOSSOM_QUEUE_CONCURRENCY', 5, 1, 100_000)
  const maxWaiting = integer(env, 'BLOSSOM_QUEUE_MAX_WAITING', 1_000, 0, 10_000_000)
  const perMinute = integer(env, 'BLOSSOM_RATE_LIMIT_PER_MINUTE', 0, 0, 1_000_000)
  const ttlMs = integer(env, 'BLOSSOM_CACHE_TTL_MS', 30 * 60_000, 1, LONGEST)
  const isCaching = oneOf(env, 'BLOSSOM_CACHE', ['on', 'off'], 'on') === 'on'
  const redisUrl = given(env, 'REDIS_URL')
  if (redisUrl !== undefined && !(/^rediss?:\/\/\S+$/.test(redisUrl) && URL.canParse(redisUrl)))
    fail('REDIS_URL', 'an address such as redis://127.0.0.1:6379')
  const store = isCaching && redisUrl !== undefined ? redisStore(redisUrl) : undefined

  let blossom: Blossom
  try {
    blossom = createBlossom({
      ...(apiKey !== undefined && { apiKey }),
      ...(baseURL !== undefined && { baseURL }),
    })
  } catch {
    return fail(
      'BLOSSOM_BASE_URL',
      'an http or https address without credentials and without /v1 at its end',
    )
  }
  const rate = perMinute === 0 ? undefined : { limit: perMinute, intervalMs: 60_000 }
  const inner = blossom.use(
    dedupe(),
    timeout({ ms, streamMs: STREAM_MS, firstTokenMs: 60_000 }),
    retry({ retries }),
    breaker(),
    queue({ concurrency, maxWaiting, rate }),
    timeout({ name: 'attempt', ms: attemptMs, streamMs: STREAM_MS, firstTokenMs: 60_000 }),
    pool({ connections }),
  )
  if (!isCaching) return inner
  const outer = inner.use(cache({ ttlMs, store }))
  return store === undefined ? outer : closesWith(outer, () => store.disconnect())
}

/** The client, closing what belongs to it as well. */
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

const isForwarding = (env: Environment): boolean =>
  oneOf(env, 'BLOSSOM_FORWARD_KEYS', ['on', 'off'], 'off') === 'on'

/**
 * The gateway's options from the environment: `BLOSSOM_CORS_ORIGINS` (separated by commas),
 * `BLOSSOM_ADMIN_TOKEN`, `BLOSSOM_FORWARD_KEYS` (on, off), `BLOSSOM_BODY_LIMIT` (bytes),
 * `LOG_LEVEL` (`silent`, `error`, `warn`, `info`: which requests are written to standard output as
 * lines of JSON).
 *
 * @throws ConfigError one line that names the variable
 */
export function gatewayOptionsFromEnv(env: Environment = process.env): GatewayOptions {
  const origins = given(env, 'BLOSSOM_CORS_ORIGINS')
    ?.split(',')
    .map((origin) => origin.trim().replace(/\/$/, ''))
  if (origins && !origins.every(isOrigin)) {
    fail('BLOSSOM_CORS_ORIGINS', 'origins such as https://app.example, separated by commas')
  }
  const adminToken = given(env, 'BLOSSOM_ADMIN_TOKEN')
  if (adminToken !== undefined && !/^[\x21-\x7e]{16,}$/.test(adminToken))
    fail('BLOSSOM_ADMIN_TOKEN', 'at least 16 printable ASCII characters')
  const level = oneOf(env, 'LOG_LEVEL', ['silent', 'error', 'warn', 'info', 'debug'], 'info')
  const shown = LEVELS.slice(0, LEVELS.indexOf(level === 'debug' ? 'info' : level) + 1)
  return {
    bodyLimit: integer(env, 'BLOSSOM_BODY_LIMIT', 1024 * 1024, 1, 1024 * 1024 * 1024),
    forwardKeys: isForwarding(env),
    ...(origins && { corsOrigins: origins }),
    ...(adminToken !== undefined && { adminToken }),
    ...(level !== 'silent' && {
      log: (entry) => {
        if (shown.includes(entry.level)) process.stdout.write(`${JSON.stringify(entry)}\n`)
      },
    }),
  }
}

const LEVELS: readonly string[] = ['silent', 'error', 'warn', 'info']
