import type { StoredAnswer } from '../stored-form.js'

/** A stored answer, and its age when it was read. */
export interface Entry {
  readonly answer: StoredAnswer
  /** Milliseconds. */
  readonly ageMs: number
  /** Whether it comes from outside the process, where others may write. */
  readonly isForeign: boolean
  /** The share of its time that it is kept for. */
  readonly keep: number
}

/**
 * Where the cache keeps its entries. Nothing here rejects or throws: a store that fails has no
 * entries.
 */
export interface EntryStore {
  /** The entry, or a promise of it; null when the other processes could not be asked. */
  get(key: string): Entry | undefined | Promise<Entry | undefined | null>
  /** An entry that came from outside has been judged and is sound. */
  proved?(key: string, entry: Entry): void
  /** @param keep for which share of its time, above 0 to 1: it ages so much faster */
  set(key: string, answer: StoredAnswer, keep: number): void
  /** By the digest that callers know a key by. */
  delete(digest: string): boolean | Promise<boolean>
  clear(): void | Promise<void>
  /** Calls `listener` when another process has cleared the cache. */
  onCleared?(listener: () => void): void
  entries(): number
  bytes(): number
}
