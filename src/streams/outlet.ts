import type { StreamEnd } from '../core/index.js'
import { ask, leave, open } from './source.js'

type Result<T> = IteratorResult<T, undefined>
interface Waiter<T> {
  resolve(result: Result<T>): void
  reject(error: unknown): void
}

const DONE: Result<never> = Object.freeze({ done: true, value: undefined })

/**
 * For a chunk or an end of which nothing is said; `undefined` may be a chunk.
 * @internal
 */
export const NOTHING: unique symbol = Symbol('nothing')
/** @internal */
export type Said<Out> = Out | typeof NOTHING

/**
 * What all adapters that give strings or chunks are made of: an async generator's manners (calls of
 * `next()` queue, after the end everything is done) at a little less than its cost, but a
 * `return()` that settles a waiting `next()` instead of waiting behind it. The source is asked only
 * when the reader is, and is returned at most once.
 * @internal
 */
export abstract class Outlet<In, Out> implements AsyncGenerator<Out, undefined, undefined> {
  /** Gone once the source has ended or was left. */
  #iterator: AsyncIterator<In> | undefined
  #ready: Out[] = []
  readonly #waiters: Waiter<Out>[] = []
  #failure: { error: unknown } | undefined
  /** Nothing more will come than what is ready. */
  #over = false
  /** `pull()` was called and has not been answered. */
  #pulling = false
  #looping = false

  readonly #source: AsyncIterable<In>

  constructor(subject: string, source: AsyncIterable<In>) {
    this.#source = source
    this.#iterator = open(subject, source)
  }

  /** How the source ended, when it is a stream of ours or an adapter around one. */
  get ended(): StreamEnd | undefined {
    return (this.#source as { ended?: StreamEnd }).ended
  }

  /**
   * What a chunk becomes; after `NOTHING` the next one is asked for. What it throws is the stream's
   * failure.
   */
  protected abstract take(chunk: In): Said<Out>

  /** What is said after the source's end. */
  protected finished(): Said<Out> {
    return NOTHING
  }

  /** What is said after the source's failure; what it throws is what the reader gets. */
  protected failed(error: unknown): Said<Out> {
    throw error
  }

  /** The reader begins to wait. */
  protected waits(): void {}

  /** The end, the failure or the reader's leaving: timers go. */
  protected stopped(): void {}

  /** Gets the next thing to say and answers with `supply`. */
  protected pull(): void {
    const iterator = this.#iterator as AsyncIterator<In>
    ask(iterator).then(this.#took, this.#broke)
  }

  /** Whether somebody waits. */
  protected get waiting(): boolean {
    return this.#waiters.length > 0
  }

  /** To the reader who waits, or to the one who comes. */
  protected say(out: Out): void {
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#ready.push(out)
    else waiter.resolve({ done: false, value: out })
  }

  /** The answer to `pull()`. */
  protected supply(out: Said<Out>): void {
    this.#pulling = false
    if (out !== NOTHING) this.say(out)
    this.#ask()
  }

  next(): Promise<Result<Out>> {
    if (this.#ready.length > 0)
      return Promise.resolve({ done: false, value: this.#ready.shift() as Out })
    if (this.#over) {
      const failure = this.#failure
      this.#failure = undefined
      return failure === undefined ? Promise.resolve(DONE) : Promise.reject(failure.error)
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.waits()
      this.#ask()
    })
  }

  return(): Promise<Result<Out>> {
    this.#leave()
    return Promise.resolve(DONE)
  }

  throw(error: unknown): Promise<Result<Out>> {
    this.#leave()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave()
  }

  // A loop, not a recursion: `pull()` may be answered at once, and any number of calls may wait.
  #ask(): void {
    if (this.#looping) return
    this.#looping = true
    while (!this.#pulling && !this.#over && this.#waiters.length > 0) {
      this.#pulling = true
      this.pull()
    }
    this.#looping = false
  }

  readonly #took = (result: IteratorResult<In>): void => {
    if (this.#iterator === undefined) return
    if (result.done) {
      this.#iterator = undefined
      this.#finish(() => this.finished())
      return
    }
    let out: Said<Out>
    try {
      out = this.take(result.value)
    } catch (error) {
      leave(this.#iterator)
      this.#broke(error)
      return
    }
    this.supply(out)
  }

  readonly #broke = (error: unknown): void => {
    if (this.#iterator === undefined) return
    this.#iterator = undefined
    this.#finish(() => this.failed(error))
  }

  #finish(last: () => Said<Out>): void {
    this.#over = true
    this.stopped()
    try {
      const out = last()
      if (out !== NOTHING) this.say(out)
    } catch (error) {
      this.#failure = { error }
    }
    this.#settle()
  }

  #leave(): void {
    this.#over = true
    this.#ready = []
    this.#failure = undefined
    const iterator = this.#iterator
    if (iterator === undefined) return
    this.#iterator = undefined
    this.stopped()
    leave(iterator)
    this.#settle()
  }

  #settle(): void {
    for (const waiter of this.#waiters.splice(0)) {
      const failure = this.#failure
      this.#failure = undefined
      if (failure === undefined) waiter.resolve(DONE)
      else waiter.reject(failure.error)
    }
  }
}
