import { TimeoutError } from '../errors.js'
import { type AbortListener, type Cancel, Timer } from '../time/cancel.js'
import type { BaseFacts } from '../types.js'
import { hookFailed, runHook } from '../warn.js'
import { iterableSource } from './iterable-source.js'

/** How a stream ended. `left`: its reader went before the end. */
export interface StreamEnd {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
  /** Whether what was delivered may be kept for others, when the source can tell. */
  readonly cacheable?: boolean
}

/** Is told once how an answer ended: a function, or an object such as a layer's record of a call. */
export type OnEnd = ((end: StreamEnd) => void) | { ended(end: StreamEnd): void }

/**
 * Has a stream that comes as JSON remembered as it came, so that whoever keeps it need not hold
 * hundreds of objects: gives what gives the list of its chunks as one JSON text, or undefined when
 * it is longer than `maxBytes`. Undefined for another base than the stream's own, which alone has
 * judged it.
 */
export type Transcribe = (
  maxBytes: number,
  base: BaseFacts,
) => (() => string | undefined) | undefined

/**
 * Where a stream's chunks come from. It answers `pull` with `push`, `end` or `fail` on the stream.
 */
export interface StreamSource {
  /** The reader wants more than is there. */
  pull(): void
  /** Nothing more is wanted: give back what is held. Not called after `end` or `fail`. */
  stop(reason: unknown): void
}

export interface StreamOptions<T> {
  /** The cancellation the stream obeys to its end. */
  cancel?: Cancel | undefined
  /** @default the first chunk commits */
  commits?: ((chunk: T) => boolean) | undefined
  /**
   * Ends the stream when nobody asks for a chunk within this time of its commit. Milliseconds.
   * @default never
   */
  unreadMs?: number | undefined
  /**
   * Nothing is held back: the source begins with what has been committed elsewhere. @default false
   */
  committed?: boolean | undefined
  /** @default none: the chunks are no JSON, or nobody has remembered it */
  transcribe?: Transcribe | undefined
}

/** Held back before the commit at most; more commits. */
const HELD_CHUNKS = 64
const HELD_BYTES = 64 * 1024

type Result<T> = IteratorResult<T, undefined>
/** A reader that is told what `next()` would promise: at once, when it is there. */
export interface StreamReader<T> {
  resolve(result: Result<T>): void
  reject(error: unknown): void
}

const DONE: Result<never> = Object.freeze({ done: true, value: undefined })
/** The end of a value, and of a stream whose source says no more about it. */
export const COMPLETE: StreamEnd = Object.freeze({ outcome: 'complete' })

/**
 * The one wrapper around a streamed answer. It holds chunks back until the commit, gives them to
 * one reader in the manner of an async generator (calls of `next()` queue, `return()` settles a
 * waiting one), and ends exactly once: then everybody who registered with `onEnd` is told,
 * innermost layer first.
 */
export class AnswerStream<T> implements AsyncGenerator<T, undefined, undefined>, AbortListener {
  /** Resolves at the commit or an empty end, rejects with what happened before it. */
  readonly ready: Promise<void>
  readonly transcribe: Transcribe | undefined
  /**
   * Since when the reader has been waiting for the source, on the `performance.now()` clock; 0
   * while it does not.
   */
  waitingSince = 0
  /** Whether the commit has come: from then on nothing is tried again. */
  committed = false

  #source: StreamSource | undefined
  #cancel: Cancel | undefined
  readonly #commits: ((chunk: T) => boolean) | undefined
  #unreadMs: number | undefined
  #unread: Timer | undefined
  /** Whether a chunk has been asked for. */
  #asked = false
  #chunks: T[] = []
  #read = 0
  readonly #waiters: StreamReader<T>[] = []
  #held = 0
  #committed: { resolve(): void; reject(error: unknown): void } | undefined
  /** The source has nothing more to say. */
  #closing: StreamEnd | undefined
  #end: StreamEnd | undefined
  #failure: { error: unknown } | undefined
  #listeners: OnEnd[] | undefined = []
  #taps: ((chunk: T) => void)[] | undefined

  constructor(
    source: StreamSource,
    { cancel, commits, unreadMs, committed, transcribe }: StreamOptions<T> = {},
  ) {
    this.#source = source
    this.transcribe = transcribe
    this.#commits = commits
    this.#unreadMs = unreadMs
    this.ready = new Promise((resolve, reject) => {
      this.#committed = { resolve, reject }
    })
    // Whoever hands the stream out awaits `ready`; a stream made for someone who has gone must not
    // become an unhandled rejection.
    this.ready.catch(() => {})
    if (committed) this.#commit()
    if (cancel) this.obey(cancel)
  }

  /** The stream over any async iterable. */
  static from<T>(iterable: AsyncIterable<T>, options: StreamOptions<T> = {}): AnswerStream<T> {
    const source = iterableSource(iterable, () => stream)
    const stream: AnswerStream<T> = new AnswerStream<T>(source, options)
    stream.#source?.pull()
    return stream
  }

  /** A stream of chunks that are there already. */
  static of<T>(
    chunks: readonly T[],
    options: StreamOptions<T> & { end?: StreamEnd | undefined } = {},
  ): AnswerStream<T> {
    const stream = new AnswerStream<T>({ pull() {}, stop() {} }, options)
    stream.#chunks = chunks.slice()
    stream.#commit()
    stream.end(options.end)
    return stream
  }

  /** How the stream ended; undefined while it has not. */
  get ended(): StreamEnd | undefined {
    return this.#end
  }

  /** Chunks that have arrived and were not asked for yet. */
  get buffered(): number {
    return this.#chunks.length - this.#read
  }

  /** Ends with the reason of `cancel`, unless a cancellation is obeyed already. */
  obey(cancel: Cancel): void {
    if (this.#cancel !== undefined || this.#end !== undefined) return
    this.#cancel = cancel
    cancel.add(this)
  }

  /**
   * From the source: a chunk. `bytes` is its size on the wire. Returns whether the source should go
   * on unasked.
   */
  push(chunk: T, bytes = sizeOf(chunk)): boolean {
    if (this.#end !== undefined || this.#closing !== undefined) return false
    if (this.#taps) for (const tap of this.#taps) runTap(tap, chunk)
    if (this.#committed !== undefined) {
      this.#chunks.push(chunk)
      this.#held += bytes
      if (this.#chunks.length >= HELD_CHUNKS || this.#held >= HELD_BYTES || this.#isCommit(chunk))
        this.#commit()
      else this.#source?.pull()
      return this.#committed !== undefined || this.#waiters.length > 0
    }
    const waiter = this.#waiters.shift()
    if (waiter === undefined) {
      this.#chunks.push(chunk)
      return false
    }
    waiter.resolve({ done: false, value: chunk })
    if (this.#waiters.length === 0) this.waitingSince = 0
    else this.#wait()
    return this.#waiters.length > 0
  }

  /** From the source: everything has been sent. */
  end(end: StreamEnd = COMPLETE): void {
    if (this.#end !== undefined || this.#closing !== undefined) return
    this.#closing = end
    this.#source = undefined
    this.#commit()
    if (this.buffered === 0) this.#finish(end)
  }

  /** From the source: it broke. What has arrived is still delivered, then the error. */
  fail(error: unknown): void {
    if (this.#end !== undefined || this.#closing !== undefined) return
    this.#source = undefined
    if (this.#committed !== undefined) this.#chunks = []
    this.#failure = { error }
    this.#finish({ outcome: 'failed', error })
  }

  /** From the cancellation: nothing more is delivered, the source is stopped. */
  abort(reason: unknown): void {
    if (this.#end !== undefined) return
    this.#chunks = []
    this.#read = 0
    this.#failure = { error: reason }
    this.#finish({ outcome: 'failed', error: reason }, reason)
  }

  /** Calls `listener` once, at the end; at once if it has come. */
  onEnd(listener: OnEnd): void {
    if (this.#end === undefined) this.#listeners?.push(listener)
    else {
      const end = this.#end
      notifyEnd(listener, end)
    }
  }

  /**
   * From now on, ends the stream when nobody asks for a chunk within `ms`; unless there is such a
   * limit already.
   */
  expectReader(ms: number): void {
    if (this.#unreadMs !== undefined) return
    this.#unreadMs = ms
    this.#awaitReader()
  }

  /** Calls `tap` with each chunk not delivered yet, those already here first. */
  tap(tap: (chunk: T) => void): void {
    for (let i = this.#read; i < this.#chunks.length; i++) runTap(tap, this.#chunks[i] as T)
    this.#taps ??= []
    this.#taps.push(tap)
  }

  next(): Promise<Result<T>> {
    // Most chunks are here already, or at hand, as they come several in a packet; and who waits for
    // nothing costs half.
    const asked = !this.#isHere && this.committed && this.#waiters.length === 0
    if (asked) this.#source?.pull()
    if (this.#isHere) return Promise.resolve(this.#take())
    return new Promise((resolve, reject) => this.#await({ resolve, reject }, asked))
  }

  /** What `next()` does, for whoever need not wait for a promise. */
  read(reader: StreamReader<T>): void {
    if (this.#isHere) reader.resolve(this.#take())
    else this.#await(reader)
  }

  /** @param asked whether the source has been asked already */
  #await(reader: StreamReader<T>, asked = false): void {
    this.#noteReader()
    if (this.#end !== undefined) {
      const failure = this.#failure
      this.#failure = undefined
      return failure === undefined ? reader.resolve(DONE) : reader.reject(failure.error)
    }
    this.#waiters.push(reader)
    this.#wait(asked)
  }

  get #isHere(): boolean {
    return this.#read < this.#chunks.length && this.#committed === undefined
  }

  #take(): Result<T> {
    this.#noteReader()
    const value = this.#chunks[this.#read++] as T
    this.#delivered()
    return { done: false, value }
  }

  #noteReader(): void {
    this.#asked = true
    this.#unread?.stop()
    this.#unread = undefined
  }

  return(): Promise<Result<T>> {
    this.#leave()
    return Promise.resolve(DONE)
  }

  throw(error: unknown): Promise<Result<T>> {
    this.#leave()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave()
  }

  #leave(): void {
    this.#failure = undefined
    this.#chunks = []
    this.#read = 0
    if (this.#end === undefined) this.#finish(this.#closing ?? { outcome: 'left' })
  }

  /** Behind each delivery from the chunks that were here. */
  #delivered(): void {
    if (this.#read < this.#chunks.length) return
    this.#chunks = []
    this.#read = 0
    // The end is the delivery of the last chunk: a reader who counts need not ask once more.
    if (this.#closing !== undefined) this.#finish(this.#closing)
  }

  #wait(asked = false): void {
    // A test's clock may stand at 0, which would say that nobody waits.
    this.waitingSince = performance.now() || Number.MIN_VALUE
    if (!asked) this.#source?.pull()
  }

  #isCommit(chunk: T): boolean {
    if (this.#commits === undefined) return true
    try {
      return this.#commits(chunk)
    } catch (error) {
      hookFailed('commits()', error)
      return true
    }
  }

  #commit(): void {
    if (this.#committed === undefined) return
    this.committed = true
    this.#committed.resolve()
    this.#committed = undefined
    if (this.#closing === undefined || this.buffered > 0) this.#awaitReader()
    // Who asked before the commit is waiting for what was held.
    if (this.#waiters.length > 0 && this.buffered > 0) {
      for (const waiter of this.#waiters.splice(0, this.buffered)) {
        waiter.resolve({ done: false, value: this.#chunks[this.#read++] as T })
      }
      this.#delivered()
    }
    if (this.#waiters.length > 0) this.#wait()
    else this.waitingSince = 0
  }

  #awaitReader(): void {
    const ms = this.#unreadMs
    if (ms === undefined || this.#asked || this.#unread !== undefined || this.#end !== undefined)
      return
    this.#unread = new Timer(ms, () => this.abort(new TimeoutError(ms, { phase: 'read' })))
  }

  #finish(end: StreamEnd, reason?: unknown): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.waitingSince = 0
    this.#unread?.stop()
    this.#unread = undefined
    this.#cancel?.remove(this)
    const source = this.#source
    this.#source = undefined
    if (source) runHook("A stream's stop()", () => source.stop(reason))
    if (this.#committed !== undefined) {
      if (end.outcome === 'failed') this.#committed.reject(end.error)
      else this.#committed.resolve()
      this.#committed = undefined
    }
    for (const waiter of this.#waiters.splice(0)) {
      const failure = this.#failure
      this.#failure = undefined
      if (failure === undefined) waiter.resolve(DONE)
      else waiter.reject(failure.error)
    }
    const listeners = this.#listeners
    this.#listeners = undefined
    if (listeners) for (const listener of listeners) notifyEnd(listener, end)
  }
}

/** Tells a listener of an end. What it throws must not reach the stream. */
export function notifyEnd(listener: OnEnd, end: StreamEnd): void {
  try {
    const result: unknown = typeof listener === 'function' ? listener(end) : listener.ended(end)
    if (result instanceof Promise) result.catch((error: unknown) => hookFailed('onEnd()', error))
  } catch (error) {
    hookFailed('onEnd()', error)
  }
}

/** What a tap throws must not reach the source. */
function runTap<T>(tap: (chunk: T) => unknown, chunk: T): void {
  try {
    const result = tap(chunk)
    if (result instanceof Promise) result.catch((error: unknown) => hookFailed('tap()', error))
  } catch (error) {
    hookFailed('tap()', error)
  }
}

/** Rough size of a chunk whose size on the wire is not known. */
function sizeOf(chunk: unknown): number {
  if (typeof chunk === 'string') return chunk.length
  return ArrayBuffer.isView(chunk) ? chunk.byteLength : 0
}
