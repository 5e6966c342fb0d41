const SHARED_STATE: unique symbol = Symbol.for('blossom-stack.shared-state') as never

/**
 * In place of what the processes know together: they could not be asked in time, so this one
 * decides alone.
 */
export const ALONE: unique symbol = Symbol.for('blossom-stack.alone') as never

/**
 * What the processes of a service know together. `redisShared()` makes one, and layers take it as
 * their option `shared`. Nothing here rejects or throws, and nothing takes longer than its own time
 * limit: whoever gets `ALONE` goes on as if it were the only process.
 */
export interface SharedState {
  readonly [SHARED_STATE]: true
  /** The entries of a cache. Caches of one name share them. */
  entries(name: string): SharedEntries
}

/** The entries of a cache that several processes have together. */
export interface SharedEntries {
  /** What was set; undefined when there is nothing. */
  get(key: string): Promise<string | undefined | typeof ALONE>
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

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends object>(methods: T): T & { readonly [SHARED_STATE]: true } =>
  Object.assign(methods, { [SHARED_STATE]: true as const })

/** Whether a value is shared state, made by this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
