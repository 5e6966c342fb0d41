import Keyv from 'keyv'
import { digest, now, Timer, wallTime, warn } from '../../core/index.js'
import type { Entry, EntryStore } from './store.js'
import { read, type StoredAnswer, type Written, write } from './stored-form.js'

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
 * What is written to a store outside the process. Its own key is in it, so that an entry in the
 * wrong place is not believed.
 */
interface Envelope {
  readonly v: 2
  readonly k: string
  readonly f: Written['form']
  readonly at: number
  /** The share of its time that it is kept for, where that is below 1. */
  readonly s?: number
  readonly d: unknown
  /** What JSON cannot say of the content, where there is such. */
  readonly o?: Written['oddities']
  /** In which variant a stream was asked for, where there are several. */
  readonly w?: unknown
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
      if (!isEnvelope(found, known) || found.at < this.#clearedAt) return undefined
      const answer = read({
        form: found.f,
        content: found.d,
        oddities: found.o,
        variant: found.w,
      })
      return answer && { answer, ageMs: Math.max(0, wallTime() - found.at) / (found.s ?? 1) }
    } catch {
      // A Keyv may keep live objects, whose getters throw, and text may be no JSON.
      storeFailed()
      return undefined
    }
  }

  set(key: string, answer: StoredAnswer, keep: number): void {
    if (this.#isResting) return
    const written = write(answer)
    if (written === undefined) return
    const known = digest(key)
    const envelope: Envelope = {
      v: 2,
      k: known,
      f: written.form,
      at: wallTime(),
      ...(keep < 1 && { s: keep }),
      d: written.content,
      ...(written.oddities && { o: written.oddities }),
      ...(written.variant !== undefined && { w: written.variant }),
    }
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
    let timer: Timer | undefined
    try {
      return await Promise.race([
        operation(),
        new Promise<T>((resolve) => {
          timer = new Timer(this.#limitMs, () => {
            this.#restUntil = now() + REST_MS
            storeFailed()
            resolve(otherwise)
          })
        }),
      ])
    } catch {
      storeFailed()
      return otherwise
    } finally {
      timer?.stop()
    }
  }
}

function storeFailed(): void {
  warn(
    'cache: its store failed or did not answer in time; calls go upstream as if nothing were stored.',
  )
}

function isEnvelope(found: unknown, key: string): found is Envelope {
  if (typeof found !== 'object' || found === null) return false
  const { v, k, f, at, s = 1 } = found as Partial<Envelope>
  const isWhole = v === 2 && k === key && typeof f === 'string' && Number.isFinite(at)
  return isWhole && typeof s === 'number' && s > 0 && s <= 1
}
