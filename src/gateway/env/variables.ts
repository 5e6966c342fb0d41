import * as v from 'valibot'
import { DEFAULT_BASE_URL, readBaseURL } from '../../client/settings.js'
import { ConfigError } from '../../core/index.js'
import { isOrigin } from '../options.js'

/** Environment variables: `process.env`, or another record in tests. */
export type Environment = Readonly<Record<string, string | undefined>>

// The contract of the environment. Each schema is the validator, the TypeScript type and the table
// of variables in the README. A message is what the value must be.

/** Ten years, which is also the limit of the layers. */
const LONGEST_MS = 10 * 365 * 24 * 3_600_000

function integer(fallback: number, min: number, max: number, description: string) {
  const expected = `an integer from ${min} to ${max}`
  const value = v.pipe(
    v.string(),
    v.regex(/^\d{1,15}$/, expected),
    v.transform(Number),
    v.minValue(min, expected),
    v.maxValue(max, expected),
    v.metadata({ expected, description }),
  )
  return v.optional(value, String(fallback))
}

function choice<const Word extends string>(
  fallback: NoInfer<Word>,
  words: readonly Word[],
  description: string,
) {
  const expected = `one of ${words.join(', ')}`
  return v.optional(
    v.pipe(v.picklist(words, expected), v.metadata({ expected, description })),
    fallback,
  )
}

const onOrOff = (fallback: 'on' | 'off', description: string) =>
  v.pipe(
    choice(fallback, ['on', 'off'], description),
    v.transform((word) => word === 'on'),
  )

function text(
  expected: string,
  accepts: (value: string) => boolean,
  description: string,
  fallback?: string,
) {
  const value = v.pipe(
    v.string(),
    v.check(accepts, expected),
    v.metadata({ expected, description }),
  )
  return v.optional(value, fallback)
}

function list(
  expected: string,
  readItem: (item: string) => string,
  accepts: (item: string) => boolean,
  description: string,
) {
  return v.optional(
    v.pipe(
      v.string(),
      v.transform((value) => value.split(',').map((item) => readItem(item.trim()))),
      v.everyItem(accepts, expected),
      v.metadata({ expected, description }),
    ),
  )
}

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
  BLOSSOM_QUEUE_CONCURRENCY: integer(5, 1, 100_000, 'Calls in progress at a time.'),
  BLOSSOM_QUEUE_MAX_WAITING: integer(1_000, 0, 10_000_000, 'Calls that may wait.'),
  BLOSSOM_RATE_LIMIT_PER_MINUTE: integer(
    0,
    0,
    1_000_000,
    'Calls a minute that may go upstream, a sixth of them at once; 0 for no limit.',
  ),
  BLOSSOM_TENANT_LIMIT_PER_MINUTE: integer(
    0,
    0,
    1_000_000,
    'Calls a minute of each tenant, a sixth of them at once; 0 for no limit.',
  ),
  BLOSSOM_FALLBACK_MODELS: list(
    'names of models, separated by commas',
    (name) => name,
    (name) => /^[\x21-\x7e]+$/.test(name),
    'Models that answer chats when the one asked for fails, in this order.',
  ),
  BLOSSOM_CACHE: onOrOff('on', 'Whether answers are cached.'),
  BLOSSOM_CACHE_TTL_MS: integer(30 * 60_000, 1, LONGEST_MS, 'How long an answer is cached.'),
  REDIS_URL: text(
    'an address such as redis://127.0.0.1:6379',
    isRedisURL,
    'Keeps the cache in Redis. Needs the packages `redis` and `@keyv/redis`.',
  ),
  BLOSSOM_FORWARD_KEYS: forwardKeys,
})

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
    (value) => /^[\x21-\x7e]{16,}$/.test(value),
    'The Bearer token for clearing the cache.',
  ),
  BLOSSOM_BODY_LIMIT: integer(1024 * 1024, 1, 1024 * 1024 * 1024, 'Largest body, in bytes.'),
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
