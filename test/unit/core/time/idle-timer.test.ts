import { afterEach, describe, expect, it, vi } from 'vitest'
import { IdleTimer } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('IdleTimer', () => {
  it('calls back after each period without activity', async () => {
    const beats: number[] = []
    const timer = new IdleTimer(100, () => beats.push(performance.now()))
    const start = performance.now()
    await vi.advanceTimersByTimeAsync(60)
    timer.restart()
    await vi.advanceTimersByTimeAsync(99)
    expect(beats).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(beats).toEqual([start + 160])
    await vi.advanceTimersByTimeAsync(250)
    expect(beats).toEqual([start + 160, start + 260, start + 360])
    timer.stop()
  })

  it('stays silent once it is stopped, even by its own callback', async () => {
    const run = vi.fn(() => timer.stop())
    const timer = new IdleTimer(10, run)
    await vi.advanceTimersByTimeAsync(100)
    expect(run).toHaveBeenCalledTimes(1)
    timer.stop()
  })
})
