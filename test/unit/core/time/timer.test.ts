import { afterEach, describe, expect, it, vi } from 'vitest'
import { Timer } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Timer', () => {
  const DAY = 24 * 3_600_000

  it('runs once, after the given time', async () => {
    const run = vi.fn()
    new Timer(50, run)
    await vi.advanceTimersByTimeAsync(49)
    expect(run).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1000)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('runs soon when the time has already passed', async () => {
    const run = vi.fn()
    new Timer(-5, run)
    await vi.advanceTimersByTimeAsync(1)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('counts beyond 2^31 milliseconds', async () => {
    const run = vi.fn()
    new Timer(60 * DAY, run)
    await vi.advanceTimersByTimeAsync(60 * DAY - 1)
    expect(run).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it.each([0, 30])('leaves no timer when it is stopped after %i days of 60', async (days) => {
    const run = vi.fn()
    const timer = new Timer(60 * DAY, run)
    await vi.advanceTimersByTimeAsync(days * DAY)
    timer.stop()
    expect(vi.getTimerCount()).toBe(0)
    timer.stop()
  })

  it('lets the process exit, even during the later parts of a long wait', async () => {
    const handles: { hasRef(): boolean }[] = []
    const original = globalThis.setTimeout
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms: number) => {
      const handle = original(run, ms)
      handles.push(handle)
      return handle
    }) as typeof setTimeout)
    const timer = new Timer(60 * DAY, () => {}).unref()
    await vi.advanceTimersByTimeAsync(55 * DAY)
    expect(handles.map((handle) => handle.hasRef())).toEqual([false, false, false])
    timer.stop()
  })
})
