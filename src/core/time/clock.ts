import { processWide } from '../process-wide.js'

/** Where the time comes from. A test can put another clock in the place of the system's. */
export interface Clock {
  /** The monotonic clock, in milliseconds. */
  now(): number
  /** Milliseconds since the epoch. */
  wallTime(): number
  /**
   * Runs `run` once after `ms` milliseconds, and returns what stops it. With `ref` false the timer
   * does not keep the process alive.
   */
  startTimer(run: () => void, ms: number, ref: boolean): () => void
  /** Runs `run` once behind what the sockets have brought, and returns what stops it. */
  runSoon(run: () => void): () => void
}

// The globals are looked up at each use, as vitest, Jest and `node:test` replace them.
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

/** All copies of the library must agree on the time. */
const set = processWide<{ clock: Clock | undefined }>('clock', () => ({ clock: undefined }))

/** The monotonic clock, in milliseconds: what durations and deadlines go by. */
export function now(): number {
  return set.clock === undefined ? performance.now() : set.clock.now()
}

/** Milliseconds since the epoch. It may jump, so only what other processes read goes by it. */
export function wallTime(): number {
  return set.clock === undefined ? Date.now() : set.clock.wallTime()
}

/** The clock that is in use now. */
export function currentClock(): Clock {
  return set.clock ?? systemClock
}

/** Differs whenever the timers do: because a clock was set, or a test has mocked `setTimeout()`. */
export function timersInUse(): unknown {
  return set.clock ?? setTimeout
}

/**
 * Sets the clock of the process; `undefined` brings the system's back.
 * @internal
 */
export function setClock(clock: Clock | undefined): void {
  set.clock = clock
}
