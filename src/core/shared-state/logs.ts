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
