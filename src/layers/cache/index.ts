import {
  ConfigError,
  type Context,
  check,
  defineLayer,
  isSharedState,
  type Layer,
  rules,
  type SharedState,
} from '../../core/index.js'
import { checkNamed } from '../named-base.js'
import { AnswerCache, type CacheStats } from './answer-cache.js'
import { type CacheStore, KeyvStore } from './keyv-store.js'
import { MemoryStore } from './memory-store.js'
import { SharedStore } from './shared-store.js'
import type { EntryStore } from './store.js'

export type { CacheStats } from './answer-cache.js'
export type { CacheStore } from './keyv-store.js'
export type { CacheNote } from './note.js'

/** Options of `cache()`. */
export interface CacheOptions<Name extends string = 'cache', Request = unknown> {
  /** How long an answer is fresh. Milliseconds. @default 1800000 (30 minutes) */
  ttlMs?: number | undefined
  /**
   * How long after `ttlMs` an answer is still served, while one call renews it in the background.
   * If the renewal fails, the old answer stays. Milliseconds.
   * @default 0
   */
  staleMs?: number | undefined
  /** Maximum number of entries in memory. @default 1000 */
  maxEntries?: number | undefined
  /** Maximum size in memory, measured roughly. Bytes. @default 67108864 (64 MiB) */
  maxBytes?: number | undefined
  /**
   * Stores the answers in a `Keyv`, a Keyv store such as `@keyv/redis`, or a `Map`. The function
   * then needs a name, `base(fn, { name: 'ask' })`, or the option `key`.
   * @default in memory, limited by `maxEntries` and `maxBytes`
   */
  store?: CacheStore | undefined
  /**
   * Time limit for each operation of `store`. After it the call goes upstream. Milliseconds.
   * @default 250
   */
  storeTimeoutMs?: number | undefined
  /**
   * State from `redisShared()`, used as a second level behind the entries in memory. Caches with
   * the same `name` share their entries. The function then needs a name, or the option `key`.
   * @default none; each process has its own entries
   */
  shared?: SharedState | undefined
  /**
   * Returns the request's key. When it returns undefined or throws, the call bypasses the cache.
   * The tenant is always added. In a `store`, keys of functions without a name must differ as well.
   * @default the base's `key`, else stable JSON of the request
   */
  key?: ((request: Request, context: Context) => string | undefined) | undefined
  /** The layer's name and its key in `stats()`. @default 'cache' */
  name?: Name | undefined
}

/** A cache layer, with methods to delete entries. */
export interface CacheLayer<Name extends string, Request = unknown>
  extends Layer<Name, CacheStats, Request> {
  /** Deletes all entries. Answers in progress are not stored. */
  clear(): Promise<void>
  /** Deletes one entry, by the `key` in a call's note. Resolves with whether it existed. */
  delete(key: string): Promise<boolean>
}

/**
 * Stores complete answers and returns them for equal requests. Streams are stored chunk by chunk
 * and replayed as streams; if the base can convert between forms, one stored answer serves both.
 * The client's answers are stored as text and parsed for each caller. Values of other functions are
 * deeply frozen, even when the call was a miss. Bytes are copied for each caller. If an external
 * store fails, is slow, or returns an invalid entry, this counts as a miss and never fails a call.
 *
 * A call with `cache: 'reload'` reads nothing stored, a call with `'no-store'` bypasses the cache.
 * Tenants never share answers.
 *
 * @throws ConfigError (`CONFIG`) when a stack with a `store` has a function without a name and key
 * @example cache({ ttlMs: 10 * 60_000, staleMs: 60 * 60_000 })
 * @see https://www.rfc-editor.org/rfc/rfc5861 stale-while-revalidate
 */
export function cache<const Name extends string = 'cache', Request = unknown>(
  options: CacheOptions<Name, Request> = {},
): CacheLayer<Name, Request> {
  const checked = check('cache', options, {
    ttlMs: rules.duration(30 * 60_000),
    staleMs: rules.duration(0, { min: 0 }),
    maxEntries: rules.integer(1_000, { min: 1, max: 10_000_000 }),
    maxBytes: rules.integer(64 * 1024 * 1024, { min: 1 }),
    store: rules.custom<CacheStore, undefined>('a Keyv, a Keyv store or a Map', undefined, isStore),
    storeTimeoutMs: rules.duration(250),
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
      undefined,
      isSharedState,
    ),
    key: rules.callback<(request: Request, context: Context) => string | undefined>(),
    name: rules.layerName<Name>('cache'),
  })
  const { ttlMs, staleMs, maxBytes, store, shared, name } = checked
  if (store !== undefined && shared !== undefined)
    throw new ConfigError('cache: use either option "store" or option "shared", not both.', {
      layer: name,
    })
  const isOutside = store !== undefined || shared !== undefined
  const answers = new AnswerCache({
    name,
    ttlMs,
    keepMs: ttlMs + staleMs,
    maxBytes,
    isOutside,
    keyOf: checked.key as ((request: unknown, context: Context) => unknown) | undefined,
    store: storeOf(checked),
  })
  const layer = defineLayer({
    name,
    kind: 'cache',
    shared,
    outside: {
      queue: 'a cache hit waits for a slot and holds it. Move cache outside.',
      pool: 'a cache hit waits for a connection and holds it. Move cache outside.',
      rateLimit:
        'a cache hit counts against the limit and may wait, although it costs nothing. Move cache outside.',
      breaker: 'cache hits are rejected while the breaker is open. Move cache outside.',
      batcher: 'the cache sees only whole batches, never single inputs. Move cache outside.',
    },
    checkBase:
      isOutside && checked.key === undefined
        ? checkNamed('cache', 'option "store" or "shared"', ', or a key')
        : undefined,
    wrap: (next) => (request, context) => answers.answer(next, request, context),
    stats: () => answers.stats(),
  })
  return Object.assign(layer, {
    clear: () => answers.clear(),
    delete: (key: string) => answers.delete(key),
  })
}

interface StoreOptions {
  readonly name: string
  readonly ttlMs: number
  readonly staleMs: number
  readonly maxEntries: number
  readonly maxBytes: number
  readonly store: CacheStore | undefined
  readonly storeTimeoutMs: number
  readonly shared: SharedState | undefined
}

function storeOf(options: StoreOptions): EntryStore {
  const { name, ttlMs, staleMs, maxEntries, maxBytes, store, storeTimeoutMs, shared } = options
  const keepMs = ttlMs + staleMs
  // Rounded up, because Redis for one rejects fractions of a millisecond.
  if (store !== undefined) return new KeyvStore(store, Math.ceil(keepMs), storeTimeoutMs)
  const memory = new MemoryStore(keepMs, maxEntries, maxBytes)
  return shared === undefined ? memory : new SharedStore(memory, shared.entries(name), keepMs)
}

function isStore(value: unknown): boolean {
  const store = value as Partial<Record<'get' | 'set' | 'delete' | 'clear', unknown>> | null
  return (
    typeof store === 'object' &&
    store !== null &&
    (['get', 'set', 'delete', 'clear'] as const).every(
      (method) => typeof store[method] === 'function',
    ) &&
    // Keyv sets its namespace on the store, which fails if the store is frozen.
    (Object.isExtensible(store) || 'useKeyPrefix' in store)
  )
}
