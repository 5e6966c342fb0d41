import { LRUCache } from 'lru-cache'
import { digest, now } from '../../core/index.js'
import { type StoredAnswer, sizeOf } from '../stored-form.js'
import type { Entry, EntryStore } from './store.js'

/** Bookkeeping of an entry beside its content, roughly. Bytes. */
const ENTRY_BYTES = 200

interface Kept {
  readonly answer: StoredAnswer
  readonly at: number
  readonly keep: number
}

/**
 * In the process: bounded by number and by size, the least recently used going first. Ages by the
 * monotonic clock. Keys are what requests are known by; their digests are made when asked for.
 */
export class MemoryStore implements EntryStore {
  readonly #kept: LRUCache<string, Kept>

  readonly #keepMs: number

  constructor(keepMs: number, maxEntries: number, maxBytes: number) {
    this.#keepMs = keepMs
    this.#kept = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      sizeCalculation: ({ answer }, key) => sizeOf(answer) + key.length + ENTRY_BYTES,
    })
  }

  get(key: string): Entry | undefined {
    const found = this.#kept.get(key)
    if (found === undefined) return undefined
    const ageMs = (now() - found.at) / found.keep
    const { answer, keep } = found
    if (ageMs <= this.#keepMs) return { answer, ageMs, isForeign: false, keep }
    this.#kept.delete(key)
    return undefined
  }

  set(key: string, answer: StoredAnswer, keep: number, ageMs = 0): void {
    this.#kept.set(key, { answer, at: now() - ageMs * keep, keep })
  }

  /** Looks through all keys: it is called by hand, now and then. */
  delete(of: string): boolean {
    for (const key of this.#kept.keys()) if (digest(key) === of) return this.#kept.delete(key)
    return false
  }

  clear(): void {
    this.#kept.clear()
  }

  entries(): number {
    return this.#kept.size
  }

  bytes(): number {
    return this.#kept.calculatedSize
  }
}
