/** The entries of a cache that several processes share. */
export interface SharedEntries {
  /**
   * Resolves with the stored text, undefined when there is none, or null when it could not be read.
   */
  get(key: string): Promise<string | undefined | null>
  /** Stores an entry in the background. `ttlMs` is at least 1. */
  set(key: string, text: string, ttlMs: number): void
  /** Deletes one entry in all processes. Resolves with whether it existed. */
  delete(key: string): Promise<boolean>
  /** Deletes all entries in all processes. */
  clear(): Promise<void>
  /** Calls `watcher` with the changes that other processes make. */
  watch(watcher: EntriesWatcher): void
}

/** Receives the changes that other processes make to a cache. */
export interface EntriesWatcher {
  /** Another process deleted an entry. */
  deleted(key: string): void
  /** Another process deleted all entries. */
  cleared(): void
  /** Messages from other processes may have been lost. */
  missed(): void
}
