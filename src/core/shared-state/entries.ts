/** The entries of a cache that several processes have together. */
export interface SharedEntries {
  /** What was set; undefined when there is nothing, null when that is not known. */
  get(key: string): Promise<string | undefined | null>
  /** Nobody waits for it. `ttlMs` is at least 1. */
  set(key: string, text: string, ttlMs: number): void
  /** Forgets one entry, in all processes. Resolves with whether it was there. */
  delete(key: string): Promise<boolean>
  /** Forgets all entries, in all processes. */
  clear(): Promise<void>
  /** Tells what other processes do with the entries. */
  watch(watcher: EntriesWatcher): void
}

/** Hears what other processes do with the entries of a cache. */
export interface EntriesWatcher {
  /** Another process has forgotten one. */
  deleted(key: string): void
  /** Another process has forgotten all. */
  cleared(): void
  /** Messages of the others may have been missed. */
  missed(): void
}
