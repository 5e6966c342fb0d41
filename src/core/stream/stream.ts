import { TimeoutError } from '../errors.js'
import type { AbortListener, Cancel } from '../time/cancel.js'
import { now } from '../time/clock.js'
import { Timer } from '../time/timer.js'
import { hookFailed, watchHook } from '../warn.js'
import { type Cursor, Log, type LogOptions, type Sharing, type StreamSource } from './chunk-log.js'
import type { Frame } from './frame.js'
import { NOTHING, type Nothing, StreamIterator } from './iterator.js'
import { notifyEnd, type OnEnd, type StreamEnd } from './stream-end.js'

/** Options of one reader. */
export interface ReaderOptions {
  /** Ends the reading when aborted. */
  cancel?: Cancel | undefined
  /**
   * Ends the stream when nobody asks for a chunk within this time after its commit. Milliseconds.
   * @default never
   */
  unreadMs?: number | undefined
  /** Only takes what other readers make the source send, until set to false. @default false */
  isPassive?: boolean | undefined
}

export interface StreamOptions<T> extends LogOptions<T>, ReaderOptions {}

/**
 * A streamed answer: one reader's cursor on a log of chunks. It ends exactly once: when the last
 * chunk is delivered, at a failure, when its reader leaves, or when it is aborted. It then calls
 * the listeners registered with `onEnd()`, those of the innermost layer first.
 */
export class Stream<T> extends StreamIterator<T> implements AbortListener, Cursor<T> {
  readonly log: Log<T>
  /** Number of chunks that this reader has read. */
  position = 0
  /** Size of the chunks read, in the log's units. */
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
    // If the log has failed, or ended without a chunk, the new reader ends immediately.
    if (sourceEnd && (sourceEnd.outcome === 'failed' || log.length === 0)) this.finish(sourceEnd)
    if (log.committed) this.#awaitReader()
    if (cancel) this.abortWith(cancel)
  }

  /** A new stream with its log, filled by `source`. */
  static over<T>(source: StreamSource, options: StreamOptions<T> = {}): Stream<T> {
    return new Stream(new Log(source, options), options)
  }

  /** Time since which the reader has been waiting for the source; 0 when it is not waiting. */
  get waitingSince(): number {
    return this.#isShared ? this.log.waitingSince : this.#waitingSince
  }

  /** Number of chunks available and not yet read. */
  get buffered(): number {
    return this.#isDropped ? 0 : this.log.length - this.position
  }

  /**
   * Aborts the reading when `cancel` is aborted, unless the stream already follows a cancellation.
   */
  abortWith(cancel: Cancel): void {
    if (this.#cancel !== undefined || this.ended !== undefined) return
    this.#cancel = cancel
    cancel.add(this)
  }

  /**
   * Ends the stream when nobody asks for a chunk within `ms` from now, unless it already has such a
   * limit.
   */
  limitUnread(ms: number): void {
    if (this.#unreadMs !== undefined) return
    this.#unreadMs = ms
    this.#awaitReader()
  }

  /** Calls `listener` once at the end, or immediately if the stream has ended. */
  onEnd(listener: OnEnd): void {
    if (this.ended === undefined) this.#listeners?.push(listener)
    else notifyEnd(listener, this.ended)
  }

  /** Calls `look` with each chunk read from now on. */
  tap(look: (chunk: T) => void): void {
    this.#looks ??= []
    this.#looks.push(look)
  }

  // Methods for the reader.

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

  /** All frames available, for a stream of frames. */
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
    // A test's clock may be at 0, which would mean "not waiting".
    this.#waitingSince = now() || Number.MIN_VALUE
    this.log.ask()
  }

  /** Delivers nothing more and fails with `reason`. */
  abort(reason: unknown): void {
    if (this.ended !== undefined) return
    if (this.#isShared) return this.log.abort(reason)
    this.#isDropped = true
    this.finish({ outcome: 'failed', error: reason }, reason)
    this.notify()
  }

  protected override stop(): void {
    this.#isDropped = true
    // If the source has sent everything, the reader did not leave early.
    this.finish(this.log.sourceEnd ?? { outcome: 'left' })
  }

  // Methods for sharing.

  /** Whether the stream can be shared, because nothing has been read. */
  get isUnread(): boolean {
    return this.log.isUnread(this)
  }

  /**
   * Makes this stream stand for all of its readers, which get streams of their own from `join()`.
   * It ends when one of them has received the last chunk, or when the last one has left.
   */
  share(sharing: Sharing): void {
    this.#isShared = true
    this.#stopUnread()
    this.log.share(this, sharing)
  }

  /** A stream of the whole answer for one more reader. */
  join(options: ReaderOptions): Stream<T> {
    return new Stream(this.log, options)
  }

  // Methods for the log.

  /** Called when there is more to read. */
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

  /** Whether a `tap()` looks at the chunks. */
  get isWatched(): boolean {
    return this.#looks !== undefined
  }

  look(chunk: T): void {
    if (this.#looks) for (const look of this.#looks) runLook(look, chunk)
  }

  /** Ends the stream: releases what it holds and calls the listeners. */
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

  /** Only readers of text get events that are not part of the answer. */
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
    // The stream ends with the delivery of the last chunk, so a reader that counts need not ask
    // again.
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

/** Errors of a `tap()` become warnings, so that they do not reach the source. */
function runLook<T>(look: (chunk: T) => unknown, chunk: T): void {
  try {
    const result = look(chunk)
    watchHook('tap()', result)
  } catch (error) {
    hookFailed('tap()', error)
  }
}
