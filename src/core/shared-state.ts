const SHARED_STATE: unique symbol = Symbol.for('blossom-stack.shared-state') as never

/**
 * What the processes of a service know together. `redisShared()` makes one, and layers take it as
 * their option `shared`. Nothing here rejects or throws, and nothing takes longer than its own time
 * limit: whoever gets `null`, as the others could not be asked in time, goes on as if it were the
 * only process.
 */
export interface SharedState {
  /** The entries of a cache. Caches of one name share them. */
  entries(name: string): SharedEntries
  /** The levels of the limits of all keys. Limits of one name share them. */
  limits(name: string): SharedLimits
  /** Logs that one process writes and others read. Those of one name are the same everywhere. */
  logs(name: string): SharedLogs
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

/**
 * Logs of texts: one process writes, and others read from any entry on while it writes. Each log has
 * one writer at a time, which holds its lease.
 */
export interface SharedLogs {
  /**
   * Begins a log anew as its writer, or reads the one that another process writes; `'full'` when
   * that is closed to newcomers. Null when nobody could be asked.
   */
  claim(key: string, options: LogOptions): Promise<LogClaim | null>
  /** Reads a log from an entry on, whoever writes it. Undefined when there is none. */
  follow(key: string, from: number): Promise<LogReader | undefined | null>
  /** Asks whoever writes it to stop. Resolves with whether there is such a log. */
  stop(key: string): Promise<boolean | null>
}

/** What becomes of a claim: exactly one of them, or that the log is full. */
export type LogClaim =
  | { readonly writer: LogWriter; readonly reader?: undefined }
  | { readonly reader: LogReader; readonly writer?: undefined }
  | 'full'

/** How a log is kept. */
export interface LogOptions {
  /** How long it can be read after its end. Milliseconds. */
  readonly keepMs: number
  /** A log of so many entries is full. */
  readonly maxEntries: number
  /** A log of so many characters is full. */
  readonly maxLength: number
  /** A full log lets nobody in who does not read it already, or forgets its oldest entries. */
  readonly whenFull: 'close' | 'trim'
}

/** Writes a log. Nobody waits for what it does. */
export interface LogWriter {
  /** Adds an entry; several are written in one go, at most 25 ms later. */
  append(text: string): void
  /** Adds the last entry, and gives the lease back. */
  end(text: string): void
  /** Gives the lease back before the end: who reads it learns that its writer is lost. */
  abandon(): void
  /** Does the same if nobody reads. Resolves with whether nobody did, or it was over already. */
  abandonUnread(): Promise<boolean>
  /** Tells what others do with the log, from now on. */
  watch(watcher: LogWatcher): void
}

/** Hears what becomes of a log. */
export interface LogWatcher {
  /** So many other processes read it, as far as is known. */
  readers(count: number): void
  /** It cannot be written any more: another process has its lease, or nobody can be reached. */
  lost(): void
  /** Another process has asked for it to stop. */
  stopped(): void
}

/** Reads a log. */
export interface LogReader {
  /**
   * The entries from where the last reading has ended, as soon as there are any, or it is known that
   * none will come. After `leave()` it stays pending.
   */
  read(): Promise<LogPart>
  /** Reads no more. */
  leave(): void
}

/** A part of a log, and what is known of the rest. */
export interface LogPart {
  readonly entries: readonly string[]
  /**
   * `open`: more may come; `ended`: the last entry is the last of the log; `lost`: its writer has
   * gone before the end, or nobody can be asked any more; `trimmed`: the entries that come next are
   * forgotten.
   */
  readonly state: 'open' | 'ended' | 'lost' | 'trimmed'
}

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends SharedState>(methods: T): T =>
  Object.assign(methods, { [SHARED_STATE]: true })

/** Whether a value is shared state, made by this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
