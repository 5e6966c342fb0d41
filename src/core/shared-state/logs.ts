/**
 * Logs of texts. One process writes a log while others read it, starting at any entry. The writer
 * holds the log's lease, so there is only one at a time.
 */
export interface SharedLogs {
  /**
   * Starts a new log as its writer, or reads the log that another process is writing. Resolves with
   * `'full'` when that log accepts no new readers, or with null when the shared state could not be
   * reached.
   */
  claim(key: string, options: LogOptions): Promise<LogClaim | null>
  /**
   * Reads a log from an entry on, whoever writes it. Resolves with undefined when there is no such
   * log, or with null when the shared state could not be reached.
   */
  follow(key: string, from: number): Promise<LogReader | undefined | null>
  /**
   * Asks the writer to stop. Resolves with whether there is such a log, or with null when the
   * shared state could not be reached.
   */
  stop(key: string): Promise<boolean | null>
}

/** The result of a claim: a writer, a reader, or `'full'`. */
export type LogClaim =
  | { readonly writer: LogWriter; readonly reader?: undefined }
  | { readonly reader: LogReader; readonly writer?: undefined }
  | 'full'

/** How a log is kept. */
export interface LogOptions {
  /** How long it stays readable after its end. Milliseconds. */
  readonly keepMs: number
  /** Number of entries at which the log is full. */
  readonly maxEntries: number
  /** Number of characters at which the log is full. */
  readonly maxLength: number
  /** What a full log does: `close` accepts no new readers, `trim` drops the oldest entries. */
  readonly whenFull: 'close' | 'trim'
}

/** Writes a log. Writes happen in the background. */
export interface LogWriter {
  /** Adds an entry. Entries are written in batches, at most 25 ms later. */
  append(text: string): void
  /** Adds the last entry and releases the lease. */
  end(text: string): void
  /** Releases the lease before the end. Readers learn that the writer is lost. */
  abandon(): void
  /**
   * Abandons the log if nobody reads it. Resolves with true when nobody did, or when it was already
   * over.
   */
  abandonUnread(): Promise<boolean>
  /** Calls `watcher` with what other processes do with the log from now on. */
  watch(watcher: LogWatcher): void
}

/** Receives what happens to a log. */
export interface LogWatcher {
  /** How many other processes read the log, as far as is known. */
  readers(count: number): void
  /**
   * The log cannot be written any more: another process holds its lease, or the shared state is
   * unreachable.
   */
  lost(): void
  /** Another process asked the writer to stop. */
  stopped(): void
}

/** Reads a log. */
export interface LogReader {
  /**
   * The entries after the last read. Resolves when there are any, or when it is certain that none
   * will come. Stays pending after `leave()`.
   */
  read(): Promise<LogPart>
  /** Stops reading. */
  leave(): void
}

/** Part of a log, with the state of the rest. */
export interface LogPart {
  readonly entries: readonly string[]
  /**
   * `open`: more may come. `ended`: the last entry is the last of the log. `lost`: the writer
   * stopped before the end, or the shared state is unreachable. `trimmed`: the next entries were
   * dropped.
   */
  readonly state: 'open' | 'ended' | 'lost' | 'trimmed'
}
