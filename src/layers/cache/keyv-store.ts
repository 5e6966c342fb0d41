import Keyv from 'keyv'
import { digest, inTime, now, wallTime, warn } from '../../core/index.js'
import type { StoredAnswer } from '../stored-form.js'
import { opened, sealed } from './envelope.js'
import type { Entry, EntryStore } from './store.js'

/** The methods that an external store needs: a `Keyv`, any Keyv store, or a `Map`. */
export interface CacheStore {
  /** Returns the stored value, or `undefined`. May return a promise, like all methods here. */
  get(key: string): unknown
  /** Stores a value for `ttl` milliseconds. */
  set(key: string, value: unknown, ttl?: number): unknown
  /** Deletes one value. */
  delete(key: string): unknown
  /** Deletes all values. */
  clear(): unknown
}

/**
 * After a timeout of the store, reads and writes are skipped for this long, so that a store that
 * hangs does not slow every call. Milliseconds.
 */
const REST_MS = 1_000

/**
 * Uses any Keyv store. Each operation has its own short time limit, and a failure counts as a miss.
 * Ages are based on the wall clock, because processes share the store.
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
    // Checked by shape, because the application may have another copy of keyv. Keyv's `get()` hides
    // a store's failure unless `throwOnErrors` is set.
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
      // A `Keyv` may contain live objects with getters that throw, and text may not be JSON.
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
    // Writes happen in the background.
    void this.#attempt<unknown>(() => this.#keyv.set(known, envelope, keepMs), undefined)
  }

  delete(of: string): Promise<boolean> {
    return this.#attempt(() => this.#keyv.delete(of), false)
  }

  clear(): Promise<void> {
    // If the store could not be cleared, or a write arrives late, older entries must still be
    // ignored.
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
    'cache: the store failed or did not answer in time. Calls go upstream until it answers again.',
  )
}
