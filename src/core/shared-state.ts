import type { SharedJobs, SharedJobsOptions } from './shared-jobs.js'

const SHARED_STATE: unique symbol = Symbol.for('blossom-stack.shared-state') as never

/**
 * What the processes of a service know together. `redisShared()` makes one, and layers take it as
 * their option `shared`. But for jobs nothing here rejects or throws, and nothing takes longer than
 * its own time limit: whoever gets `null`, as the others could not be asked in time, goes on as if
 * it were the only process.
 */
export interface SharedState {
  /** The entries of a cache. Caches of one name share them. */
  entries(name: string): SharedEntries
  /** The levels of the limits of all keys. Limits of one name share them. */
  limits(name: string): SharedLimits
  /** Batches of jobs that outlive the process. Those of one name share them. */
  jobs(name: string, options: SharedJobsOptions): SharedJobs
}

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

/** What a call wants of one limit of a key. */
export interface LimitOrder {
  /** Tells the limits of a key apart. */
  readonly unit: string
  /** What the call takes. */
  readonly need: number
  /** It is given up to so much when that is there: at least `need`. */
  readonly want: number
  /** A bucket that holds so much and fills so fast, or a window with its end and what it allows. */
  readonly of: BucketTerms | WindowTerms
}

/** A bucket that fills evenly. */
export interface BucketTerms {
  /** How much it holds. */
  readonly capacity: number
  /** How much comes in a millisecond. */
  readonly perMs: number
  /** No correction takes it further below 0. */
  readonly debt: number
}

/** A calendar window, or one of a fixed length. */
export interface WindowTerms {
  /** Its start, in milliseconds since the epoch. */
  readonly start: number
  /** Milliseconds since the epoch. */
  readonly end: number
  /** How much may be spent in it. */
  readonly limit: number
}

/** What has become of one order. */
export interface LimitReply {
  /** Of what was granted; 0 when the call is refused. */
  readonly given: number
  /** How long it would have to wait for this limit alone; `Infinity`: for ever. Milliseconds. */
  readonly waitMs: number
  /** What is left in the bucket, or has been spent in the window. */
  readonly level: number
}

/** What a call has taken beside what it was given: more when above 0, less below it. */
export interface LimitCorrection {
  readonly unit: string
  readonly amount: number
  readonly of: BucketTerms | WindowTerms
}

/** The levels of limits that several processes have together. */
export interface SharedLimits {
  /** How many processes there are, or were when last heard of. */
  readonly processes: number
  /**
   * Takes from all of the limits, or nothing from any of them. A reply for each order; null when
   * nobody could be asked.
   */
  take(key: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null>
  /**
   * Corrects what was taken, once, unless nobody can be reached for a minute. Resolves with what
   * has been spent in a window, once a window, when four fifths of it are.
   */
  correct(key: string, corrections: readonly LimitCorrection[]): Promise<number | undefined>
}

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends SharedState>(methods: T): T =>
  Object.assign(methods, { [SHARED_STATE]: true })

/** Whether a value is shared state, made by this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
