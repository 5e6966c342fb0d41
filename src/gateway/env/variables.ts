import * as v from 'valibot'
import { DEFAULT_BASE_URL, readBaseURL } from '../../client/settings.js'
import { ConfigError } from '../../core/index.js'
import { isOrigin } from '../options.js'
import { readBudget, readPrice } from './budget.js'
import {
  choice,
  integer,
  integerIfSet,
  integerOr,
  LONGEST_MS,
  list,
  onOrOff,
  pairs,
  text,
} from './values.js'

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
  "Whether a caller's own Bearer key is used instead of the server's.",
)

/** The variables that `blossomFromEnv()` reads. */
export const ClientVariables = v.object({
  POLLINATIONS_API_KEY: apiKey(
    'The API key. Required, unless `BLOSSOM_API_KEY` is set or `BLOSSOM_FORWARD_KEYS` is on.',
  ),
  BLOSSOM_API_KEY: apiKey('The API key, if `POLLINATIONS_API_KEY` is not set.'),
  BLOSSOM_BASE_URL: text(
    'an http or https address without credentials and without /v1 at its end',
    isBaseURL,
    "Upstream's address.",
    DEFAULT_BASE_URL,
  ),
  BLOSSOM_TIMEOUT_MS: integer(60_000, 1, LONGEST_MS, 'Time limit of a call.'),
  BLOSSOM_ATTEMPT_TIMEOUT_MS: integer(30_000, 1, LONGEST_MS, 'Time limit of one attempt.'),
  BLOSSOM_RETRIES: integer(2, 0, 100, 'Maximum number of retries after the first attempt.'),
  BLOSSOM_POOL_CONNECTIONS: integerIfSet(
    1,
    100_000,
    'Maximum number of connections to upstream. If absent, `BLOSSOM_QUEUE_CONCURRENCY`, or 10 if that is smaller.',
  ),
  BLOSSOM_POOL_GATE: choice(
    'member',
    ['member', 'model'],
    'Which calls wait after a 429: all of them (`member`), or those for the same model (`model`).',
  ),
  BLOSSOM_QUEUE_CONCURRENCY: integerOr(
    'adaptive',
    5,
    1,
    100_000,
    'Maximum number of calls in progress; `adaptive` adjusts it to what upstream can handle.',
  ),
  BLOSSOM_QUEUE_MAX_WAITING: integer(1_000, 0, 10_000_000, 'Maximum number of waiting calls.'),
  BLOSSOM_QUEUE_WEIGHTS: pairs(
    'tenants with numbers from 0.001 to 1000000, such as gold=3, separated by commas',
    readWeight,
    'Shares of tenants while calls wait; tenants not listed have 1.',
  ),
  BLOSSOM_BREAKER_SLOW_MS: integer(
    0,
    0,
    LONGEST_MS,
    "Time after which an answer, or the first token of a stream, counts as slow; if half of a model's calls are slow, its circuit opens. 0 to allow any time.",
  ),
  BLOSSOM_BREAKER_TRIALS: integer(
    1,
    1,
    1_000,
    'Number of trial calls before a circuit closes again.',
  ),
  BLOSSOM_RATE_LIMIT_PER_MINUTE: perMinute(
    'Calls per minute to upstream, a sixth of which may start at once; 0 for no limit.',
    1_000_000,
  ),
  BLOSSOM_TOKEN_LIMIT_PER_MINUTE: perMinute(
    'Tokens per minute of these calls; 0 for no limit.',
    1_000_000_000,
  ),
  BLOSSOM_BUDGET: budget(
    'Maximum cost of all calls together, by `BLOSSOM_PRICES`; days and months are in UTC.',
  ),
  BLOSSOM_TENANT_LIMIT_PER_MINUTE: perMinute(
    'Calls per minute of each tenant, a sixth of which may start at once; 0 for no limit.',
    1_000_000,
  ),
  BLOSSOM_TENANT_TOKEN_LIMIT_PER_MINUTE: perMinute(
    'Tokens per minute of each tenant; 0 for no limit.',
    1_000_000_000,
  ),
  BLOSSOM_TENANT_BUDGET: budget(
    'Maximum cost of the calls of each tenant; days and months are in UTC.',
  ),
  BLOSSOM_TENANT_LIMIT_MODE: choice(
    'wait',
    ['wait', 'reject'],
    'Whether calls above the limits of a tenant wait or are rejected. Above a budget they are always rejected.',
  ),
  BLOSSOM_PRICES: pairs(
    'models with the prices of a million tokens of input, output and, if it differs, cached input, such as openai=0.15/0.6/0.075, separated by commas',
    readPrice,
    'Prices for budgets; `*` stands for all other models. Calls without a price are rejected.',
  ),
  BLOSSOM_FALLBACK_MODELS: models(
    'Models that answer a chat if the requested model fails, in this order.',
  ),
  BLOSSOM_HEDGE_MODELS: models(
    'Models that are called as well if a chat is slow: the first one that is not the requested model. The answer that starts first is used.',
  ),
  BLOSSOM_HEDGE_DELAY_MS: integerOr(
    'p95',
    'p95',
    1,
    LONGEST_MS,
    'Time after which a chat counts as slow; `p95` if it takes longer than 95 % of recent chats.',
  ),
  BLOSSOM_CACHE: onOrOff('on', 'Whether answers are cached.'),
  BLOSSOM_CACHE_TTL_MS: integer(30 * 60_000, 1, LONGEST_MS, 'How long an answer is cached.'),
  REDIS_URL: text(
    'an address such as redis://127.0.0.1:6379',
    isRedisURL,
    'Redis server through which several servers share their cache, identical calls, limits and circuits. Requires the package `redis`.',
  ),
  BLOSSOM_SHARED_CACHE: onOrOff(
    'on',
    'Whether servers with the same `REDIS_URL` share their cache.',
  ),
  BLOSSOM_SHARED_DEDUPE: onOrOff(
    'on',
    'Whether identical calls to servers with the same `REDIS_URL` share one upstream call.',
  ),
  BLOSSOM_SHARED_LIMITS: onOrOff(
    'on',
    'Whether servers with the same `REDIS_URL` share their limits and budgets.',
  ),
  BLOSSOM_SHARED_BREAKER: onOrOff(
    'on',
    'Whether servers with the same `REDIS_URL` share the state of their circuits.',
  ),
  BLOSSOM_SHARED_CONCURRENCY: onOrOff(
    'off',
    'Whether `BLOSSOM_QUEUE_CONCURRENCY`, which must then be a number, applies to all servers with the same `REDIS_URL` together.',
  ),
  BLOSSOM_FORWARD_KEYS: forwardKeys,
})

const isTokenText = (value: string): boolean => /^[\x21-\x7e]{16,}$/.test(value)

const withoutSlash = (origin: string): string => origin.replace(/\/$/, '')

/** The variables that `gatewayOptionsFromEnv()` reads. */
export const GatewayVariables = v.object({
  BLOSSOM_FORWARD_KEYS: forwardKeys,
  BLOSSOM_CORS_ORIGINS: list(
    'origins such as https://app.example, separated by commas',
    withoutSlash,
    isOrigin,
    'Origins of web pages that may call the gateway; `*` for all.',
  ),
  BLOSSOM_ADMIN_TOKEN: text(
    'at least 16 printable ASCII characters',
    isTokenText,
    'Token for the live page and for clearing the cache.',
  ),
  BLOSSOM_METRICS: onOrOff('off', 'Whether `/metrics` is served without a token.'),
  BLOSSOM_METRICS_TOKEN: text(
    'at least 16 printable ASCII characters',
    isTokenText,
    'Bearer token for `/metrics`, which is served if this is set.',
  ),
  BLOSSOM_BODY_LIMIT: integer(
    1024 * 1024,
    1,
    1024 * 1024 * 1024,
    'Maximum size of a request body, in bytes.',
  ),
  BLOSSOM_ERROR_DETAIL: choice(
    'safe',
    ['safe', 'full'],
    'Whether clients see the messages of unexpected errors and of upstream (`full`, for development).',
  ),
  LOG_LEVEL: choice(
    'info',
    ['silent', 'error', 'warn', 'info', 'debug'],
    'Which requests are logged, as JSON lines without prompts and keys.',
  ),
})

type Schema = v.ObjectSchema<v.ObjectEntries, undefined>

/**
 * Reads the variables of a schema. A blank value counts as absent.
 * @throws ConfigError naming the first invalid variable; the message does not show the value, which
 * may be a misplaced key
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
