import { type Context, QueueFullError, remaining } from '../../core/index.js'
import { ServiceTime } from './service-time.js'

/**
 * A call is admitted when nine of ten like it would finish in time. If the queue were filled to the
 * limit, every call would reach its head with hardly any time left. At the head, a call gets a slot
 * as long as some like it would still finish.
 */
const NEARLY_ALL = 0.9
const A_FEW = 0.25

/**
 * Tracks how long calls hold their slots, and rejects calls that would miss their deadline. Without
 * this, an overloaded queue that serves everybody in order serves exactly the calls that are about
 * to expire.
 */
export class HoldTimes {
  readonly #layer: string
  /** The current concurrency. */
  readonly #concurrency: () => number
  /** For estimates of waiting times. */
  readonly #all = new ServiceTime()
  // For a call's own duration, by form: streams take many times as long.
  readonly #plain = new ServiceTime()
  readonly #streamed = new ServiceTime()

  constructor(layer: string, concurrency: () => number) {
    this.#layer = layer
    this.#concurrency = concurrency
  }

  /** The durations of calls like this one. */
  of(request: unknown, { base }: Context): ServiceTime {
    return base.streams?.(request) === true ? this.#streamed : this.#plain
  }

  add(heldMs: number, kind: ServiceTime): void {
    this.#all.add(heldMs)
    kind.add(heldMs)
  }

  /** When a new call behind `waiting` others could start; undefined while unknown. Milliseconds. */
  untilFree(waiting: number): number | undefined {
    const { meanMs } = this.#all
    return meanMs === 0 ? undefined : (meanMs * (waiting + 1)) / this.#concurrency()
  }

  /** Rejects a new call that would miss its deadline behind `ahead` others. */
  admit(request: unknown, context: Context, ahead: number): void {
    this.#refuseIfLate(request, context, ahead, this.untilFree(ahead) ?? 0, NEARLY_ALL)
  }

  /** Rejects a call at the head of the queue that would still miss its deadline. */
  admitAtHead(request: unknown, context: Context): void {
    this.#refuseIfLate(request, context, 0, 0, A_FEW)
  }

  #refuseIfLate(
    request: unknown,
    context: Context,
    ahead: number,
    waitMs: number,
    share: number,
  ): void {
    if (!this.#all.isKnown) return
    const own = this.of(request, context)
    const lateMs = waitMs + (own.isKnown ? own.within(share) : 0) - remaining(context)
    if (lateMs <= 0) return
    throw new QueueFullError(ahead, { layer: this.#layer, lateMs, retryAfter: lateMs })
  }
}
