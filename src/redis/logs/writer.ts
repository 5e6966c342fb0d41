import { type LogOptions, type LogWatcher, type LogWriter, now, Timer } from '../../core/index.js'
import { ALONE } from '../operations.js'
import type { Note, NoteListener } from './inbox.js'
import type { LogPlace } from './place.js'
import { ABANDON, APPEND } from './scripts.js'

/** Duration of a lease, and the interval of its renewal. Milliseconds. */
export const LEASE_MS = 15_000
const RENEW_MS = 5_000
/** How long entries are collected, and the number at which they are written sooner. */
const COLLECT_MS = 25
const COLLECTED = 16
/** Maximum number of entries, and of their characters, per write. */
const PAGE_ENTRIES = 500
const PAGE_LENGTH = 256 * 1024
/** Delay after a failed write, and how long it is retried. Milliseconds. */
const AGAIN_MS = 100
const PATIENCE_MS = 2_000

/** Writes a log while it holds the lease. */
export class RedisLogWriter implements LogWriter, NoteListener {
  readonly #log: LogPlace
  readonly #token: string
  readonly #options: LogOptions
  #watcher: LogWatcher | undefined
  #pending: string[] = []
  /** Number of written entries. */
  #written = 0
  #state: 'open' | 'closed' | 'ended' = 'open'
  /** The length of each stored entry; `#length` is their sum. */
  #lengths: number[] = []
  #length = 0
  #trimmed = 0
  #readers = 0
  #isSending = false
  /** Whether a reader has joined or left since the last write. */
  #isNoted = false
  #sentAt = 0
  #failingSince: number | undefined
  #timer: Timer | undefined
  #isOver = false
  #settle!: () => void
  /** Resolves when the log is over and Redis knows it, or is unreachable. */
  readonly settled = new Promise<void>((resolve) => {
    this.#settle = resolve
  })

  constructor(log: LogPlace, token: string, options: LogOptions) {
    this.#log = log
    this.#token = token
    this.#options = options
    log.inbox.listen(log.key, this)
    this.#sentAt = now()
    this.#await(RENEW_MS)
  }

  append(text: string): void {
    if (this.#isOver || this.#state === 'ended') return
    this.#add(text)
    this.#sendSoon()
  }

  end(text: string): void {
    if (this.#isOver || this.#state === 'ended') return
    this.#add(text)
    this.#state = 'ended'
    this.#send()
  }

  abandon(): void {
    // An ended log is still being written; let it finish.
    if (this.#state === 'ended') return
    const pending = this.#pending
    if (this.#finish()) void this.#giveBack(pending)
  }

  async abandonUnread(): Promise<boolean> {
    if (this.#isOver || this.#state === 'ended') return true
    const reply = await this.#log.run(ABANDON, this.#token, 1)
    if (reply === ALONE) {
      // Readers cannot be counted, and cannot read anything more either.
      this.abandon()
      return true
    }
    const [what, ...inboxes] = reply
    if (what === 'kept') return this.#updateReaders(inboxes.length)
    this.#finish()
    this.#settle()
    return true
  }

  watch(watcher: LogWatcher): void {
    this.#watcher = watcher
  }

  noted(note: Note): void {
    if (note === 'stop') this.#watcher?.stopped()
    // Write now: the reply contains the number of readers, so they need not be counted here.
    else if (note !== 'more') {
      this.#isNoted = true
      this.#send()
    }
  }

  #add(text: string): void {
    const { maxEntries, maxLength, whenFull } = this.#options
    this.#pending.push(text)
    this.#length += text.length
    this.#lengths.push(text.length)
    while (this.#lengths.length > maxEntries || this.#length > maxLength) {
      if (whenFull === 'close') {
        this.#state = 'closed'
        return
      }
      // Keep at least the newest entry, whatever its length.
      if (this.#lengths.length === 1) return
      this.#length -= this.#lengths.shift() as number
      this.#trimmed++
    }
  }

  #sendSoon(): void {
    if (this.#isSending || this.#failingSince !== undefined) return
    const wait = this.#sentAt + COLLECT_MS - now()
    if (wait <= 0 || this.#pending.length >= COLLECTED) this.#send()
    else if (this.#pending.length === 1) this.#await(wait)
  }

  #await(ms: number): void {
    this.#timer?.stop()
    this.#timer = new Timer(ms, () => this.#send()).unref()
  }

  #send(): void {
    if (!this.#isSending && !this.#isOver) void this.#write()
  }

  async #write(): Promise<void> {
    this.#isSending = true
    this.#isNoted = false
    const texts = this.#page()
    const isLast = texts.length === this.#pending.length
    const state = this.#state === 'ended' && !isLast ? 'open' : this.#state
    const reply = await this.#log.run(APPEND, ...this.#order(state, texts))
    this.#isSending = false
    this.#sentAt = now()
    if (this.#isOver) return
    if (reply === ALONE) return this.#failed()
    const [what, ...inboxes] = reply
    if (what === 'lost') return this.#lost()
    this.#failingSince = undefined
    this.#pending.splice(0, texts.length)
    this.#written += texts.length
    if (texts.length > 0) this.#wake(inboxes as string[])
    if (state === 'ended') {
      this.#finish()
      return this.#settle()
    }
    this.#updateReaders(inboxes.length)
    // The watcher may have ended the log when it was notified of readers.
    if (this.#isOver) return
    const isUrgent = this.#isNoted || this.#state === 'ended' || this.#pending.length >= COLLECTED
    if (isUrgent) this.#send()
    else this.#await(this.#pending.length > 0 ? COLLECT_MS : RENEW_MS)
  }

  /** The arguments of the script that appends. */
  #order(state: string, texts: readonly string[]): (string | number)[] {
    const keepMs = this.#options.keepMs + (state === 'ended' ? 0 : LEASE_MS)
    const first = this.#trimmed === 0 ? -1 : this.#trimmed
    return [this.#token, LEASE_MS, keepMs, state, this.#written, first, ...texts]
  }

  #page(): readonly string[] {
    let length = 0
    const end = this.#pending.findIndex((text, i) => {
      length += text.length
      return i > 0 && (i >= PAGE_ENTRIES || length > PAGE_LENGTH)
    })
    return this.#pending.slice(0, end === -1 ? undefined : end)
  }

  #failed(): void {
    this.#failingSince ??= now()
    if (now() - this.#failingSince < PATIENCE_MS) return this.#await(AGAIN_MS)
    this.#lost()
  }

  #lost(): void {
    if (!this.#finish()) return
    void this.#giveBack([])
    this.#watcher?.lost()
  }

  async #giveBack(pending: readonly string[]): Promise<void> {
    // Write pending entries first, so that clients that resume get all of them.
    if (pending.length > 0) await this.#log.undo(APPEND, ...this.#order('open', pending))
    const [, ...inboxes] = await this.#log.undo(ABANDON, this.#token, 0)
    this.#wake(inboxes as string[])
    this.#settle()
  }

  #wake(inboxes: readonly string[]): void {
    for (const inbox of inboxes) this.#log.inbox.post(inbox, this.#log.key, 'more')
  }

  #updateReaders(count: number): false {
    if (count !== this.#readers) {
      this.#readers = count
      this.#watcher?.readers(count)
    }
    return false
  }

  /** Marks the log as over. Returns whether it was still open. */
  #finish(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#pending = []
    this.#timer?.stop()
    this.#log.inbox.unlisten(this.#log.key, this)
    return true
  }
}
