import {
  type AbortListener,
  type Context,
  type Handler,
  type Place,
  proceed,
  type Shared,
  type SharedWork,
  type Sharing,
  type Stream,
  share,
  streamFrom,
  streamOf,
  type Trace,
  type TransientMap,
} from '../../core/index.js'
import type { OtherProcesses, OwnedCall } from './other-processes.js'
import type { Outlet } from './outlet.js'

/** What the calls of one layer share. */
export interface CallsInProgress {
  /** Layer name, for errors. */
  readonly layer: string
  /** Called once per call, when its answer has ended. */
  ended(): void
  /** Called when only the first caller can get the answer. */
  wasOneShot(first: Context): void
  /** Called for each other caller, which then makes its own call. */
  left(caller: Context): void
}

/** One call in progress, and the callers that share its answer. */
export class SharedCall implements AbortListener, Sharing, OwnedCall {
  readonly #work: SharedWork
  readonly #calls: TransientMap<SharedCall>
  readonly #key: string
  readonly #inProgress: CallsInProgress
  readonly #next: Handler
  readonly #request: unknown
  /** Callers that wait for the answer, or for the start of a stream. */
  #waiters: Waiter[] | undefined
  /** The answer, once it is a stream that has started. */
  #stream: Stream<unknown> | undefined
  /** Represents the callers in other processes. */
  #outlet: Outlet | undefined
  #isOver = false

  constructor(
    work: SharedWork,
    calls: TransientMap<SharedCall>,
    key: string,
    inProgress: CallsInProgress,
    next: Handler,
    request: unknown,
  ) {
    this.#work = work
    this.#calls = calls
    this.#key = key
    this.#inProgress = inProgress
    this.#next = next
    this.#request = request
    calls.set(key, this)
    work.context.cancel.add(this)
  }

  get trace(): Trace | undefined {
    return this.#work.context.trace
  }

  get layer(): string {
    return this.#inProgress.layer
  }

  abandoned(reason: unknown): void {
    this.#work.context.cancel.abort(reason)
  }

  /** Whether a new caller can still get the whole answer. */
  get canJoin(): boolean {
    return this.#stream === undefined || this.#stream.log.canJoin
  }

  /** Every caller has left, so the work was aborted. */
  abort(): void {
    this.#unlist()
  }

  /** Accepts no more callers from now on. */
  #unlist(): void {
    this.#calls.delete(this.#key, this)
  }

  /** Adds a caller. Settles with its answer, or rejects when it is aborted. */
  join(context: Context): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(context, this, resolve, reject)
      this.#work.join(waiter)
      this.#outlet?.joined()
      // Immediately, because the start of the stream may be dropped by the next turn.
      if (this.#stream !== undefined) return this.#serveStream(waiter, this.#stream)
      if (this.#waiters === undefined) this.#waiters = [waiter]
      else this.#waiters.push(waiter)
      context.cancel.add(waiter)
    })
  }

  /** Also serves callers in other processes. */
  serve(outlet: Outlet): void {
    this.#outlet = outlet
    this.#work.join(outlet)
  }

  /**
   * Removes a caller, or all callers in other processes. When the last one leaves, the work stops.
   */
  leave(place: Place, reason?: unknown): void {
    if (place === this.#outlet) this.#outlet = undefined
    this.#work.leave(place, reason)
    if (this.#work.callers === 1 && !this.#isOver) this.#outlet?.leftAlone()
  }

  /** Starts the work, unless another process has started it. */
  start(others?: OtherProcesses): void {
    const { context } = this.#work
    try {
      const answer =
        others === undefined
          ? this.#next(this.#request, context)
          : others.answer(this.#key, this, this.#next, this.#request, context)
      void proceed(
        answer,
        (answer) => this.#answered(answer),
        (error) => this.#failed(error),
      )
    } catch (error) {
      this.#failed(error)
    }
  }

  #answered(answer: unknown): void {
    try {
      const stream = streamOf(answer)
      if (stream !== undefined) return this.#shareStream(stream)
      const shared = share(answer)
      if (shared.isOneShot) this.#serveFirst(shared, answer)
      else this.#serveAll(shared)
    } catch (error) {
      this.#failed(error)
    }
  }

  #serveAll(shared: Shared): void {
    this.#outlet?.answered(shared)
    this.#finish()
    for (const { context, resolve } of this.#takeWaiters()) {
      this.#work.tell(context)
      resolve(shared.take())
    }
  }

  /** Only the first caller can read the answer. The others make their own calls. */
  #serveFirst(shared: Shared, answer: unknown): void {
    this.#outlet?.answered(shared)
    this.#finish()
    const [first, ...others] = this.#takeWaiters()
    if (first !== undefined) {
      this.#work.tell(first.context)
      this.#inProgress.wasOneShot(first.context)
      first.resolve(answer)
    }
    for (const { context, resolve, reject } of others) {
      this.#inProgress.left(context)
      try {
        resolve(this.#next(this.#request, context))
      } catch (error) {
        reject(error)
      }
    }
  }

  #shareStream(given: Stream<unknown>): void {
    // A stream that has been read from or is already shared gets a log of its own.
    const stream = given.isUnread ? given : streamFrom(given, { committed: true })
    stream.abortWith(this.#work.context.cancel)
    stream.share(this)
    stream.onEnd(() => this.#finish())
    this.#stream = stream
    for (const waiter of this.#takeWaiters()) this.#serveStream(waiter, stream)
    this.#outlet?.streams(stream.join({ isPassive: true }))
  }

  #failed(error: unknown): void {
    this.#outlet?.failed(error)
    this.#finish()
    for (const { context, reject } of this.#takeWaiters()) {
      this.#work.tell(context)
      reject(error)
    }
  }

  /** Removes and returns the callers that are still waiting. */
  #takeWaiters(): readonly Waiter[] {
    const waiters = this.#waiters ?? []
    this.#waiters = undefined
    for (const waiter of waiters) waiter.context.cancel.remove(waiter)
    return waiters.some(({ hasLeft }) => hasLeft)
      ? waiters.filter(({ hasLeft }) => !hasLeft)
      : waiters
  }

  #serveStream(waiter: Waiter, stream: Stream<unknown>): void {
    const { context } = waiter
    this.#work.tell(context)
    const reader = stream.join({ cancel: context.cancel, unreadMs: context.base.unreadMs })
    // When the last one leaves, the stream has ended, so leaving does not abort finished work.
    reader.onEnd(({ outcome, error }) => {
      if (outcome !== 'complete') this.leave(waiter, error)
    })
    waiter.resolve(reader)
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#work.end()
    this.#unlist()
    this.#inProgress.ended()
  }
}

/** A caller that waits for the answer. */
class Waiter implements AbortListener, Place {
  readonly context: Context
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: unknown) => void
  hasLeft = false
  readonly #call: SharedCall

  constructor(
    context: Context,
    call: SharedCall,
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.context = context
    this.#call = call
    this.resolve = resolve
    this.reject = reject
  }

  abort(reason: unknown): void {
    this.hasLeft = true
    this.#call.leave(this, reason)
    this.reject(reason)
  }
}
