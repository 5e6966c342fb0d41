import * as v from 'valibot'
import { DEFAULT_BASE_URL, readBaseURL } from '../../client/settings.js'
import { ConfigError } from '../../core/index.js'
import { isOrigin } from '../options.js'
import { readBudget, readPrice } from './budget.js'
import { choice, integer, integerOr, LONGEST_MS, list, onOrOff, pairs, text } from './values.js'

/** Environment variables: `process.env`, or another record in tests. */
export type Environment = Readonly<Record<string, string | undefined>>

// The contract of the environment. Each schema is the validator, the TypeScript type and the table
// of variables in the README.

const apiKey = (description: string) =>
  text(
    'an API key of printable ASCII characters without spaces',
    (value) => /^[\x21-\x7e]+$/.test(value),
    description,
  )

function isBaseURL(value: string): boolean {
  try {
    readBaseURL(value)
    return true
  } catch {
    return false
  }
}

const isRedisURL = (value: string): boolean =>
  /^rediss?:\/\/\S+$/.test(value) && URL.canParse(value)

const models = (description: string) =>
  list(
    'names of models, separated by commas',
    (name) => name,
    (name) => /^[\x21-\x7e]+$/.test(name),
    description,
  )

const perMinute = (description: string, max: number) => integer(0, 0, max, description)

const BUDGET = 'an amount above 0 for a day or a month, such as 5/day or 99.50/month'
const budget = (description: string) =>
  v.optional(
    v.pipe(
      v.string(),
      v.transform(readBudget),
      v.check((read) => read !== undefined, BUDGET),
      v.metadata({ expected: BUDGET, description }),
    ),
  )

function readWeight(text: string): number | undefined {
  const weight = /^\d{1,7}(\.\d{1,3})?$/.test(text) ? Number(text) : 0
  return weight >= 0.001 && weight <= 1_000_000 ? weight : undefined
}

const forwardKeys = onOrOff(
  'off',
  "Whether a caller's own Bearer key pays instead of the server's.",
)

/** What `blossomFromEnv()` reads. */
export const ClientVariables = v.object({
  POLLINATIONS_API_KEY: apiKey(
    'The API key. Required, unless `BLOSSOM_API_KEY` is set or `BLOSSOM_FORWARD_KEYS` is on.',
  ),
  BLOSSOM_API_KEY: apiKey('The API key, if `POLLINATIONS_API_KEY` is not set.'),
  BLOSSOM_BASE_URL: text(
    'an http or https address without credentials and without /v1 at its end',
    isBaseURL,
    'Address of upstream.',
    DEFAULT_BASE_URL,
  ),
  BLOSSOM_TIMEOUT_MS: integer(60_000, 1, LONGEST_MS, 'Longest time of a call.'),
  BLOSSOM_ATTEMPT_TIMEOUT_MS: integer(30_000, 1, LONGEST_MS, 'Longest time of one attempt.'),
  BLOSSOM_RETRIES: integer(2, 0, 100, 'Attempts after the first.'),
  BLOSSOM_POOL_CONNECTIONS: integer(10, 1, 100_000, 'Connections to upstream.'),
  BLOSSOM_POOL_GATE: choice(
    'member',
    ['member', 'model'],
    'What pauses after a 429: all calls (`member`), or only calls of the same model (`model`).',
  ),
  BLOSSOM_QUEUE_CONCURRENCY: integerOr(
    'adaptive',
    5,
    1,
    100_000,
    'Most calls in progress at a time; `adaptive` finds the number by itself.',
  ),
  BLOSSOM_QUEUE_MAX_WAITING: integer(1_000, 0, 10_000_000, 'Calls that may wait.'),
  BLOSSOM_QUEUE_WEIGHTS: pairs(
    'tenants with numbers from 0.001 to 1000000, such as gold=3, separated by commas',
    readWeight,
    'Weights by which waiting tenants take turns; tenants that are not listed have 1.',
  ),
  BLOSSOM_BREAKER_SLOW_MS: integer(
    0,
    0,
    LONGEST_MS,
    "An answer, or the first token of a stream, that takes longer is slow. When half of a model's answers are slow, its calls are refused, as after failures. 0 switches this off.",
  ),
  BLOSSOM_BREAKER_TRIALS: integer(1, 1, 1_000, 'Trial calls before a model is used again.'),
  BLOSSOM_RATE_LIMIT_PER_MINUTE: perMinute(
    'Calls per minute that may go upstream, a sixth of them at once; 0 for no limit.',
    1_000_000,
  ),
  BLOSSOM_TOKEN_LIMIT_PER_MINUTE: perMinute(
    'Tokens per minute of these calls; 0 for no limit.',
    1_000_000_000,
  ),
  BLOSSOM_BUDGET: budget(
    'What all calls together may cost, by `BLOSSOM_PRICES`. Days and months are in UTC.',
  ),
  BLOSSOM_TENANT_LIMIT_PER_MINUTE: perMinute(
    'Calls per minute for each tenant, a sixth of them at once; 0 for no limit.',
    1_000_000,
  ),
  BLOSSOM_TENANT_TOKEN_LIMIT_PER_MINUTE: perMinute(
    'Tokens per minute for each tenant; 0 for no limit.',
    1_000_000_000,
  ),
  BLOSSOM_TENANT_BUDGET: budget(
    'What the calls of each tenant may cost. Days and months are in UTC.',
  ),
  BLOSSOM_TENANT_LIMIT_MODE: choice(
    'wait',
    ['wait', 'reject'],
    'Whether calls above the limits of a tenant wait or are rejected. Calls above a budget are always rejected.',
  ),
  BLOSSOM_PRICES: pairs(
    'models with the prices of a million tokens of input, output and, if it differs, cached input, such as openai=0.15/0.6/0.075, separated by commas',
    readPrice,
    'The prices for the budgets; `*` stands for all other models. Calls without a price are rejected.',
  ),
  BLOSSOM_FALLBACK_MODELS: models(
    'Models that are asked in this order when the requested model fails to answer a chat.',
  ),
  BLOSSOM_HEDGE_MODELS: models(
    'When a chat is slow, a second request goes to the first of these models that differs from the requested one. The request whose answer begins first wins.',
  ),
  BLOSSOM_HEDGE_DELAY_MS: integerOr(
    'p95',
    'p95',
    1,
    LONGEST_MS,
    'After how long a chat is slow; `p95`: when it takes longer than 95 % of the last ones.',
  ),
  BLOSSOM_CACHE: onOrOff('on', 'Whether answers are cached.'),
  BLOSSOM_CACHE_TTL_MS: integer(30 * 60_000, 1, LONGEST_MS, 'How long an answer is cached.'),
  REDIS_URL: text(
    'an address such as redis://127.0.0.1:6379',
    isRedisURL,
    'Address of the Redis in which several servers share their cache, identical calls, limits and circuits. Needs the package `redis`.',
  ),
  BLOSSOM_SHARED_CACHE: onOrOff(
    'on',
    'Whether servers with the same `REDIS_URL` share their cache.',
  ),
  BLOSSOM_SHARED_DEDUPE: onOrOff(
    'on',
    'Whether identical calls of servers with the same `REDIS_URL` share one upstream call.',
  ),
  BLOSSOM_SHARED_LIMITS: onOrOff(
    'on',
    'Whether servers with the same `REDIS_URL` share their limits and budgets.',
  ),
  BLOSSOM_SHARED_BREAKER: onOrOff(
    'on',
    'Whether a model whose calls one server refuses is refused by all servers with the same `REDIS_URL`.',
  ),
  BLOSSOM_SHARED_CONCURRENCY: onOrOff(
    'off',
    'Whether `BLOSSOM_QUEUE_CONCURRENCY`, which must be a number then, applies to all servers with the same `REDIS_URL` together.',
  ),
  BLOSSOM_FORWARD_KEYS: forwardKeys,
})

const isTokenText = (value: string): boolean => /^[\x21-\x7e]{16,}$/.test(value)

const withoutSlash = (origin: string): string => origin.replace(/\/$/, '')

/** What `gatewayOptionsFromEnv()` reads. */
export const GatewayVariables = v.object({
  BLOSSOM_FORWARD_KEYS: forwardKeys,
  BLOSSOM_CORS_ORIGINS: list(
    'origins such as https://app.example, separated by commas',
    withoutSlash,
    isOrigin,
    'Origins of pages that may call from a browser; `*` for all.',
  ),
  BLOSSOM_ADMIN_TOKEN: text(
    'at least 16 printable ASCII characters',
    isTokenText,
    'The token for the live page, and for clearing the cache.',
  ),
  BLOSSOM_METRICS: onOrOff(
    'off',
    'Whether `/metrics` is served, to everybody unless `BLOSSOM_METRICS_TOKEN` is set.',
  ),
  BLOSSOM_METRICS_TOKEN: text(
    'at least 16 printable ASCII characters',
    isTokenText,
    'Serves `/metrics` to callers with this Bearer token.',
  ),
  BLOSSOM_BODY_LIMIT: integer(1024 * 1024, 1, 1024 * 1024 * 1024, 'Largest body, in bytes.'),
  BLOSSOM_ERROR_DETAIL: choice(
    'safe',
    ['safe', 'full'],
    'Whether clients see the messages of unexpected errors, and what upstream says (`full`, for development).',
  ),
  LOG_LEVEL: choice(
    'info',
    ['silent', 'error', 'warn', 'info', 'debug'],
    'Which requests are logged, as lines of JSON without prompts and keys.',
  ),
})

type Schema = v.ObjectSchema<v.ObjectEntries, undefined>

/**
 * Reads the variables of a schema. A blank one counts as absent.
 * @throws ConfigError one line that names the first wrong variable and does not show its value,
 * which may be a key in the wrong place
 */
export function readVariables<Variables extends Schema>(
  variables: Variables,
  env: Environment,
): v.InferOutput<Variables> {
  const given: Record<string, string> = {}
  for (const name of Object.keys(variables.entries)) {
    const value = env[name]?.trim()
    if (value) given[name] = value
  }
  const result = v.safeParse(variables, given, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  throw new ConfigError(`The environment variable ${v.getDotPath(issue)} must be ${issue.message}.`)
}
