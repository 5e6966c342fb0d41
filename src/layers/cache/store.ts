import type { StoredAnswer } from '../stored-form.js'

/** A stored answer, and its age when it was read. */
export interface Entry {
  readonly answer: StoredAnswer
  /** Age in milliseconds. */
  readonly ageMs: number
  /** Whether it comes from outside the process, where others may write. */
  readonly isForeign: boolean
  /** The share of the normal lifetime for which it is kept. */
  readonly keep: number
}

/**
 * Where the cache keeps its entries. No method rejects or throws: a store that fails counts as
 * empty.
 */
export interface EntryStore {
  /** Returns the entry, perhaps as a promise; null when the shared state could not be reached. */
  get(key: string): Entry | undefined | Promise<Entry | undefined | null>
  /** Called when an entry from outside has been checked and is valid. */
  proved?(key: string, entry: Entry): void
  /** @param keep the share of the normal lifetime for which to keep it: above 0, at most 1 */
  set(key: string, answer: StoredAnswer, keep: number): void
  /** Deletes an entry by the digest of its key, which callers know from the note. */
  delete(digest: string): boolean | Promise<boolean>
  clear(): void | Promise<void>
  /** Calls `listener` when another process has cleared the cache. */
  onCleared?(listener: () => void): void
  entries(): number
  bytes(): number
}
