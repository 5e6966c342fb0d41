import { AsyncResource } from 'node:async_hooks'
import { currentClock, now, timersInUse } from './clock.js'
import { DeadlineHeap, type Expiring, NOT_WAITING } from './deadline-heap.js'

/** Node runs a longer timer at once, with a warning. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Node's timers fire this much too early at most, and what is no further apart expires at once.
 * Milliseconds.
 */
const GRAIN_MS = 1

/**
 * A timer that is this late was held up by a blocked event loop: what has arrived meanwhile is
 * looked at first, as it may be what the deadline is there to miss. Milliseconds.
 */
const LATE_MS = 20

/**
 * Everything that waits for a moment, with one timer for the earliest: nearly all calls end long
 * before their deadline, and a place here costs a tenth of a timer. Nothing expires before its
 * moment, and equal moments expire in the order in which they were set.
 */
export class Deadlines {
  readonly #waiting = new DeadlineHeap()
  /** Whether the timer keeps the process alive. */
  readonly #ref: boolean
  #stopTimer: (() => void) | undefined
  #timerMoment = Number.POSITIVE_INFINITY
  // Of which timers it is, and of which it is about to be: a test may replace them at any time.
  #timers: unknown
  #arming: unknown
  /**
   * How far the timers run ahead of the clock. Always 0, but in a test that mocks `setTimeout()`
   * and not `performance.now()`, as `node:test` does.
   */
  #aheadMs = 0
  /** Whoever happens to start the timer must not lend its async context to all who wait. */
  readonly #context = new AsyncResource('blossom-stack.deadlines')

  constructor({ ref }: { ref: boolean }) {
    this.#ref = ref
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size
  }

  /** Has `entry` expire at `moment` of `now()`, and at no moment that was set before. */
  set(entry: Expiring, moment: number): void {
    if (entry.deadlineSlot !== NOT_WAITING) this.#waiting.remove(entry)
    const due = moment + this.#aheadMs
    this.#waiting.add(entry, due)
    const timers = timersInUse()
    if (this.#arming === timers || (this.#timers === timers && due >= this.#timerMoment)) return
    // Not yet: a call that ends within the same turn needs no timer at all.
    this.#arming = timers
    process.nextTick(arm, this)
  }

  /** Takes `entry` out. Nothing happens when it does not wait. */
  clear(entry: Expiring): void {
    if (entry.deadlineSlot === NOT_WAITING) return
    this.#waiting.remove(entry)
    if (this.#waiting.size === 0) this.#disarm()
  }

  /**
   * Starts the timer for the earliest, unless it runs.
   * @internal
   */
  arm(): void {
    this.#arming = undefined
    if (this.#timers !== timersInUse()) {
      this.#disarm()
      this.#timers = timersInUse()
      this.#aheadMs = 0
    }
    const earliest = this.#waiting.earliest()
    if (earliest >= this.#timerMoment) return
    this.#disarm()
    const reached = this.#reached()
    const ms = Math.min(Math.max(0, Math.ceil(earliest - reached)), LONGEST_TIMER_MS)
    this.#timerMoment = Math.min(earliest, reached + ms)
    this.#stopTimer = this.#context.runInAsyncScope(this.#start, this, ms)
  }

  #start(ms: number): () => void {
    return currentClock().startTimer(() => this.#fire(), ms, this.#ref)
  }

  #fire(): void {
    // Immediates run behind the sockets, timers before them.
    if (this.#reached() - this.#timerMoment > LATE_MS) this.#expireSoon()
    else this.#expire()
  }

  #expireSoon(): void {
    this.#stopTimer = currentClock().runSoon(() => this.#expire())
  }

  #expire(): void {
    const aheadMs = this.#timerMoment - this.#reached()
    if (aheadMs > GRAIN_MS) this.#aheadMs += aheadMs
    this.#stopTimer = undefined
    this.#timerMoment = Number.POSITIVE_INFINITY
    const reached = this.#reached()
    const moment = this.#waiting.earliest()
    if (moment > reached) return this.arm()
    for (const slot of this.#waiting.takeUntil(Math.min(reached, moment + GRAIN_MS)))
      this.#expireOne(slot)
    // As with Node's timers, all that follows from one moment runs before the next, however late.
    this.#timerMoment = this.#waiting.earliest()
    if (this.#timerMoment <= this.#reached()) return this.#expireSoon()
    this.#timerMoment = Number.POSITIVE_INFINITY
    this.arm()
  }

  #expireOne(slot: number): void {
    try {
      this.#waiting.expire(slot)
    } catch (error) {
      // As uncaught as in any timer, and it keeps nobody else from expiring.
      process.nextTick(rethrow, error)
    }
  }

  /** How far time has come, by the timers. */
  #reached(): number {
    return now() + this.#aheadMs
  }

  #disarm(): void {
    this.#stopTimer?.()
    this.#stopTimer = undefined
    this.#timerMoment = Number.POSITIVE_INFINITY
  }
}

const arm = (deadlines: Deadlines): void => deadlines.arm()

function rethrow(error: unknown): never {
  throw error
}

/** What calls and layers wait for. */
export const deadlines: Deadlines = new Deadlines({ ref: true })

/** What nobody stays for: it does not keep the process alive. */
export const backgroundDeadlines: Deadlines = new Deadlines({ ref: false })

/**
 * Milliseconds left until the context's deadline: negative when it has passed, `Infinity` when
 * there is none.
 */
export function remaining(context: { readonly deadline: number }): number {
  const { deadline } = context
  return deadline === Number.POSITIVE_INFINITY ? deadline : deadline - now()
}
