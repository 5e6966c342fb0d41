import { ConfigError, check, rules } from '../../core/index.js'
import { isName, isObject } from './fields.js'
import type { LocalBlossomRequest } from './record.js'

/** A number, or a function of the request that gives one. */
export type PerRequest<T> = T | ((request: LocalBlossomRequest) => T)

/** Options of `startLocalBlossom`; all may be left out. Durations are in milliseconds. */
export interface LocalBlossomOptions {
  /** Port to listen on; 0 takes a free one. @default 0 */
  readonly port?: number | undefined
  /** Address to listen on. @default '127.0.0.1' */
  readonly host?: string | undefined
  /**
   * The keys that are accepted, as `Authorization: Bearer KEY` or `?key=KEY`; anything else is
   * answered with 401, except for lists of models, which need none. Undefined: any key or none will
   * do.
   */
  readonly keys?: readonly string[] | undefined
  /** Names of models known beside the built-in ones, for every endpoint. @default [] */
  readonly models?: readonly string[] | undefined
  /**
   * Behaves like an account held to one generation at a time, over all keys: a second one is
   * refused with 429, `Retry-After: 1` and `concurrency_limit_exceeded` (Pollinations gateway
   * documentation, 2026-11). The place is held to the end of the body, or until the client leaves;
   * answers from the cache take none.
   * @default false
   */
  readonly freeAccount?: boolean | undefined
  /** The same with another limit, at least 1. @default Infinity, or 1 with `freeAccount` */
  readonly concurrency?: number | undefined
  /**
   * At most `limit` generation requests in any `intervalMs`, over all keys, answers from the cache
   * included; the next is refused with 429, `Retry-After` in whole seconds and the exact
   * `retryAfterSeconds` in the body.
   * @default no limit
   */
  readonly rate?: { readonly limit: number; readonly intervalMs: number } | undefined
  /**
   * Requests with the same method, path, query and body share one generation, at the same time or
   * later (the last 1,000 are kept); streams and requests with a fault do not (Pollinations gateway
   * documentation, 2026-11). Such a generation goes on when its client leaves, so that a repeated
   * request can join it, but gives its place under `concurrency` back. False: every request has its
   * own, which stops with its client.
   * @default true
   */
  readonly coalesce?: boolean | undefined
  /** Time from the end of a request to the head of a generated answer. @default 0 */
  readonly latencyMs?: PerRequest<number> | undefined
  /** Pause before each event of a stream but the first. @default 0 */
  readonly chunkDelayMs?: PerRequest<number> | undefined
  /** Words in a content chunk of a stream; Infinity sends the whole text as one. @default 1 */
  readonly wordsPerChunk?: PerRequest<number> | undefined
  /**
   * Least number of words in a written answer, unless the request's `max_tokens` cuts it.
   * @default 0: three sentences and more
   */
  readonly words?: PerRequest<number> | undefined
  /**
   * Whether it serves `POST /v1/responses`, and names it in the list of models. Without it it is like
   * the many servers that know chats only.
   * @default true
   */
  readonly responses?: boolean | undefined
  /**
   * Text to answer with; return undefined for the usual one. `max_tokens` and `stop` still cut it.
   */
  readonly reply?: ((request: LocalBlossomRequest) => string | undefined) | undefined
  /** Lets a request bring its own fault as JSON in the header `x-fault`. @default false */
  readonly faultHeader?: boolean | undefined
}

/** Options after the checks, each with a value. @internal */
export type Settings = ReturnType<typeof readOptions>

/** The longest wait that a timer can hold: above it Node fires after 1 ms. */
const LONGEST_MS = 2_147_483_647

/** A wait in milliseconds. @internal */
export const wait = <F>(fallback: F, min = 0) => rules.duration(fallback, { min, max: LONGEST_MS })

/** 1, 2, 3 and so on, or Infinity. @internal */
export const count = <F>(fallback: F) =>
  rules.custom<number, F>(
    'an integer of at least 1, or Infinity',
    fallback,
    (value) =>
      typeof value === 'number' && value >= 1 && (Number.isInteger(value) || value === Infinity),
  )

const names = <F>(fallback: F) =>
  rules.custom<readonly string[], F>(
    'a list of non-empty strings',
    fallback,
    (value) => Array.isArray(value) && value.every(isName),
  )

const SUBJECT = 'startLocalBlossom'

/** The rules for a number, or for each number that a function returns. */
const PER_REQUEST = {
  latencyMs: wait(0),
  chunkDelayMs: wait(0),
  wordsPerChunk: count(1),
  words: rules.integer(0, { min: 0 }),
}

const perRequest = (rule: rules.Rule<number>) =>
  rules.either<number, ((request: LocalBlossomRequest) => number) | undefined>(
    rule,
    rules.callback(),
  )

const OPTIONS = {
  port: rules.integer(0, { min: 0, max: 65_535 }),
  host: rules.text('127.0.0.1'),
  keys: { ...names(undefined), secret: true },
  models: names([]),
  freeAccount: rules.flag(false),
  concurrency: count(undefined),
  rate: rules.custom<NonNullable<LocalBlossomOptions['rate']>, undefined>(
    'an object { limit, intervalMs }',
    undefined,
    isObject,
  ),
  coalesce: rules.flag(true),
  latencyMs: perRequest(PER_REQUEST.latencyMs),
  chunkDelayMs: perRequest(PER_REQUEST.chunkDelayMs),
  wordsPerChunk: perRequest(PER_REQUEST.wordsPerChunk),
  words: perRequest(PER_REQUEST.words),
  reply: rules.callback<NonNullable<LocalBlossomOptions['reply']>>(),
  responses: rules.flag(true),
  faultHeader: rules.flag(false),
} satisfies Record<keyof LocalBlossomOptions, rules.Rule<unknown>>

const RATE = {
  limit: rules.required(count(undefined)),
  intervalMs: rules.required(wait(undefined, 1)),
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ConfigError} naming the option, what is expected and what was given.
 * @internal
 */
export function readOptions(options: LocalBlossomOptions) {
  const checked = check(SUBJECT, options, OPTIONS)
  const { keys, concurrency, freeAccount, rate, reply } = checked
  return {
    ...checked,
    keys: keys && new Set<string>(keys),
    models: [...checked.models],
    concurrency: Math.min(concurrency ?? Infinity, freeAccount ? 1 : Infinity),
    rate: rate && check(`${SUBJECT}: rate`, rate, RATE),
    latencyMs: ask('latencyMs', checked.latencyMs),
    chunkDelayMs: ask('chunkDelayMs', checked.chunkDelayMs),
    wordsPerChunk: ask('wordsPerChunk', checked.wordsPerChunk),
    words: ask('words', checked.words),
    reply: reply ?? ((): string | undefined => undefined),
  }
}

/** An option as a function of the request. What the user's own function returns is checked. */
function ask(
  name: keyof typeof PER_REQUEST,
  value: PerRequest<number> | undefined,
): (request: LocalBlossomRequest) => number {
  if (typeof value !== 'function') return () => value as number
  const rule = PER_REQUEST[name]
  return (request) => {
    const given = value(request)
    if (rule.accepts(given)) return given
    throw new ConfigError(`${SUBJECT}: ${name}() must return ${rule.expected}.`)
  }
}
