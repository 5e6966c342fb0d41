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
   * Behaves like a free account: one generation at a time over all keys, and a second one is
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
   * Text to answer with; return undefined for the usual one. `max_tokens` and `stop` still cut it.
   */
  readonly reply?: ((request: LocalBlossomRequest) => string | undefined) | undefined
  /** Lets a request bring its own fault as JSON in the header `x-fault`. @default false */
  readonly faultHeader?: boolean | undefined
}

/** Options after the checks, each with a value. @internal */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly keys: ReadonlySet<string> | undefined
  readonly models: readonly string[]
  readonly concurrency: number
  readonly rate: { readonly limit: number; readonly intervalMs: number } | undefined
  readonly coalesce: boolean
  readonly latencyMs: (request: LocalBlossomRequest) => number
  readonly chunkDelayMs: (request: LocalBlossomRequest) => number
  readonly wordsPerChunk: (request: LocalBlossomRequest) => number
  readonly words: (request: LocalBlossomRequest) => number
  readonly reply: (request: LocalBlossomRequest) => string | undefined
  readonly faultHeader: boolean
}

/** The longest wait a timer can hold: beyond it Node fires after 1 ms. @internal */
export const LONGEST_MS = 2_147_483_647

const NAMES: Readonly<Record<keyof LocalBlossomOptions, true>> = {
  port: true,
  host: true,
  keys: true,
  models: true,
  freeAccount: true,
  concurrency: true,
  rate: true,
  coalesce: true,
  latencyMs: true,
  chunkDelayMs: true,
  wordsPerChunk: true,
  words: true,
  reply: true,
  faultHeader: true,
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {TypeError} naming the option, what it must be and what it is.
 * @internal
 */
export function readOptions(options: LocalBlossomOptions): Settings {
  if (typeof options !== 'object' || options === null) throw wrong('options', 'an object', options)
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(NAMES, name))
      throw new TypeError(`startLocalBlossom: there is no option \`${name}\`.`)
  }
  const {
    port = 0,
    host = '127.0.0.1',
    keys,
    models = [],
    freeAccount = false,
    concurrency,
    rate,
  } = options
  const { coalesce = true, reply = () => undefined, faultHeader = false } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw wrong('port', 'an integer from 0 to 65535', port)
  if (typeof host !== 'string' || host === '') throw wrong('host', 'an address', host)
  // The keys themselves stay out of the message.
  if (keys !== undefined && !areNames(keys))
    throw new TypeError('startLocalBlossom: `keys` must be a list of non-empty strings.')
  if (!areNames(models)) throw wrong('models', 'a list of non-empty strings', models)
  if (concurrency !== undefined && !isCount(concurrency))
    throw wrong('concurrency', 'an integer of at least 1, or Infinity', concurrency)
  if (rate !== undefined && (typeof rate !== 'object' || rate === null))
    throw wrong('rate', 'an object {limit, intervalMs}', rate)
  if (rate !== undefined && !isCount(rate.limit))
    throw wrong('rate.limit', 'an integer of at least 1, or Infinity', rate.limit)
  if (rate !== undefined && !(rate.intervalMs > 0 && isDelay(rate.intervalMs))) {
    throw wrong('rate.intervalMs', 'a number of milliseconds above 0', rate.intervalMs)
  }
  if (typeof reply !== 'function') throw wrong('reply', 'a function', reply)
  for (const [name, value] of Object.entries({ freeAccount, coalesce, faultHeader })) {
    if (typeof value !== 'boolean') throw wrong(name, 'true or false', value)
  }
  const ms = `a number of milliseconds from 0 to ${LONGEST_MS}`
  return {
    port,
    host,
    keys: keys && new Set(keys),
    models: [...models],
    concurrency: Math.min(concurrency ?? Infinity, freeAccount ? 1 : Infinity),
    rate: rate && { limit: rate.limit, intervalMs: rate.intervalMs },
    coalesce,
    latencyMs: perRequest('latencyMs', options.latencyMs ?? 0, ms, isDelay),
    chunkDelayMs: perRequest('chunkDelayMs', options.chunkDelayMs ?? 0, ms, isDelay),
    wordsPerChunk: perRequest(
      'wordsPerChunk',
      options.wordsPerChunk ?? 1,
      'an integer of at least 1, or Infinity',
      isCount,
    ),
    words: perRequest(
      'words',
      options.words ?? 0,
      'an integer of at least 0',
      (value) => Number.isInteger(value) && value >= 0,
    ),
    reply,
    faultHeader,
  }
}

/** True for a wait that a timer can hold. @internal */
export function isDelay(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= LONGEST_MS
}

/** True for 1, 2, 3 and so on, and for Infinity. @internal */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 1 && (Number.isInteger(value) || value === Infinity)
}

function perRequest(
  name: string,
  value: PerRequest<number>,
  expected: string,
  fits: (value: number) => boolean,
) {
  if (typeof value === 'function') {
    return (request: LocalBlossomRequest) => {
      const given = value(request)
      if (!fits(given)) throw wrong(`${name}()`, expected, given)
      return given
    }
  }
  if (!fits(value)) throw wrong(name, expected, value)
  return () => value
}

function areNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string' && name !== '')
}

function wrong(name: string, expected: string, got: unknown): TypeError {
  const shown =
    typeof got === 'object' || typeof got === 'function'
      ? got === null
        ? 'null'
        : typeof got
      : JSON.stringify(got)
  return new TypeError(
    `startLocalBlossom: \`${name}\` must be ${expected}; got ${typeof got === 'number' ? String(got) : shown}.`,
  )
}
