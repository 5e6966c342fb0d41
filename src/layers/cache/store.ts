import type { StoredAnswer } from './stored-form.js'

/** A stored answer, and its age when it was read. */
export interface Entry {
  readonly answer: StoredAnswer
  /** Milliseconds. */
  readonly ageMs: number
}

/**
 * Where the cache keeps its entries. Nothing here rejects or throws: a store that fails has no
 * entries.
 */
export interface EntryStore {
  /** The entry, or a promise of it. */
  get(key: string): Entry | undefined | Promise<Entry | undefined>
  /** @param keep for which share of its time, above 0 to 1: it ages so much faster */
  set(key: string, answer: StoredAnswer, keep: number): void
  /** By the digest that callers know a key by. */
  delete(digest: string): boolean | Promise<boolean>
  clear(): void | Promise<void>
  entries(): number
  bytes(): number
}
