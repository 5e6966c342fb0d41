import { backgroundDeadlines, currentClock, deadlines } from '../../../src/core/index.js'
import { type FakeClock, fakeClock } from '../../../src/testing/fake-clock.js'
import { randomFrom } from '../../../src/testing/random.js'

/** 2026-01-01, so that no simulation depends on the day on which it runs. */
const EPOCH = Date.UTC(2026, 0, 1)

/** What code of others may do with the timer that `setTimeout()` gave it. */
class GlobalTimer {
  readonly #stop: () => void

  constructor(stop: () => void) {
    this.#stop = stop
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  stop(): void {
    this.#stop()
  }
}

/**
 * `setTimeout()`, `setInterval()`, `Date.now()` and `Math.random()` of the fake clock and of a
 * source of numbers: other libraries know no other clock. Returns the globals for which they stand
 * in.
 */
function replaceGlobals(clock: FakeClock, random: () => number): () => void {
  const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis
  const { now } = Date
  const mathRandom = Math.random
  const start = clock.now()
  const timer = (run: () => void, ms: number) => currentClock().startTimer(run, ms, true)
  const stopTimer = (timer: unknown) => {
    if (timer instanceof GlobalTimer) timer.stop()
  }
  Object.assign(globalThis, {
    setTimeout: (run: (...args: unknown[]) => void, ms = 1, ...args: unknown[]) =>
      new GlobalTimer(timer(() => run(...args), ms)),
    setInterval: (run: () => void, ms = 1) => {
      const next = () => {
        stop = timer(next, ms)
        run()
      }
      let stop = timer(next, ms)
      return new GlobalTimer(() => stop())
    },
    clearTimeout: stopTimer,
    clearInterval: stopTimer,
  })
  Date.now = () => EPOCH + clock.now() - start
  Math.random = random
  return () => {
    Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval })
    Date.now = now
    Math.random = mathRandom
  }
}

/** What a simulation has to do with. */
export interface World {
  readonly clock: FakeClock
  readonly random: () => number
}

/**
 * Runs a simulation on a fake clock, which the peers follow as well. Each run is the same, so
 * callers must have been stopped when it ends: what they leave behind would go on in the next one.
 */
export async function simulated<T>(run: (world: World) => Promise<T>): Promise<T> {
  const clock = fakeClock()
  const random = randomFrom(11)
  const restore = replaceGlobals(clock, random)
  try {
    const result = await run({ clock, random })
    await finish(clock)
    return result
  } finally {
    restore()
    clock.restore()
  }
}

/** Lets everything end that has begun. */
async function finish(clock: FakeClock): Promise<void> {
  for (let minutes = 0; minutes < 60; minutes++) {
    if (deadlines.size + backgroundDeadlines.size === 0) return
    await clock.advance(60_000)
  }
  throw new Error('The simulation has not ended an hour after its callers were stopped.')
}
