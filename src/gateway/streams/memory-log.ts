import type { LogOptions, LogPart, LogReader, LogWatcher, LogWriter } from '../../core/index.js'

/** Bookkeeping of an entry beside its text, roughly. Bytes. */
const ENTRY_BYTES = 64

/** Entries that are forgotten are let go in steps of this many: each step moves the rest. */
const TRIM_STEP = 256

/** The engine holds a text with such characters in two bytes for each of its characters. */
const WIDE = /[^\0-\xff]/

const sizeOf = (text: string): number =>
  (WIDE.test(text) ? 2 * text.length : text.length) + ENTRY_BYTES

/** Hears what becomes of a log in memory. */
export interface LogKeeper {
  /** It takes so many bytes more than before, or less when below 0. */
  resized(by: number): void
  /** It may have grown. */
  written(): void
  /** Nothing will be added to it. */
  ended(log: MemoryLog): void
}

/** One log in memory, as its writer sees it. */
export class MemoryLog implements LogWriter {
  readonly keepMs: number
  /** What it takes. Bytes. */
  bytes = 0
  /** Index of the first entry that is not forgotten. */
  first = 0
  state: 'open' | 'ended' | 'lost' = 'open'
  /** Whether nobody is let in who does not read it already. */
  isClosed = false
  readonly #options: LogOptions
  #keeper: LogKeeper | undefined
  readonly #readers = new Set<MemoryReader>()
  #entries: string[] = []
  /** Index in the whole log of the first of the entries. */
  #base = 0
  /** Characters of what is kept. */
  #length = 0
  #watcher: LogWatcher | undefined

  constructor(options: LogOptions, keeper: LogKeeper) {
    this.keepMs = options.keepMs
    this.#options = options
    this.#keeper = keeper
  }

  /** Index of the entry that comes next. */
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

  // For the others.

  follow(from: number): LogReader {
    const reader = new MemoryReader(this, from)
    this.#readers.add(reader)
    this.#watcher?.readers(this.#readers.size)
    return reader
  }

  stop(): void {
    if (this.state === 'open') this.#watcher?.stopped()
  }

  /** Forgets its older half, so that others find room. Returns whether there was anything. */
  halve(): boolean {
    if (this.#entries.length - (this.first - this.#base) < 2) return false
    this.isClosed = this.#options.whenFull === 'close'
    const goal = this.#length / 2
    this.#forgetUntil(() => this.#length <= goal)
    this.#wake()
    return true
  }

  /** It belongs to nobody but those who read it: what they have not read is left to them. */
  release(): void {
    this.#keeper?.resized(-this.bytes)
    this.#keeper = undefined
    if (this.state === 'open') this.state = 'lost'
    this.#wake()
  }

  /** Forgets all of it, whoever reads it. */
  drop(): void {
    this.#forgetUntil(() => false, 0)
    this.release()
  }

  // For the readers.

  /** What there is from an entry on; undefined when more has to be waited for. */
  partFrom(index: number): LogPart | undefined {
    if (index < this.first) return { entries: [], state: 'trimmed' }
    const entries = this.#entries.slice(index - this.#base)
    return entries.length === 0 && this.state === 'open'
      ? undefined
      : { entries, state: this.state }
  }

  /** A reader has read on. */
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
    // Nobody may hold it back for ever.
    this.#forgetUntil(
      () => this.next - this.first <= 2 * maxEntries && this.#length <= 2 * maxLength,
    )
  }

  /** Forgets what everybody who is left has read. */
  #forgetRead(): void {
    let slowest = this.next
    for (const { position } of this.#readers) slowest = Math.min(slowest, position)
    this.#forgetUntil(() => this.first >= slowest, 0)
  }

  /** Forgets the oldest entries until it is enough, or only so many are left. */
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
  /** Index of the entry that it reads next. */
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

  /** What is added in one go is read in one go. */
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
