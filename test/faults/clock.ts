import { expect, vi } from 'vitest'
import { turn } from '../support/watch.js'
import type { Outcome, Scene } from './scene.js'

/** Far below every limit of the scene's layers. Milliseconds. */
const LEAP_MS = 250
/** How long the machine itself may take. Milliseconds. */
const PATIENCE_MS = 10_000

/**
 * Makes the clock the test's; sockets stay real. undici keeps one timer for all of a process, so
 * the clock must not change in between.
 */
export const takeClock = (): unknown =>
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
  })

/**
 * Lets time pass until the work is done: in leaps while upstream has done to every attempt all it
 * will do, and otherwise just enough for what waits a moment. So a limit passes only when nothing
 * but time can happen, however slow the machine.
 */
export async function passTime<T>(scene: Scene, work: Promise<T>, delivered?: string): Promise<T> {
  let done = false
  const settle = () => {
    done = true
  }
  work.then(settle, settle)
  const since = process.hrtime.bigint()
  while (!done) {
    for (let i = 0; i < 3; i++) await turn()
    const idle = scene.isIdle && (delivered === undefined || scene.delivered === delivered)
    if (!scene.still) await vi.advanceTimersByTimeAsync(idle ? LEAP_MS : 1)
    if (Number(process.hrtime.bigint() - since) / 1e6 > PATIENCE_MS)
      throw new Error('Time passed, and nothing came of it.')
  }
  return work
}

/** A call that took so many seconds, within one. */
export const waitedFor =
  (seconds: number) =>
  ({ began, settled }: Pick<Outcome, 'began' | 'settled'>) => {
    expect(settled - began).toBeGreaterThanOrEqual(seconds * 1_000 - 1_000)
    expect(settled - began).toBeLessThanOrEqual(seconds * 1_000 + 1_000)
  }
