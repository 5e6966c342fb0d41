import { ConfigError, check, rules } from '../../core/index.js'
import { isName, isObject } from './fields.js'
import type { LocalBlossomRequest } from './record.js'

/** A value, or a function that returns it for each request. */
export type PerRequest<T> = T | ((request: LocalBlossomRequest) => T)

/** Options of `startLocalBlossom()`. All are optional. Durations are in milliseconds. */
export interface LocalBlossomOptions {
  /** Port to listen on; 0 selects a free one. @default 0 */
  readonly port?: number | undefined
  /** Address to listen on. @default '127.0.0.1' */
  readonly host?: string | undefined
  /**
   * The accepted API keys, as `Authorization: Bearer KEY` or `?key=KEY`. Other requests get a 401,
   * except for lists of models.
   * @default any key, or none
   */
  readonly keys?: readonly string[] | undefined
  /** Names of additional models, for every endpoint. @default [] */
  readonly models?: readonly string[] | undefined
  /**
   * Behaves like an account limited to one generation at a time, for all keys together. A second
   * one gets a 429 with `Retry-After: 1` and `concurrency_limit_exceeded` (Pollinations gateway
   * documentation, 2026-11). A generation counts until its body ends or the client disconnects.
   * Answers from the cache do not count.
   * @default false
   */
  readonly freeAccount?: boolean | undefined
  /** The same with another limit, at least 1. @default Infinity, or 1 with `freeAccount` */
  readonly concurrency?: number | undefined
  /**
   * Limits generation requests to `limit` in any `intervalMs`, for all keys together, including
   * answers from the cache. Further requests get a 429 with `Retry-After` in whole seconds and the
   * exact `retryAfterSeconds` in the body.
   * @default none
   */
  readonly rate?: { readonly limit: number; readonly intervalMs: number } | undefined
  /**
   * Lets requests with the same method, path, query and body share one generation, concurrently or
   * later (the last 1,000 are kept). Streams and requests with a fault do not share (Pollinations
   * gateway documentation, 2026-11). A shared generation continues when its client disconnects, so
   * that a repeated request can join it, but no longer counts under `concurrency`. With false,
   * every request has its own generation, which stops with its client.
   * @default true
   */
  readonly coalesce?: boolean | undefined
  /** Time from the end of a request to the head of a generated answer. Milliseconds. @default 0 */
  readonly latencyMs?: PerRequest<number> | undefined
  /** Pause before each event of a stream except the first. Milliseconds. @default 0 */
  readonly chunkDelayMs?: PerRequest<number> | undefined
  /**
   * Number of words per content chunk of a stream; Infinity sends the whole text in one. @default 1
   */
  readonly wordsPerChunk?: PerRequest<number> | undefined
  /**
   * Minimum number of words in a generated answer, unless the request's `max_tokens` cuts it.
   * @default 0: three sentences or more
   */
  readonly words?: PerRequest<number> | undefined
  /**
   * Whether the server offers `POST /v1/responses` and lists it with the models. Without it, it
   * behaves like the many servers that only support chat.
   * @default true
   */
  readonly responses?: boolean | undefined
  /**
   * Returns the text of the answer, or undefined for the usual text. `max_tokens` and `stop` still
   * cut it.
   */
  readonly reply?: ((request: LocalBlossomRequest) => string | undefined) | undefined
  /** Lets a request bring its own fault, as JSON in the header `x-fault`. @default false */
  readonly faultHeader?: boolean | undefined
}

/** Validated options, each with a value. @internal */
export type Settings = ReturnType<typeof readOptions>

/** The longest timer: with a larger value Node fires after 1 ms. */
const LONGEST_MS = 2_147_483_647

/** A wait in milliseconds. @internal */
export const wait = <F>(fallback: F, min = 0) => rules.duration(fallback, { min, max: LONGEST_MS })

/** An integer of at least 1, or Infinity. @internal */
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
 * Validates the options and fills in defaults.
 *
 * @throws {ConfigError} (`CONFIG`) that names the option, the expected and the given value
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

/** An option as a function of the request. Validates what the user's own function returns. */
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
