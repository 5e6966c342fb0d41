import type { LogOptions, LogPart, LogReader, LogWatcher, LogWriter } from '../../core/index.js'

/** Approximate overhead of an entry in addition to its text. Bytes. */
const ENTRY_BYTES = 64

/** Deleted entries are removed in steps of this many, because each step moves all others. */
const TRIM_STEP = 256

/** V8 stores a string with such a character in two bytes per character. */
const WIDE = /[^\0-\xff]/

const sizeOf = (text: string): number =>
  (WIDE.test(text) ? 2 * text.length : text.length) + ENTRY_BYTES

/** Receives changes of a log in memory. */
export interface LogKeeper {
  /** The log's size has changed by this many bytes. */
  resized(by: number): void
  /** The log may have grown. */
  written(): void
  /** No more entries will be added to the log. */
  ended(log: MemoryLog): void
}

/** One log in memory. */
export class MemoryLog implements LogWriter {
  readonly keepMs: number
  /** Size in bytes. */
  bytes = 0
  /** Index of the first entry that is still stored. */
  first = 0
  state: 'open' | 'ended' | 'lost' = 'open'
  /** Whether new readers are rejected. */
  isClosed = false
  readonly #options: LogOptions
  #keeper: LogKeeper | undefined
  readonly #readers = new Set<MemoryReader>()
  #entries: string[] = []
  /** Index in the whole log of `#entries[0]`. */
  #base = 0
  /** Number of stored characters. */
  #length = 0
  #watcher: LogWatcher | undefined

  constructor(options: LogOptions, keeper: LogKeeper) {
    this.keepMs = options.keepMs
    this.#options = options
    this.#keeper = keeper
  }

  /** Index of the next entry to be added. */
  get next(): number {
    return this.#base + this.#entries.length
  }

  // For the writer.

  append(text: string): void {
    if (this.state === 'open') this.#add(text)
  }

  end(text: string): void {
    if (this.state !== 'open') return
    this.state = 'ended'
    this.#add(text)
    this.#keeper?.ended(this)
  }

  abandon(): void {
    if (this.state !== 'open') return
    this.state = 'lost'
    this.#wake()
    this.#keeper?.ended(this)
  }

  async abandonUnread(): Promise<boolean> {
    if (this.#readers.size > 0) return false
    this.abandon()
    return true
  }

  watch(watcher: LogWatcher): void {
    this.#watcher = watcher
    if (this.#readers.size > 0) watcher.readers(this.#readers.size)
  }

  // For readers that join or leave, and for `MemoryLogs`.

  follow(from: number): LogReader {
    const reader = new MemoryReader(this, from)
    this.#readers.add(reader)
    this.#watcher?.readers(this.#readers.size)
    return reader
  }

  stop(): void {
    if (this.state === 'open') this.#watcher?.stopped()
  }

  /** Deletes the older half, to make room for other logs. Returns whether there was anything. */
  halve(): boolean {
    if (this.#entries.length - (this.first - this.#base) < 2) return false
    this.isClosed = this.#options.whenFull === 'close'
    const goal = this.#length / 2
    this.#forgetUntil(() => this.#length <= goal)
    this.#wake()
    return true
  }

  /** Detaches the log from its keeper. Current readers may read it to its end. */
  release(): void {
    this.#keeper?.resized(-this.bytes)
    this.#keeper = undefined
    if (this.state === 'open') this.state = 'lost'
    this.#wake()
  }

  /** Deletes all entries, even if there are readers. */
  drop(): void {
    this.#forgetUntil(() => false, 0)
    this.release()
  }

  // For the readers.

  /** The entries from an index on; `undefined` if there are none yet. */
  partFrom(index: number): LogPart | undefined {
    if (index < this.first) return { entries: [], state: 'trimmed' }
    const entries = this.#entries.slice(index - this.#base)
    return entries.length === 0 && this.state === 'open'
      ? undefined
      : { entries, state: this.state }
  }

  /** Called when a reader has advanced. */
  advanced(): void {
    if (this.isClosed) this.#forgetRead()
  }

  left(reader: MemoryReader): void {
    if (!this.#readers.delete(reader)) return
    this.#watcher?.readers(this.#readers.size)
    this.advanced()
  }

  #add(text: string): void {
    this.#entries.push(text)
    this.#length += text.length
    this.#resize(sizeOf(text))
    this.#keepWithin()
    this.#wake()
    this.#keeper?.written()
  }

  #keepWithin(): void {
    const { maxEntries, maxLength, whenFull } = this.#options
    if (whenFull === 'trim') {
      this.#forgetUntil(() => this.next - this.first <= maxEntries && this.#length <= maxLength)
      return
    }
    this.isClosed ||= this.next - this.first >= maxEntries || this.#length >= maxLength
    if (!this.isClosed) return
    this.#forgetRead()
    // Readers must not keep entries forever.
    this.#forgetUntil(
      () => this.next - this.first <= 2 * maxEntries && this.#length <= 2 * maxLength,
    )
  }

  /** Deletes the entries that all readers have read. */
  #forgetRead(): void {
    let slowest = this.next
    for (const { position } of this.#readers) slowest = Math.min(slowest, position)
    this.#forgetUntil(() => this.first >= slowest, 0)
  }

  /** Deletes the oldest entries until `isEnough()`, or until `left` entries remain. */
  #forgetUntil(isEnough: () => boolean, left = 1): void {
    while (this.next - this.first > left && !isEnough()) {
      const at = this.first++ - this.#base
      const text = this.#entries[at] as string
      this.#entries[at] = ''
      this.#length -= text.length
      this.#resize(-sizeOf(text))
    }
    const forgotten = this.first - this.#base
    if (forgotten < TRIM_STEP && forgotten < this.#entries.length) return
    this.#entries.splice(0, forgotten)
    this.#base = this.first
  }

  #resize(by: number): void {
    this.bytes += by
    this.#keeper?.resized(by)
  }

  #wake(): void {
    for (const reader of this.#readers) reader.wake()
  }
}

/** Reads a log in memory. */
class MemoryReader implements LogReader {
  /** Index of the next entry to read. */
  position: number
  readonly #log: MemoryLog
  #reading: { readonly part: Promise<LogPart>; settle(part: LogPart): void } | undefined
  #isDue = false
  #hasLeft = false

  constructor(log: MemoryLog, from: number) {
    this.#log = log
    this.position = from
  }

  read(): Promise<LogPart> {
    if (this.#reading === undefined) {
      let settle!: (part: LogPart) => void
      const part = new Promise<LogPart>((resolve) => {
        settle = resolve
      })
      this.#reading = { part, settle }
      this.wake()
    }
    return this.#reading.part
  }

  leave(): void {
    this.#hasLeft = true
    this.#log.left(this)
  }

  /** Wakes a waiting reader in a microtask, so that entries added together are read together. */
  wake(): void {
    if (this.#reading === undefined || this.#isDue) return
    this.#isDue = true
    queueMicrotask(() => {
      this.#isDue = false
      this.#settle()
    })
  }

  #settle(): void {
    if (this.#hasLeft) return
    const part = this.#log.partFrom(this.position)
    if (part === undefined) return
    this.position += part.entries.length
    this.#reading?.settle(part)
    this.#reading = undefined
    if (part.state === 'open') this.#log.advanced()
    else this.#log.left(this)
  }
}
