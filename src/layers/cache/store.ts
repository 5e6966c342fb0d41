import Keyv from 'keyv'
import { LRUCache } from 'lru-cache'
import { type Shared, share, Timer, warn } from '../../core/index.js'

/** What a store outside the cache must do: a `Keyv`, any Keyv store, a `Map`. */
export interface CacheStore {
  /** The stored value, or `undefined`. May be a promise, as all here. */
  get(key: string): unknown
  /** Stores a value, for `ttl` milliseconds. */
  set(key: string, value: unknown, ttl?: number): unknown
  /** Forgets one value. */
  delete(key: string): unknown
  /** Forgets all values. */
  clear(): unknown
}

/** A stored answer. */
export interface Entry {
  readonly form: 'value' | 'stream'
  /** A value, or the array of a stream's chunks. */
  readonly content: Shared
  /** Age when it was read. Milliseconds. */
  readonly ageMs: number
}

/**
 * Where the cache keeps its entries. Nothing here rejects or throws: a store that fails has no
 * entries.
 */
export interface EntryStore {
  get(key: string): Entry | undefined | Promise<Entry | undefined>
  set(key: string, form: Entry['form'], content: Shared): void
  /** Stores a stream as the JSON text of its chunks, where that is of use. */
  readonly setText?: (key: string, text: string) => void
  delete(key: string): boolean | Promise<boolean>
  clear(): void | Promise<void>
  entries(): number
  bytes(): number
}

/** Bookkeeping of an entry beside its content, roughly. Bytes. */
const ENTRY_BYTES = 200

interface Kept {
  readonly form: Entry['form']
  /**
   * A stream that nobody has asked for yet is kept as its JSON text, where there is one. It has
   * hundreds of objects, which every garbage collection would go through, and most answers are
   * never asked for again.
   */
  readonly content: Shared | Buffer
  readonly at: number
}

/**
 * In the process: live frozen answers, bounded by number and by size, the least recently used going
 * first. Ages by the monotonic clock.
 */
export function memoryStore(keepMs: number, maxEntries: number, maxBytes: number): EntryStore {
  const kept = new LRUCache<string, Kept>({
    max: maxEntries,
    maxSize: maxBytes,
    sizeCalculation: ({ content }) =>
      (Buffer.isBuffer(content) ? content.length : content.bytes) + ENTRY_BYTES,
    // It takes whole ones only.
    ttl: Math.ceil(keepMs),
    ttlResolution: 0,
  })
  return {
    get(key) {
      const found = kept.get(key)
      if (found === undefined) return undefined
      const { form, content, at } = found
      const ageMs = performance.now() - at
      if (!Buffer.isBuffer(content)) return { form, content, ageMs }
      const live = share(JSON.parse(content.toString('utf8')))
      // Asked for again, so perhaps often; as objects it is several times as large.
      if (live.bytes + ENTRY_BYTES <= maxBytes)
        kept.set(key, { form, content: live, at }, { start: at })
      return { form, content: live, ageMs }
    },
    set: (key, form, content) => void kept.set(key, { form, content, at: performance.now() }),
    setText: (key, text) =>
      void kept.set(key, { form: 'stream', content: Buffer.from(text), at: performance.now() }),
    delete: (key) => kept.delete(key),
    clear: () => kept.clear(),
    entries: () => kept.size,
    bytes: () => kept.calculatedSize,
  }
}

/**
 * What is written to a store outside the process. Its own key is in it, so that an entry in the
 * wrong place is not believed.
 */
interface Envelope {
  readonly v: 1
  readonly k: string
  readonly f: Entry['form']
  readonly at: number
  readonly d: unknown
}

/**
 * After a store operation that timed out, nothing is read or written for this long: a frozen store
 * must not slow every call. Milliseconds.
 */
const REST_MS = 1_000

/**
 * Any Keyv store. Every operation has its own short time limit, and whatever goes wrong is a miss.
 * Ages by the date, as processes share it.
 */
export function keyvStore(store: CacheStore, keepMs: number, limitMs: number): EntryStore {
  // By its shape, as the application may have another copy of keyv.
  // Keyv's get() keeps a store's failure to itself unless it is told to throw.
  const keyv =
    'useKeyPrefix' in store
      ? (store as Keyv)
      : new Keyv({ store, namespace: 'blossom-stack', throwOnErrors: true })
  let restUntil = 0
  let clearedAt = 0
  const failed = () =>
    warn(
      'cache: its store failed or did not answer in time; calls go upstream as if nothing were stored.',
    )
  keyv.on('error', failed)

  const attempt = async <T>(operation: () => Promise<T>, otherwise: T): Promise<T> => {
    let timer: Timer | undefined
    try {
      return await Promise.race([
        operation(),
        new Promise<T>((resolve) => {
          timer = new Timer(limitMs, () => {
            restUntil = performance.now() + REST_MS
            failed()
            resolve(otherwise)
          })
        }),
      ])
    } catch {
      failed()
      return otherwise
    } finally {
      timer?.stop()
    }
  }

  const rests = () => performance.now() < restUntil

  return {
    async get(key) {
      if (rests()) return undefined
      const found: unknown = await attempt<unknown>(() => keyv.get(key), undefined)
      try {
        if (!isEnvelope(found, key) || found.at < clearedAt) return undefined
        return { form: found.f, content: share(found.d), ageMs: Math.max(0, Date.now() - found.at) }
      } catch {
        // A Keyv may keep live objects, whose getters throw.
        failed()
        return undefined
      }
    },
    set(key, form, content) {
      if (!content.storable || rests()) return
      const envelope: Envelope = { v: 1, k: key, f: form, at: Date.now(), d: content.take() }
      // Nobody waits for a write.
      void attempt<unknown>(() => keyv.set(key, envelope, keepMs), undefined)
    },
    delete: (key) => attempt(() => keyv.delete(key), false),
    clear() {
      // A store that could not be cleared, or a write that arrives after it, must not bring back
      // what is older.
      clearedAt = Date.now()
      return attempt(() => keyv.clear(), undefined)
    },
    entries: () => 0,
    bytes: () => 0,
  }
}

function isEnvelope(found: unknown, key: string): found is Envelope {
  if (typeof found !== 'object' || found === null) return false
  const { v, k, f, at, d } = found as Partial<Envelope>
  return (
    v === 1 &&
    k === key &&
    typeof at === 'number' &&
    Number.isFinite(at) &&
    (f === 'value' || (f === 'stream' && Array.isArray(d)))
  )
}
