import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, sleep } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('sleep', () => {
  it('waits for the given time', async () => {
    const slept = watch(sleep(100))
    await vi.advanceTimersByTimeAsync(99)
    expect(slept.state).toBe('pending')
    await vi.advanceTimersByTimeAsync(1)
    expect(slept.state).toBe('resolved')
  })

  it('rejects with the reason of the first cancellation and frees the timer and listeners', async () => {
    const a = new Cancel()
    const b = new Cancel()
    const slept = sleep(100, a, b)
    b.abort('second')
    expect(vi.getTimerCount()).toBe(0)
    expect([a.watched, b.watched]).toEqual([false, false])
    expect(await failure(slept)).toBe('second')
  })

  it('frees the listeners when the time is over', async () => {
    const cancel = new Cancel()
    const slept = sleep(5, cancel)
    await vi.advanceTimersByTimeAsync(5)
    await slept
    expect(cancel.watched).toBe(false)
  })

  it('rejects at once for an aborted cancellation and leaves no listeners on the others', async () => {
    const before = new Cancel()
    const aborted = new Cancel()
    aborted.abort('early')
    const after = new Cancel()
    expect(await failure(sleep(100, before, aborted, after))).toBe('early')
    expect([before.watched, after.watched]).toEqual([false, false])
  })
})
