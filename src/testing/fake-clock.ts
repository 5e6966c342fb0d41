import {
  type Clock,
  ConfigError,
  currentClock,
  DeadlineHeap,
  type Expiring,
  NOT_WAITING,
  now,
  setClock,
  wallTime,
} from '../core/index.js'

/** A clock that stands still until a test moves it. */
export interface FakeClock {
  /**
   * The current time in milliseconds, as `performance.now()` counts. Deadlines of calls refer to
   * it.
   */
  now(): number
  /**
   * Moves the clock forward by `ms`, timer by timer: everything that follows from one timer happens
   * before the next. Resolves when all of it has happened.
   */
  advance(ms: number): Promise<void>
  /** Restores the system's clock. Anything still waiting on the fake clock never continues. */
  restore(): void
}

/**
 * Replaces the system's clock with one that stands still, for this whole library in this process,
 * until `restore()`. It works with any test runner and needs no mocked timers. Anything outside
 * this library, such as a socket or your own `setTimeout()`, still follows real time.
 *
 * @throws ConfigError (`CONFIG`) when a fake clock is already in use
 * @example
 * const clock = fakeClock()
 * const answer = ask('Hello') // waits in rateLimit({ requests: { limit: 1, intervalMs: 1_000 } })
 * await clock.advance(1_000)
 * clock.restore()
 */
export function fakeClock(): FakeClock {
  if (IS_FAKE in currentClock())
    throw new ConfigError('fakeClock: a fake clock is already in use. Call its restore() first.')
  const clock = new StandingClock()
  setClock(clock)
  return {
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    restore: () => clock.stop(),
  }
}

/** Marks a fake clock, for other copies of the library. */
const IS_FAKE = Symbol.for('blossom-stack.fake-clock')

// Saved before anybody can mock it, because a turn of the event loop does not depend on the clock.
const nextTurn = globalThis.setImmediate
const turn = () => new Promise<void>((resolve) => nextTurn(resolve))

class StandingClock implements Clock {
  readonly [IS_FAKE] = true
  // Whole milliseconds, so that sums are exact.
  #now = Math.ceil(now())
  readonly #epoch = wallTime() - this.#now
  readonly #timers = new DeadlineHeap()
  #advanced: Promise<void> = Promise.resolve()
  #isOver = false

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#epoch + this.#now
  }

  startTimer(run: () => void, ms: number): () => void {
    const timer = new FakeTimer(run)
    // At least 1 ms, as with Node's timers. Otherwise a poll would keep the time from advancing.
    this.#timers.add(timer, this.#now + Math.max(1, ms))
    return () => {
      if (timer.deadlineSlot !== NOT_WAITING) this.#timers.remove(timer)
    }
  }

  /** Runs as a timer, because with a fake clock there is no socket to wait for. */
  runSoon(run: () => void): () => void {
    return this.startTimer(run, 0)
  }

  advance(ms: number): Promise<void> {
    if (typeof ms !== 'number' || !(ms >= 0) || ms === Number.POSITIVE_INFINITY)
      throw new ConfigError(
        'fakeClock: advance() takes a finite number of milliseconds of at least 0.',
      )
    if (this.#isOver) throw new ConfigError('fakeClock: this clock was restored. Create a new one.')
    const passed = this.#advanced.then(() => this.#pass(ms))
    this.#advanced = passed.catch(() => {})
    return passed
  }

  async #pass(ms: number): Promise<void> {
    const end = this.#now + ms
    // Lets calls that were just started set their timers first.
    await turn()
    while (this.#timers.earliest() <= end) {
      this.#now = this.#timers.earliest()
      for (const slot of this.#timers.takeUntil(this.#now)) {
        this.#timers.expire(slot)
        await turn()
      }
    }
    this.#now = end
  }

  stop(): void {
    this.#isOver = true
    if (currentClock() === this) setClock(undefined)
  }
}

class FakeTimer implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly expire: () => void

  constructor(run: () => void) {
    this.expire = run
  }
}
