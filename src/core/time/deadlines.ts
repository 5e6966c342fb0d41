import { AsyncResource } from 'node:async_hooks'
import { currentClock, now, timersInUse } from './clock.js'
import { DeadlineHeap, type Expiring, NOT_WAITING } from './deadline-heap.js'

/** Node runs a longer timer immediately, with a warning. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Node's timers may fire up to this much too early. Entries this close together expire at once.
 * Milliseconds.
 */
const GRAIN_MS = 1

/**
 * A timer this late was delayed by a blocked event loop. What has arrived meanwhile is read first,
 * because it may be just what the deadline waits for. Milliseconds.
 */
const LATE_MS = 20

/**
 * Everything that waits for a point in time, with one timer for the earliest. Nearly all calls end
 * long before their deadline, and an entry here costs a tenth of a timer. Nothing expires too
 * early, and entries with equal times expire in the order in which they were set.
 */
export class Deadlines {
  readonly #waiting = new DeadlineHeap()
  /** Whether the timer keeps the process alive. */
  readonly #ref: boolean
  #stopTimer: (() => void) | undefined
  #timerMoment = Number.POSITIVE_INFINITY
  // Which timers the current timer belongs to, and which the next one will. A test may replace
  // them.
  #timers: unknown
  #arming: unknown
  /**
   * How far timers run ahead of the clock. Always 0, except in a test that mocks `setTimeout()` but
   * not `performance.now()`, as `node:test` does.
   */
  #aheadMs = 0
  /**
   * A neutral async context, because the call that happens to start the timer must not pass its own
   * context to all others.
   */
  readonly #context = new AsyncResource('blossom-stack.deadlines')

  constructor({ ref }: { ref: boolean }) {
    this.#ref = ref
  }

  /** Number of waiting entries. */
  get size(): number {
    return this.#waiting.size
  }

  /** Expires `entry` at `moment`, a time of `now()`. Replaces an earlier setting. */
  set(entry: Expiring, moment: number): void {
    if (entry.deadlineSlot !== NOT_WAITING) this.#waiting.remove(entry)
    const due = moment + this.#aheadMs
    this.#waiting.add(entry, due)
    const timers = timersInUse()
    if (this.#arming === timers || (this.#timers === timers && due >= this.#timerMoment)) return
    // Deferred, because a call that ends within the same turn needs no timer.
    this.#arming = timers
    process.nextTick(arm, this)
  }

  /** Removes `entry`, if it waits. */
  clear(entry: Expiring): void {
    if (entry.deadlineSlot === NOT_WAITING) return
    this.#waiting.remove(entry)
    if (this.#waiting.size === 0) this.#disarm()
  }

  /**
   * Starts the timer for the earliest entry, unless it is running.
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
    // Immediates run after socket events, timers before them.
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
    // As with Node's timers, everything that follows from one time runs before the next time, even
    // if late.
    this.#timerMoment = this.#waiting.earliest()
    if (this.#timerMoment <= this.#reached()) return this.#expireSoon()
    this.#timerMoment = Number.POSITIVE_INFINITY
    this.arm()
  }

  #expireOne(slot: number): void {
    try {
      this.#waiting.expire(slot)
    } catch (error) {
      // An error is uncaught, as in any timer, but the other entries still expire.
      process.nextTick(rethrow, error)
    }
  }

  /** The current time, as the timers see it. */
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

/** Deadlines of calls and layers. */
export const deadlines: Deadlines = new Deadlines({ ref: true })

/** Deadlines that do not keep the process alive. */
export const backgroundDeadlines: Deadlines = new Deadlines({ ref: false })

/**
 * Milliseconds until the context's deadline: negative when it has passed, `Infinity` when there is
 * none.
 */
export function remaining(context: { readonly deadline: number }): number {
  const { deadline } = context
  return deadline === Number.POSITIVE_INFINITY ? deadline : deadline - now()
}
