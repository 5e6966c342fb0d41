import { StackError } from '../errors.js'
import { type Shared, share } from '../shared-value.js'
import { Timer } from '../time/timer.js'
import type { BaseFacts } from '../traits.js'
import { hookFailed, runHook } from '../warn.js'
import type { Frame } from './frame.js'
import { COMPLETE, type StreamEnd } from './stream-end.js'

/**
 * The source of a stream's chunks. It responds to `pull()` with `push()`, `end()` or `fail()` on
 * the log.
 */
export interface StreamSource {
  /** A reader wants more than the log has. */
  pull(): void
  /** No more is wanted: release everything held. Not called after `end()` or `fail()`. */
  stop(reason: unknown): void
}

export interface LogOptions<T> {
  /** Whether a chunk commits the stream. @default the first chunk commits */
  commits?: ((chunk: T) => boolean) | undefined
  /** Whether the stream has already committed, so nothing is held back. @default false */
  committed?: boolean | undefined
  /** Whether entries are frames, which are kept as text. @default false: chunks of any kind */
  frames?: boolean | undefined
  /**
   * The base that has already decided, by its own `complete` trait, whether the stream may be
   * cached.
   */
  judge?: BaseFacts | undefined
}

/** A reader's position in a log, as the log sees it. */
export interface Cursor<T> {
  /** Number of chunks read. */
  readonly position: number
  /** Size of the chunks read, in the log's units. */
  readonly bytesRead: number
  /** Time since which the reader has been waiting for the source; 0 when it is not waiting. */
  readonly waitingSince: number
  /** Whether a `tap()` looks at the chunks. */
  readonly isWatched: boolean
  /** Whether the reader takes what is there without asking the source for more. */
  readonly isPassive: boolean
  /** Called when there is more to read. */
  readable(): void
  hasCommitted(): void
  sourceEnded(end: StreamEnd): void
  sourceFailed(end: StreamEnd): void
  look(chunk: T): void
  finish(end: StreamEnd): void
  abort(reason: unknown): void
}

/** Details of the layer that shares a stream. */
export interface Sharing {
  /** Layer name for the error of a reader that is too slow for the others. */
  readonly layer: string
  /** Called when the last reader has been aborted, so that nobody wants the work. */
  abandoned(reason: unknown): void
}

/** Limits on what is held back before the commit. Beyond them the stream commits. */
const HELD_CHUNKS = 64
const HELD_BYTES = 64 * 1024

/**
 * Limits on what is kept for readers that join, and on the fastest reader's lead over the slowest.
 */
const KEPT_CHUNKS = 10_000
const KEPT_BYTES = 1024 * 1024
/** How long fast readers wait for one that has fallen that far behind before it is cut off. */
const STALL_MS = 1_000

/**
 * Chunks that everybody has read are removed in steps of this many, because each removal moves the
 * rest.
 */
const TRIM_STEP = 256

/**
 * The chunks of one stream, and its readers. The source appends what one read of its socket
 * brought, then calls `flush()`. Each reader has its own cursor (a `Stream`). Commit, end,
 * back-pressure and retention are implemented here and nowhere else.
 *
 * The source runs at the pace of the readers that ask. The beginning is kept up to a limit, so that
 * others can join and a cache can store the whole stream. Beyond the limit, chunks that every
 * reader has read are dropped.
 */
export class Log<T> {
  /** Resolves at the commit or at an empty end. Rejects with an error that comes before it. */
  readonly ready: Promise<void>
  readonly frames: boolean
  readonly judge: BaseFacts | undefined
  /** Whether the stream has committed. After that, nothing is retried. */
  committed = false
  /** How the source ended; undefined while it has not. */
  sourceEnd: StreamEnd | undefined
  readonly #commits: ((chunk: T) => boolean) | undefined
  #settle: { resolve(): void; reject(error: unknown): void } | undefined
  #source: StreamSource | undefined
  /** Whether the source has been asked and has not answered. */
  #isPulled = false
  /** Replaced, never changed in place, because readers come and go during iteration. */
  #cursors: readonly Cursor<T>[] = []
  /** The cursor that stands for all readers when the stream is shared. */
  #whole: Cursor<T> | undefined
  #sharing: Sharing | undefined
  #entries: unknown[] = []
  /**
   * Position in the whole stream of the first entry in the array, and of the first that is still
   * kept.
   */
  #base = 0
  #first = 0
  /** Total size of all entries so far. */
  #bytes = 0
  /** Size of the entries that are kept. */
  keptBytes = 0
  #heldChunks = 0
  #heldBytes = 0
  #maxBytes: number
  #maxChunks = KEPT_CHUNKS
  /** Whether entries are held as `Shared`: frozen, or copied for each reader. */
  #isShared = false
  /** How many chunks the listeners of `#whole` have seen. */
  #seen = 0
  #stall: Timer | undefined

  constructor(source: StreamSource | undefined, options: LogOptions<T> = {}) {
    const { commits, committed = false, frames = false, judge } = options
    this.#source = source
    this.#commits = commits
    this.frames = frames
    this.judge = judge
    // Keep frames from the start, so that an error can contain what had arrived.
    this.#maxBytes = frames ? KEPT_BYTES : 0
    this.committed = committed
    this.ready = committed ? Promise.resolve() : this.#untilCommit()
  }

  #untilCommit(): Promise<void> {
    const ready = new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Prevents an unhandled rejection when the caller has already gone.
    ready.catch(() => {})
    return ready
  }

  /** A log of chunks or frames that are all available. */
  static of<T>(entries: readonly unknown[], frames: boolean, end: StreamEnd = COMPLETE): Log<T> {
    const log = new Log<T>(undefined, { committed: true, frames })
    log.#entries = entries.slice()
    for (const entry of entries) log.#bytes += log.#weigh(entry)
    log.keptBytes = log.#bytes
    log.sourceEnd = end
    return log
  }

  // Methods for the source.

  /** Adds a chunk or frame. `bytes` is its size for the limit before the commit. */
  append(entry: T | Frame, bytes: number = sizeOf(entry)): void {
    if (this.sourceEnd !== undefined || this.#isLeft) return
    const kept = this.#isShared ? share(entry) : entry
    this.#isPulled = false
    this.#entries.push(kept)
    const weight = this.#weigh(kept)
    this.#bytes += weight
    this.keptBytes += weight
    if (this.#maxBytes > 0 && !this.#isWithinBounds) this.#trim()
    if (!this.committed) this.#hold(entry, bytes)
  }

  /** Serves the readers what was appended. */
  flush(): void {
    for (const cursor of this.#cursors) cursor.readable()
    if (!this.committed) this.#pull()
  }

  /** `append()`, then `flush()`. */
  push(entry: T | Frame, bytes?: number): void {
    this.append(entry, bytes)
    this.flush()
  }

  /** Called when everything has been pushed. */
  end(end: StreamEnd = COMPLETE): void {
    if (this.sourceEnd !== undefined) return
    this.sourceEnd = end
    this.#source = undefined
    this.#commit()
    for (const cursor of this.#cursors) cursor.sourceEnded(end)
  }

  /** Called when the source failed. Readers get what was committed, then the error. */
  fail(error: unknown): void {
    if (this.sourceEnd !== undefined) return
    this.#source = undefined
    this.#break(error)
  }

  /**
   * Whether the source should continue unasked: the fastest reader has less than `ahead` left to
   * read.
   */
  wants(ahead: number): boolean {
    if (!this.committed) return true
    if (this.#isStalled) return false
    let fastest = 0
    for (const { bytesRead, isPassive } of this.#cursors)
      if (!isPassive) fastest = Math.max(fastest, bytesRead)
    return this.#bytes - fastest < ahead
  }

  /** Everything that is kept, delivered or not, oldest first. */
  get kept(): readonly unknown[] {
    return this.#entries.slice(this.#first - this.#base)
  }

  // Methods for the cursors.

  /** Number of chunks so far. */
  get length(): number {
    return this.#base + this.#entries.length
  }

  /** Size of all chunks so far: characters of text, or a rough count of bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Time since which a reader has been waiting for the source; 0 when none is. */
  get waitingSince(): number {
    let since = 0
    for (const { waitingSince } of this.#cursors)
      if (waitingSince !== 0 && (since === 0 || waitingSince < since)) since = waitingSince
    return since
  }

  add(cursor: Cursor<T>): void {
    this.#cursors = [...this.#cursors, cursor]
  }

  /** A chunk for one reader. From a frame, each reader gets an object of its own. */
  chunkAt(index: number): T {
    const entry = this.#entries[index - this.#base]
    if (this.frames) return (entry as Frame).take() as T
    return (this.#isShared ? (entry as Shared).take() : entry) as T
  }

  /** A frame, for a reader that takes text. */
  frameAt(index: number): Frame {
    return this.#entries[index - this.#base] as Frame
  }

  /** Whether a `tap()` of `#whole` looks at the chunks. */
  get isWatched(): boolean {
    return this.#whole?.isWatched === true
  }

  /** Called when a reader gets a chunk. Listeners of `#whole` see each chunk once. */
  delivered(index: number, chunk: T): void {
    if (this.#whole === undefined || index < this.#seen) return
    this.#seen = index + 1
    this.#whole.look(chunk)
  }

  weightAt(index: number): number {
    return this.#weigh(this.#entries[index - this.#base])
  }

  /** Called when a reader waits for a chunk that is not there yet. */
  ask(): void {
    if (this.sourceEnd !== undefined) return
    if (this.#cursors.length > 1 && this.#isStalled) this.#awaitSlowest()
    else this.#pull()
  }

  /** Called when a reader has moved forward. */
  advanced(): void {
    if (this.#maxBytes === 0 || !this.#isWithinBounds) this.#trim()
    if (this.#stall !== undefined && !this.#isStalled) this.#goOn()
  }

  /** Removes a reader that has ended, for any reason. The last one stops the source. */
  remove(cursor: Cursor<T>, end: StreamEnd, reason: unknown): void {
    this.#cursors = this.#cursors.filter((other) => other !== cursor)
    const isLast = this.#cursors.length === 0
    // Do this first: listeners to the end check whether the work was aborted.
    if (isLast && end.outcome === 'failed' && this.sourceEnd === undefined)
      this.#sharing?.abandoned(end.error)
    if (end.outcome === 'complete' || isLast) this.#whole?.finish(end)
    if (isLast) this.#stop(end, reason)
    else if (this.#stall !== undefined) this.#goOn()
  }

  // Methods for sharing.

  /** Whether a new reader can still get the whole stream. */
  get canJoin(): boolean {
    return this.#first === 0 && this.length < KEPT_CHUNKS && this.#bytes < KEPT_BYTES
  }

  /** Whether nothing has been read, and `cursor` is the only reader there will be. */
  isUnread(cursor: Cursor<T>): boolean {
    const isOnly = this.#cursors.length === 1 && this.#cursors[0] === cursor
    return isOnly && this.#whole === undefined && cursor.position === 0
  }

  /** Makes the one cursor stand for all readers, which then get cursors of their own. */
  share(whole: Cursor<T>, sharing: Sharing): void {
    this.#whole = whole
    this.#sharing = sharing
    this.#cursors = []
    this.#retain(KEPT_BYTES, KEPT_CHUNKS)
  }

  /** Keeps all chunks up to this size, so that the whole stream can be stored. */
  keep(maxBytes: number): void {
    this.#retain(maxBytes, Number.POSITIVE_INFINITY)
  }

  /** Whether every chunk so far is kept. */
  get isWhole(): boolean {
    return this.#first === 0 && this.#isWithinBounds
  }

  /**
   * The cursor that stands for all readers was aborted. Readers get what is there, then the error.
   */
  abort(reason: unknown): void {
    const source = this.#source
    this.#source = undefined
    // Also needed after the source's end, because listeners of `#whole` still wait for the readers.
    this.#break(reason)
    if (source) runHook("A stream's stop()", () => source.stop(reason))
  }

  #retain(maxBytes: number, maxChunks: number): void {
    this.#maxBytes = Math.max(this.#maxBytes, maxBytes)
    this.#maxChunks = Math.max(this.#maxChunks, maxChunks)
    if (this.frames || this.#isShared) return
    this.#isShared = true
    this.#entries = this.#entries.map(share)
    for (const entry of this.#entries) this.keptBytes += (entry as Shared).bytes
    this.#bytes = this.keptBytes
  }

  get #isLeft(): boolean {
    return this.#source === undefined
  }

  get #isWithinBounds(): boolean {
    return this.keptBytes <= this.#maxBytes && this.#entries.length <= this.#maxChunks
  }

  #weigh(entry: unknown): number {
    if (this.frames) return (entry as Frame | undefined)?.text.length ?? 0
    return this.#isShared ? ((entry as Shared | undefined)?.bytes ?? 0) : 0
  }

  /** Drops what every reader has read. */
  #trim(): void {
    let slowest = this.length
    for (const { position } of this.#cursors) slowest = Math.min(slowest, position)
    if (slowest === this.#first) return
    for (let i = this.#first; i < slowest; i++) {
      this.keptBytes -= this.weightAt(i)
      this.#entries[i - this.#base] = undefined
    }
    this.#first = slowest
    if (slowest === this.length) this.#entries = []
    else if (slowest - this.#base < TRIM_STEP) return
    else this.#entries.splice(0, slowest - this.#base)
    this.#base = slowest
  }

  #hold(entry: T | Frame, bytes: number): void {
    this.#heldBytes += bytes
    if (!this.frames || !(entry as Frame).isAside) this.#heldChunks++
    const isFull = this.#heldChunks >= HELD_CHUNKS || this.#heldBytes >= HELD_BYTES
    if (isFull || this.#isCommit(entry)) this.#commit()
  }

  #isCommit(entry: T | Frame): boolean {
    if (this.frames && (entry as Frame).isAside) return false
    if (this.#commits === undefined) return true
    try {
      return this.#commits((this.frames ? (entry as Frame).value : entry) as T)
    } catch (error) {
      hookFailed('commits()', error)
      return true
    }
  }

  #commit(): void {
    if (this.committed) return
    this.committed = true
    this.#settle?.resolve()
    this.#settle = undefined
    for (const cursor of this.#cursors) cursor.hasCommitted()
  }

  #break(error: unknown): void {
    const end: StreamEnd = { outcome: 'failed', error }
    this.sourceEnd = end
    if (!this.committed) {
      this.#entries = []
      this.#settle?.reject(error)
      this.#settle = undefined
    }
    this.#endStall()
    this.#whole?.finish(end)
    for (const cursor of this.#cursors) cursor.sourceFailed(end)
  }

  /** Called when the last reader has gone. */
  #stop({ outcome, error }: StreamEnd, reason: unknown): void {
    this.#endStall()
    const source = this.#source
    this.#source = undefined
    if (source) runHook("A stream's stop()", () => source.stop(reason))
    if (outcome === 'failed') this.#settle?.reject(error)
    else this.#settle?.resolve()
    this.#settle = undefined
  }

  /** Whether the slowest reader is so far behind that the others must wait for it. */
  get #isStalled(): boolean {
    for (const cursor of this.#cursors) if (this.#isBehind(cursor)) return true
    return false
  }

  #isBehind({ position, bytesRead }: Cursor<T>): boolean {
    return this.length - position >= KEPT_CHUNKS || this.#bytes - bytesRead >= KEPT_BYTES
  }

  #awaitSlowest(): void {
    this.#stall ??= new Timer(STALL_MS, () => {
      this.#stall = undefined
      const sentence =
        "This reader was cut off: it fell too far behind a faster reader of the same shared stream. Read faster, or make the call with cache: 'no-store'."
      for (const cursor of this.#cursors) {
        if (!this.#isBehind(cursor)) continue
        const details = { code: 'STREAM', status: 502, layer: this.#sharing?.layer } as const
        cursor.abort(new StackError(sentence, details))
      }
      this.advanced()
      this.#goOn()
    })
  }

  #endStall(): void {
    this.#stall?.stop()
    this.#stall = undefined
  }

  /** Asks the source for more, if a reader waits and none is too far behind. */
  #goOn(): void {
    const isAwaited = this.waitingSince !== 0
    if (isAwaited && this.#isStalled) return
    this.#endStall()
    if (isAwaited) this.#pull()
  }

  #pull(): void {
    if (this.#isPulled) return
    this.#isPulled = true
    this.#source?.pull()
  }
}

/** Rough size of a chunk whose size on the wire is unknown. */
function sizeOf(chunk: unknown): number {
  if (typeof chunk === 'string') return chunk.length
  return ArrayBuffer.isView(chunk) ? chunk.byteLength : 0
}
