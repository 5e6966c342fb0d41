import { type Context, QueueFullError, remaining } from '../../core/index.js'
import { ServiceTime } from './service-time.js'

/**
 * A call is let in when nine of ten like it would be done in time: a queue filled to the very edge
 * brings everybody to its head with next to no time left. At the head it is worth a slot as long as
 * some like it would still be done.
 */
const NEARLY_ALL = 0.9
const A_FEW = 0.25

/**
 * How long calls hold their slots, and who would be given up before it is done: a queue that serves
 * everybody in turn serves, when there is too much to do, exactly the calls that are about to
 * expire.
 */
export class HoldTimes {
  readonly #layer: string
  /** What it is now. */
  readonly #concurrency: () => number
  /** Waits go by all calls. */
  readonly #all = new ServiceTime()
  // What a call itself takes goes by its kind: streams take many times as long.
  readonly #plain = new ServiceTime()
  readonly #streamed = new ServiceTime()

  constructor(layer: string, concurrency: () => number) {
    this.#layer = layer
    this.#concurrency = concurrency
  }

  /** Where the times of such calls are kept. */
  of(request: unknown, { base }: Context): ServiceTime {
    return base.streams?.(request) === true ? this.#streamed : this.#plain
  }

  add(heldMs: number, kind: ServiceTime): void {
    this.#all.add(heldMs)
    kind.add(heldMs)
  }

  /** When a newcomer could begin behind so many; undefined while nothing is known. Milliseconds. */
  untilFree(waiting: number): number | undefined {
    const { meanMs } = this.#all
    return meanMs === 0 ? undefined : (meanMs * (waiting + 1)) / this.#concurrency()
  }

  /** Refuses a newcomer that would not be done in time behind those `ahead` of it. */
  admit(request: unknown, context: Context, ahead: number): void {
    this.#refuseIfLate(request, context, ahead, this.untilFree(ahead) ?? 0, NEARLY_ALL)
  }

  /** Refuses a call whose turn has come, when it would still not be done in time. */
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
