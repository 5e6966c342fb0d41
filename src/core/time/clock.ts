import { processWide } from '../process-wide.js'

/** The source of time. A test can replace the system's clock. */
export interface Clock {
  /** The monotonic clock, in milliseconds. */
  now(): number
  /** Milliseconds since the epoch. */
  wallTime(): number
  /**
   * Runs `run` once after `ms` milliseconds. Returns a function that cancels it. With `ref` false
   * the timer does not keep the process alive.
   */
  startTimer(run: () => void, ms: number, ref: boolean): () => void
  /** Runs `run` once, after pending socket events. Returns a function that cancels it. */
  runSoon(run: () => void): () => void
}

// Looks up the globals on each use, because vitest, Jest and `node:test` replace them.
const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  startTimer(run, ms, ref) {
    const stop = clearTimeout
    const timer = setTimeout(run, ms)
    if (!ref) timer.unref()
    return () => stop(timer)
  },
  runSoon(run) {
    const stop = clearImmediate
    const immediate = setImmediate(run)
    return () => stop(immediate)
  },
}

/** Shared, because all copies of the library must agree on the time. */
const set = processWide<{ clock: Clock | undefined }>('clock', () => ({ clock: undefined }))

/** The monotonic clock, in milliseconds, used for durations and deadlines. */
export function now(): number {
  return set.clock === undefined ? performance.now() : set.clock.now()
}

/** Milliseconds since the epoch. It may jump, so use it only for what other processes read. */
export function wallTime(): number {
  return set.clock === undefined ? Date.now() : set.clock.wallTime()
}

/** The clock in use. */
export function currentClock(): Clock {
  return set.clock ?? systemClock
}

/** Identifies the current timers. Changes when a clock is set or a test mocks `setTimeout()`. */
export function timersInUse(): unknown {
  return set.clock ?? setTimeout
}

/**
 * Sets the clock of the process; `undefined` restores the system's clock.
 * @internal
 */
export function setClock(clock: Clock | undefined): void {
  set.clock = clock
}
