import { TimeoutError } from '../errors.js'
import type { AbortListener, Cancel } from '../time/cancel.js'
import { now } from '../time/clock.js'
import { Timer } from '../time/timer.js'
import { hookFailed, watchHook } from '../warn.js'
import { type Cursor, Log, type LogOptions, type Sharing, type StreamSource } from './chunk-log.js'
import type { Frame } from './frame.js'
import { NOTHING, type Nothing, StreamIterator } from './iterator.js'
import { notifyEnd, type OnEnd, type StreamEnd } from './stream-end.js'

/** How one reader reads. */
export interface ReaderOptions {
  /** Ends the reading when it is aborted. */
  cancel?: Cancel | undefined
  /**
   * Ends the stream when nobody asks for a chunk within this time of its commit. Milliseconds.
   * @default never
   */
  unreadMs?: number | undefined
  /** Takes what others have the source send, until it is made active. @default false */
  isPassive?: boolean | undefined
}

export interface StreamOptions<T> extends LogOptions<T>, ReaderOptions {}

/**
 * A streamed answer: one reader's cursor on a log of chunks. It ends exactly once, at the delivery
 * of the last chunk, at a failure, when its reader leaves, or by its cancellation: then everybody
 * who registered with `onEnd` is notified, innermost layer first.
 */
export class Stream<T> extends StreamIterator<T> implements AbortListener, Cursor<T> {
  readonly log: Log<T>
  /** How many chunks this reader has read. */
  position = 0
  /** Their size, as the log counts it. */
  bytesRead = 0
  /** How the stream ended for this reader; undefined while it has not. */
  ended: StreamEnd | undefined
  isPassive: boolean
  #waitingSince = 0
  #isShared = false
  #isDropped = false
  #listeners: OnEnd[] | undefined = []
  #looks: ((chunk: T) => void)[] | undefined
  #cancel: Cancel | undefined
  #unreadMs: number | undefined
  #unread: Timer | undefined
  #hasAsked = false

  constructor(log: Log<T>, { cancel, unreadMs, isPassive = false }: ReaderOptions = {}) {
    super()
    this.log = log
    this.#unreadMs = unreadMs
    this.isPassive = isPassive
    log.add(this)
    const { sourceEnd } = log
    // What has ended without a chunk, or failed, ends for a newcomer at once.
    if (sourceEnd && (sourceEnd.outcome === 'failed' || log.length === 0)) this.finish(sourceEnd)
    if (log.committed) this.#awaitReader()
    if (cancel) this.abortWith(cancel)
  }

  /** A stream that `source` fills, with its log. */
  static over<T>(source: StreamSource, options: StreamOptions<T> = {}): Stream<T> {
    return new Stream(new Log(source, options), options)
  }

  /** Since when the reader has been waiting for the source; 0 while it does not. */
  get waitingSince(): number {
    return this.#isShared ? this.log.waitingSince : this.#waitingSince
  }

  /** Chunks that are there and have not been read. */
  get buffered(): number {
    return this.#isDropped ? 0 : this.log.length - this.position
  }

  /** Aborts the reading with the reason of `cancel`, unless it follows a cancellation already. */
  abortWith(cancel: Cancel): void {
    if (this.#cancel !== undefined || this.ended !== undefined) return
    this.#cancel = cancel
    cancel.add(this)
  }

  /**
   * From now on, ends the stream when nobody asks for a chunk within `ms`, unless there is such a
   * limit already.
   */
  limitUnread(ms: number): void {
    if (this.#unreadMs !== undefined) return
    this.#unreadMs = ms
    this.#awaitReader()
  }

  /** Calls `listener` once, at the end; at once if it has come. */
  onEnd(listener: OnEnd): void {
    if (this.ended === undefined) this.#listeners?.push(listener)
    else notifyEnd(listener, this.ended)
  }

  /** Calls `look` with each chunk that is read from now on. */
  tap(look: (chunk: T) => void): void {
    this.#looks ??= []
    this.#looks.push(look)
  }

  // For the reader.

  read(): T | Nothing {
    if (this.log.frames) this.#skipAsides()
    if (!this.#canRead) return NOTHING
    this.#noteReader()
    const { log, position } = this
    const chunk = log.chunkAt(position)
    this.#deliver(position, chunk)
    this.#advance()
    return chunk
  }

  /** All frames that are there, of a stream of frames. */
  readFrames(): readonly Frame[] {
    const { log } = this
    const isLookedAt = this.isWatched || log.isWatched
    const frames: Frame[] = []
    while (this.#canRead) {
      const frame = log.frameAt(this.position)
      if (isLookedAt && !frame.isAside) this.#deliver(this.position, frame.value as T)
      frame.drop()
      frames.push(frame)
      this.bytesRead += frame.text.length
      this.position++
    }
    if (frames.length === 0) return frames
    this.#noteReader()
    this.#advanced()
    return frames
  }

  ask(): void {
    this.#noteReader()
    if (this.ended !== undefined || this.isPassive) return
    // A test's clock may stand at 0, which would mean that nobody waits.
    this.#waitingSince = now() || Number.MIN_VALUE
    this.log.ask()
  }

  /** Nothing more is delivered, and the failure is `reason`. */
  abort(reason: unknown): void {
    if (this.ended !== undefined) return
    if (this.#isShared) return this.log.abort(reason)
    this.#isDropped = true
    this.finish({ outcome: 'failed', error: reason }, reason)
    this.notify()
  }

  protected override stop(): void {
    this.#isDropped = true
    // A source that has sent everything has not been left.
    this.finish(this.log.sourceEnd ?? { outcome: 'left' })
  }

  // For sharing.

  /** Whether it can be shared: nobody has read any of it. */
  get isUnread(): boolean {
    return this.log.isUnread(this)
  }

  /**
   * Makes this stream stand for all of its readers, who get streams of their own by `join()`. It
   * ends when the first of them has been delivered the last chunk, or the last of them has left.
   */
  share(sharing: Sharing): void {
    this.#isShared = true
    this.#stopUnread()
    this.log.share(this, sharing)
  }

  /** The whole stream for one more reader. */
  join(options: ReaderOptions): Stream<T> {
    return new Stream(this.log, options)
  }

  // For the log.

  /** There is more to read. */
  readable(): void {
    if (!this.#canRead) return
    this.#waitingSince = 0
    this.notify()
  }

  hasCommitted(): void {
    this.#awaitReader()
  }

  sourceEnded(end: StreamEnd): void {
    this.readable()
    if (this.ended !== undefined || this.buffered > 0) return
    this.finish(end)
    this.notify()
  }

  sourceFailed(end: StreamEnd): void {
    this.finish(end)
    this.notify()
  }

  /** Whether anything looks at the chunks. */
  get isWatched(): boolean {
    return this.#looks !== undefined
  }

  look(chunk: T): void {
    if (this.#looks) for (const look of this.#looks) runLook(look, chunk)
  }

  /** Ends it: gives back what it holds, and notifies the listeners. */
  finish(end: StreamEnd, reason?: unknown): void {
    if (this.ended !== undefined) return
    this.ended = end
    this.#waitingSince = 0
    this.#stopUnread()
    this.#cancel?.remove(this)
    if (!this.#isShared) this.log.remove(this, end, reason)
    this.over(end.outcome === 'failed' ? { error: end.error } : undefined)
    const listeners = this.#listeners
    this.#listeners = undefined
    if (listeners) for (const listener of listeners) notifyEnd(listener, end)
  }

  get #canRead(): boolean {
    return this.log.committed && !this.#isDropped && this.position < this.log.length
  }

  /** What stands beside the answer is for readers of text only. */
  #skipAsides(): void {
    while (this.#canRead && this.log.frameAt(this.position).isAside) this.#advance()
  }

  #deliver(position: number, chunk: T): void {
    this.log.delivered(position, chunk)
    this.look(chunk)
  }

  #advance(): void {
    this.bytesRead += this.log.weightAt(this.position)
    this.position++
    this.#advanced()
  }

  #advanced(): void {
    const { log } = this
    // The end is the delivery of the last chunk: a reader who counts need not ask once more.
    if (this.position === log.length && log.sourceEnd?.outcome === 'complete')
      this.finish(log.sourceEnd)
    else if (this.ended === undefined) log.advanced()
  }

  #noteReader(): void {
    this.#hasAsked = true
    if (this.#unread !== undefined) this.#stopUnread()
  }

  #stopUnread(): void {
    this.#unread?.stop()
    this.#unread = undefined
  }

  #awaitReader(): void {
    const ms = this.#unreadMs
    const isNeeded = !this.#hasAsked && !this.#isShared && this.ended === undefined
    if (ms === undefined || !isNeeded || this.#unread !== undefined) return
    this.#unread = new Timer(ms, () => this.abort(new TimeoutError(ms, { phase: 'read' })))
  }
}

/** What a look throws must not reach the source. */
function runLook<T>(look: (chunk: T) => unknown, chunk: T): void {
  try {
    const result = look(chunk)
    watchHook('tap()', result)
  } catch (error) {
    hookFailed('tap()', error)
  }
}
