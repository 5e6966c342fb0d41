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
   * How long after that it is still served, at once, while one call renews it behind the scenes; if
   * that fails the old answer stays. Milliseconds.
   * @default 0
   */
  staleMs?: number | undefined
  /** In memory only. @default 1000 */
  maxEntries?: number | undefined
  /** In memory only, by a rough count. Bytes. @default 67108864 (64 MiB) */
  maxBytes?: number | undefined
  /**
   * A `Keyv`, a Keyv store such as `@keyv/redis`, or a `Map`. It counts as outside the process, so
   * the function must have a name there, `base(fn, { name: 'ask' })`, or a `key`.
   * @default in memory, bounded
   */
  store?: CacheStore | undefined
  /**
   * Longest wait for an operation of `store`; then the call goes upstream. Milliseconds.
   * @default 250
   */
  storeTimeoutMs?: number | undefined
  /**
   * What the processes of a service have together, made by `redisShared()`: a second level behind
   * the one in memory. Caches of the same `name` share their entries. As with `store`, the function
   * must have a name there, or a `key`.
   * @default none: each process has entries of its own
   */
  shared?: SharedState | undefined
  /**
   * The request's identity; when it gives none, or throws, the call bypasses the cache. The tenant
   * is always added. In a `store`, keys of functions without a name must differ as well.
   * @default the base's `key`, else stable JSON
   */
  key?: ((request: Request, context: Context) => string | undefined) | undefined
  /** Key in `stats()`. @default 'cache' */
  name?: Name | undefined
}

/** A cache layer can also be emptied. */
export interface CacheLayer<Name extends string, Request = unknown>
  extends Layer<Name, CacheStats, Request> {
  /** Forgets everything; answers under way are not stored either. */
  clear(): Promise<void>
  /** Forgets one entry, by the `key` of a call's note. Resolves with whether it was there. */
  delete(key: string): Promise<boolean>
}

/**
 * Keeps complete answers and returns them again. Streams are stored chunk by chunk and replayed as
 * streams; where the base can convert, one stored form serves both. Answers of the client are kept
 * as the text they came as, and parsed for each caller; other functions' values are deeply frozen,
 * on a miss as on a hit; bytes are copied for each caller. A store outside the process that fails,
 * is slow, or holds nonsense counts as a miss and never fails a call.
 *
 * A call with `cache: 'reload'` reads nothing stored, one with `'no-store'` bypasses the cache.
 * Tenants never share.
 *
 * @throws ConfigError when a stack is composed, for a `store` and a function without name and key
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
      'what redisShared() returns',
      undefined,
      isSharedState,
    ),
    key: rules.callback<(request: Request, context: Context) => string | undefined>(),
    name: rules.layerName<Name>('cache'),
  })
  const { ttlMs, staleMs, maxBytes, store, shared, name } = checked
  if (store !== undefined && shared !== undefined)
    throw new ConfigError('cache: give either store or shared, not both.', { layer: name })
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
      queue: 'a hit waits for a slot and holds it; put cache outside.',
      pool: 'a hit waits for a connection and holds it; put cache outside.',
      rateLimit: 'a hit is counted and may wait, though it costs nothing; put cache outside.',
      breaker: 'hits are refused while the breaker is open; put cache outside.',
      batcher: 'inputs are looked up by the batch, never one by one; put cache outside.',
    },
    checkBase:
      isOutside && checked.key === undefined
        ? checkNamed('cache', 'a store, or shared', ', or a key')
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
  // Redis, for one, refuses a part of a millisecond.
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
    // Keyv writes its namespace on a store, which a frozen one refuses.
    (Object.isExtensible(store) || 'useKeyPrefix' in store)
  )
}
