import PQueue from 'p-queue'
import {
  type AbortListener,
  ClosedError,
  type Context,
  QueueFullError,
  remaining,
  TimeoutError,
  Timer,
} from '../core/index.js'

/**
 * A call whose turn comes in the last moment before its deadline could not be done in time, so it
 * is refused then: whoever watches the deadline further out only knows that it took too long, not
 * that it never ran. Two milliseconds, as Node's timers have a grain of one at each end.
 */
const TOO_LATE_MS = 2

export interface WaitOptions {
  layer: string
  maxWaitMs?: number | undefined
}

/**
 * How long a call may wait for its turn from now on: `maxWaitMs`, but to just before its deadline.
 * Milliseconds.
 */
export function patience(context: Context, maxWaitMs = Number.POSITIVE_INFINITY): number {
  return Math.min(remaining(context) - TOO_LATE_MS, maxWaitMs)
}

/**
 * Where calls wait for their turn: bounded, larger priority first, in order of arrival within one.
 * p-queue keeps the order; who may go is decided by whoever calls `callNext`, so that calls which
 * need not wait never enter it.
 */
export class WaitingRoom {
  readonly #queue = new PQueue({ autoStart: false })
  readonly #limit: number
  readonly #byPriority = new Map<number, number>()
  #waiting = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get waiting(): number {
    return this.#waiting
  }

  /** How many of those who wait go before a newcomer of this priority. */
  ahead(priority: number): number {
    let ahead = 0
    for (const [of, waiting] of this.#byPriority) if (of >= priority) ahead += waiting
    return ahead
  }

  /** Throws when the room is full. */
  admit(layer: string, retryAfter?: number): void {
    if (this.#waiting >= this.#limit) throw new QueueFullError(this.#limit, { layer, retryAfter })
  }

  /**
   * Resolves when the call's turn has come. Rejects, and leaves the room at once, when it is
   * aborted, when its deadline or `maxWaitMs` passes (`TimeoutError`, phase `queue`), or when its
   * stack closes (`ClosedError`).
   */
  wait(
    context: Context,
    { layer, maxWaitMs = Number.POSITIVE_INFINITY }: WaitOptions,
  ): Promise<void> {
    const since = performance.now()
    return new Promise((resolve, reject) => {
      // p-queue takes a waiting task away by signal only; this one can fire only while the task
      // waits.
      const place = new AbortController()
      let timer: Timer | undefined
      const depart = () => {
        this.#count(context.priority, -1)
        timer?.stop()
        context.cancel.remove(onAbort)
        context.closing.remove(onClose)
        context.trace?.queued(layer, performance.now() - since)
      }
      const leave = (reason: unknown) => {
        depart()
        place.abort(reason)
        reject(reason)
      }
      const tooLate = (cause?: unknown) =>
        leave(new TimeoutError(performance.now() - since, { phase: 'queue', layer, cause }))
      const onAbort: AbortListener = {
        abort: (reason) => (reason instanceof TimeoutError ? tooLate(reason) : leave(reason)),
      }
      const onClose: AbortListener = {
        abort: () =>
          leave(
            new ClosedError('The stack was closed while the call waited for its turn.', { layer }),
          ),
      }
      const watch = () => {
        const { deadline } = context
        const left = patience(context, since + maxWaitMs - performance.now())
        if (left <= 0) return tooLate()
        if (left === Number.POSITIVE_INFINITY) return
        // The deadline of shared work moves when callers join it. Else the timer is trusted: Node's
        // may fire up to a millisecond early.
        timer = new Timer(left, () => (context.deadline > deadline ? watch() : tooLate()))
      }
      this.#count(context.priority, 1)
      const turn = () => {
        depart()
        resolve()
      }
      this.#queue.add(turn, { priority: context.priority, signal: place.signal }).catch(() => {})
      context.closing.add(onClose)
      if (place.signal.aborted) return
      context.cancel.add(onAbort)
      if (place.signal.aborted) return
      watch()
    })
  }

  #count(priority: number, change: 1 | -1): void {
    this.#waiting += change
    const waiting = (this.#byPriority.get(priority) ?? 0) + change
    if (waiting === 0) this.#byPriority.delete(priority)
    else this.#byPriority.set(priority, waiting)
  }

  /** Lets the first one go, before it returns; false when nobody waits. */
  callNext(): boolean {
    const before = this.#waiting
    if (before === 0) return false
    // One more than those whose (instant) task p-queue has not tidied up yet: exactly one starts.
    this.#queue.concurrency = this.#queue.pending + 1
    this.#queue.start()
    this.#queue.pause()
    return this.#waiting < before
  }
}
