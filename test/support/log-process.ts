import type {
  LogClaim,
  LogOptions,
  LogPart,
  LogReader,
  LogWatcher,
  LogWriter,
  SharedLogs,
} from '../../src/core/index.js'

/**
 * A process of its own before logs that several of them have together in memory: it can be killed,
 * and cut off from the others.
 */
export class LogProcess implements SharedLogs {
  readonly #logs: SharedLogs
  readonly #writers = new Set<LogWriter>()
  /** What those who wait are to be told when it is cut off. */
  readonly #onCut = new Set<() => void>()
  #isDead = false
  #isCut = false

  constructor(logs: SharedLogs) {
    this.#logs = logs
  }

  async claim(key: string, options: LogOptions): Promise<LogClaim | null> {
    if (this.#isCut || this.#isDead) return null
    const claim = await this.#logs.claim(key, options)
    if (claim === null || claim === 'full') return claim
    return claim.writer === undefined
      ? { reader: this.#readerOf(claim.reader) }
      : { writer: this.#writerOf(claim.writer) }
  }

  async follow(key: string, from: number): Promise<LogReader | undefined | null> {
    if (this.#isCut || this.#isDead) return null
    const reader = await this.#logs.follow(key, from)
    return reader && this.#readerOf(reader)
  }

  async stop(key: string): Promise<boolean | null> {
    return this.#isCut || this.#isDead ? null : this.#logs.stop(key)
  }

  /** Ends it in the middle of whatever it does. Its leases end with it. */
  kill(): void {
    this.#isDead = true
    for (const writer of this.#writers) writer.abandon()
  }

  /** Nobody can be asked any more, and what it writes is lost. */
  cut(): void {
    this.#isCut = true
    for (const tell of [...this.#onCut]) tell()
    this.#onCut.clear()
    for (const writer of this.#writers) writer.abandon()
    this.#writers.clear()
  }

  /** Others can be asked again. */
  mend(): void {
    this.#isCut = false
  }

  #writerOf(writer: LogWriter): LogWriter {
    this.#writers.add(writer)
    const isAlive = () => !this.#isDead && this.#writers.has(writer)
    return {
      append: (text) => isAlive() && writer.append(text),
      end: (text) => isAlive() && writer.end(text),
      abandon: () => isAlive() && writer.abandon(),
      abandonUnread: async () => isAlive() && writer.abandonUnread(),
      watch: (watcher: LogWatcher) => {
        this.#onCut.add(() => watcher.lost())
        writer.watch({
          readers: (count) => isAlive() && watcher.readers(count),
          lost: () => isAlive() && watcher.lost(),
          stopped: () => isAlive() && watcher.stopped(),
        })
      },
    }
  }

  #readerOf(reader: LogReader): LogReader {
    let hasLeft = false
    return {
      read: () =>
        new Promise<LogPart>((resolve) => {
          const tell = () => hasLeft || resolve({ entries: [], state: 'lost' })
          if (this.#isCut) return tell()
          this.#onCut.add(tell)
          void reader.read().then((part) => {
            this.#onCut.delete(tell)
            if (!this.#isDead) resolve(part)
          })
        }),
      leave: () => {
        hasLeft = true
        reader.leave()
      },
    }
  }
}
