import Keyv from 'keyv'
import { digest, inTime, now, wallTime, warn } from '../../core/index.js'
import type { StoredAnswer } from '../stored-form.js'
import { opened, sealed } from './envelope.js'
import type { Entry, EntryStore } from './store.js'

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

/**
 * After a store operation that timed out, nothing is read or written for this long: a frozen store
 * must not slow every call. Milliseconds.
 */
const REST_MS = 1_000

/**
 * Any Keyv store. Every operation has its own short time limit, and whatever goes wrong is a miss.
 * Ages by the date, as processes share it.
 */
export class KeyvStore implements EntryStore {
  readonly #keyv: Keyv
  readonly #keepMs: number
  readonly #limitMs: number
  #restUntil = 0
  #clearedAt = 0

  constructor(store: CacheStore, keepMs: number, limitMs: number) {
    this.#keepMs = keepMs
    this.#limitMs = limitMs
    // By its shape, as the application may have another copy of keyv.
    // Keyv's get() keeps a store's failure to itself unless it is set to throw.
    this.#keyv =
      'useKeyPrefix' in store
        ? (store as Keyv)
        : new Keyv({ store, namespace: 'blossom-stack', throwOnErrors: true })
    this.#keyv.on('error', storeFailed)
  }

  async get(key: string): Promise<Entry | undefined> {
    if (this.#isResting) return undefined
    const known = digest(key)
    const found = await this.#attempt<unknown>(() => this.#keyv.get(known), undefined)
    try {
      const entry = opened(found, known)
      return entry === undefined || entry.at < this.#clearedAt ? undefined : entry
    } catch {
      // A Keyv may keep live objects, whose getters throw, and text may be no JSON.
      storeFailed()
      return undefined
    }
  }

  set(key: string, answer: StoredAnswer, keep: number): void {
    if (this.#isResting) return
    const known = digest(key)
    const envelope = sealed(known, answer, keep)
    if (envelope === undefined) return
    const keepMs = keep < 1 ? Math.ceil(this.#keepMs * keep) : this.#keepMs
    // Nobody waits for a write.
    void this.#attempt<unknown>(() => this.#keyv.set(known, envelope, keepMs), undefined)
  }

  delete(of: string): Promise<boolean> {
    return this.#attempt(() => this.#keyv.delete(of), false)
  }

  clear(): Promise<void> {
    // A store that could not be cleared, or a write that arrives after it, must not bring back what
    // is older.
    this.#clearedAt = wallTime()
    return this.#attempt(() => this.#keyv.clear(), undefined)
  }

  entries(): number {
    return 0
  }

  bytes(): number {
    return 0
  }

  get #isResting(): boolean {
    return now() < this.#restUntil
  }

  async #attempt<T>(operation: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await inTime(operation, this.#limitMs, () => {
        this.#restUntil = now() + REST_MS
        storeFailed()
        return otherwise
      })
    } catch {
      storeFailed()
      return otherwise
    }
  }
}

function storeFailed(): void {
  warn(
    'cache: its store failed or did not answer in time; calls go upstream as if nothing were stored.',
  )
}
