import {
  type LogClaim,
  type LogOptions,
  type LogReader,
  type SharedLogs,
  Timer,
} from '../../core/index.js'
import { type LogKeeper, MemoryLog } from './memory-log.js'

/** Maximum size of all logs together. Bytes. */
const MAX_BYTES = 64 * 1024 * 1024

/** The key of a log, and the timer that deletes it. */
interface Place {
  readonly key: string
  timer: Timer | undefined
}

/**
 * Logs in the memory of one process, with a limit on their total size. Above it, the logs that
 * ended first are deleted first; if none has ended, the longest one loses its older half.
 */
export class MemoryLogs implements SharedLogs, LogKeeper {
  readonly #maxBytes: number
  readonly #byKey = new Map<string, MemoryLog>()
  /** Open logs. Ended logs are in `#ended`, in the order of their ends. */
  readonly #open = new Map<MemoryLog, Place>()
  readonly #ended = new Map<MemoryLog, Place>()
  #bytes = 0

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes
  }

  /** Size of all logs together, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  async claim(key: string, options: LogOptions): Promise<LogClaim> {
    const known = this.#byKey.get(key)
    if (known?.state === 'open') return known.isClosed ? 'full' : { reader: known.follow(0) }
    return { writer: this.begin(key, options) }
  }

  /** Begins a new log, and deletes an earlier one with the same key. */
  begin(key: string, options: LogOptions): MemoryLog {
    this.delete(key)
    const log = new MemoryLog(options, this)
    this.#byKey.set(key, log)
    this.#open.set(log, { key, timer: undefined })
    return log
  }

  async follow(key: string, from: number): Promise<LogReader | undefined> {
    return this.#byKey.get(key)?.follow(from)
  }

  async stop(key: string): Promise<boolean> {
    const log = this.#byKey.get(key)
    log?.stop()
    return log !== undefined
  }

  /** The log with this key, if there is one. */
  find(key: string): Pick<MemoryLog, 'first' | 'next' | 'state' | 'follow'> | undefined {
    return this.#byKey.get(key)
  }

  /** Deletes a log. Current readers may read it to its end. */
  delete(key: string): void {
    const log = this.#byKey.get(key)
    if (log === undefined) return
    this.#remove(log)
    log.release()
  }

  /** Deletes all logs. */
  close(): void {
    for (const key of [...this.#byKey.keys()]) this.delete(key)
  }

  /** @internal */
  resized(by: number): void {
    this.#bytes += by
  }

  /** @internal */
  written(): void {
    while (this.#bytes > this.#maxBytes && this.#makeRoom());
  }

  /** @internal */
  ended(log: MemoryLog): void {
    const place = this.#open.get(log)
    if (place === undefined) return
    this.#open.delete(log)
    this.#ended.set(log, place)
    place.timer = new Timer(log.keepMs, () => this.delete(place.key)).unref()
  }

  /** Deletes something. Returns whether there was anything to delete. */
  #makeRoom(): boolean {
    for (const log of this.#ended.keys()) {
      this.#remove(log)
      log.drop()
      return true
    }
    let longest: MemoryLog | undefined
    for (const log of this.#open.keys())
      if (longest === undefined || log.bytes > longest.bytes) longest = log
    return longest?.halve() === true
  }

  #remove(log: MemoryLog): void {
    const place = this.#open.get(log) ?? this.#ended.get(log)
    if (place === undefined) return
    place.timer?.stop()
    this.#open.delete(log)
    this.#ended.delete(log)
    this.#byKey.delete(place.key)
  }
}
