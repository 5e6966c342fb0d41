import { LRUCache } from 'lru-cache'
import { digest, now } from '../../core/index.js'
import { type StoredAnswer, sizeOf } from '../stored-form.js'
import type { Entry, EntryStore } from './store.js'

/** Rough memory per entry, apart from its content. Bytes. */
const ENTRY_BYTES = 200

interface Kept {
  readonly answer: StoredAnswer
  readonly at: number
  readonly keep: number
}

/**
 * Entries in memory, limited by number and by size. The least recently used are evicted first. Ages
 * are based on the monotonic clock. Keys are full request keys; digests are computed on demand.
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

  /** Searches all keys, which is fine for a rare, manual operation. */
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
