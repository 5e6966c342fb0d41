import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  abortScope,
  Cancel,
  cancelOf,
  remaining,
  Scope,
  sleep,
  stack,
  Timer,
} from '../../../../src/core/index.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('Cancel', () => {
  it('tells its listeners at once, in the order in which they came', () => {
    const cancel = new Cancel()
    const log: unknown[] = []
    for (const name of ['a', 'b', 'c']) cancel.onAbort((reason) => log.push([name, reason]))
    cancel.abort('enough')
    expect(log).toEqual([
      ['a', 'enough'],
      ['b', 'enough'],
      ['c', 'enough'],
    ])
  })

  it('aborts once and keeps the first reason', () => {
    const cancel = new Cancel()
    const listener = vi.fn()
    cancel.onAbort(listener)
    cancel.abort('first')
    cancel.abort('second')
    expect(listener).toHaveBeenCalledExactlyOnceWith('first')
    expect(cancel.reason).toBe('first')
  })

  it('tells a late listener at once', () => {
    const cancel = new Cancel()
    cancel.abort('gone')
    const listener = vi.fn()
    cancel.onAbort(listener)
    expect(listener).toHaveBeenCalledExactlyOnceWith('gone')
  })

  it('forgets removed listeners, also those removed by another while it tells them', () => {
    const cancel = new Cancel()
    const removed = vi.fn()
    cancel.onAbort(removed)()
    cancel.onAbort(() => remove())
    const remove = cancel.onAbort(removed)
    cancel.abort('x')
    expect(removed).not.toHaveBeenCalled()
    expect(cancel.watched).toBe(false)
  })

  it('tells the others although a listener throws, and warns', () => {
    const warnings = catchWarnings()
    const cancel = new Cancel()
    const later = vi.fn()
    cancel.onAbort(() => {
      throw named('ListenerFailure')
    })
    cancel.onAbort(() => {
      throw named('ListenerFailure2')
    })
    cancel.onAbort(later)
    expect(() => cancel.abort('x')).not.toThrow()
    expect(later).toHaveBeenCalledExactlyOnceWith('x')
    expect(warnings).toHaveLength(2)
    expect(warnings[0]).toContain('ListenerFailure')
  })

  it('keeps the order of its listeners when some have left', () => {
    const cancel = new Cancel()
    const log: string[] = []
    const leave = ['a', 'b', 'c', 'd'].map((name) => cancel.onAbort(() => log.push(name)))
    leave[0]?.()
    leave[2]?.()
    cancel.onAbort(() => log.push('e'))
    leave[1]?.()
    cancel.onAbort(() => log.push('f'))
    cancel.abort('x')
    expect(log).toEqual(['d', 'e', 'f'])
  })

  it('knows whether anybody listens', () => {
    const cancel = new Cancel()
    expect(cancel.watched).toBe(false)
    const removeFirst = cancel.onAbort(() => {})
    const removeSecond = cancel.onAbort(() => {})
    removeFirst()
    expect(cancel.watched).toBe(true)
    removeSecond()
    expect(cancel.watched).toBe(false)
  })

  it('throws the very reason when it is aborted', () => {
    const cancel = new Cancel()
    expect(() => cancel.throwIfAborted()).not.toThrow()
    const reason = { not: 'an error' }
    cancel.abort(reason)
    let thrown: unknown
    try {
      cancel.throwIfAborted()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBe(reason)
  })

  it('becomes a standard signal that is the same at each reading', () => {
    const cancel = new Cancel()
    const { signal } = cancel
    expect(cancel.signal).toBe(signal)
    expect(signal.aborted).toBe(false)
    cancel.abort('reason')
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toBe('reason')
  })

  it('becomes an aborted signal when it is first read after the abort', () => {
    const cancel = new Cancel()
    cancel.abort('early')
    expect(cancel.signal.aborted).toBe(true)
    expect(cancel.signal.reason).toBe('early')
  })
})

describe('cancelOf', () => {
  it('is the same for the same signal and hands that signal on', () => {
    const { signal } = new AbortController()
    expect(cancelOf(signal)).toBe(cancelOf(signal))
    expect(cancelOf(signal).signal).toBe(signal)
  })

  it('listens once to the signal, and only while somebody listens to it', () => {
    const { signal } = new AbortController()
    const cancel = cancelOf(signal)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    const removers = Array.from({ length: 50 }, () => cancel.onAbort(() => {}))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    for (const remove of removers) remove()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('follows a signal that can carry nothing more', () => {
    const controller = new AbortController()
    const signal = Object.preventExtensions(controller.signal)
    const listener = vi.fn()
    cancelOf(signal).onAbort(listener)
    cancelOf(signal).onAbort(() => {})()
    controller.abort('gone')
    expect(listener).toHaveBeenCalledExactlyOnceWith('gone')
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('passes the very reason on and keeps no listener after the abort', () => {
    const controller = new AbortController()
    const listener = vi.fn()
    cancelOf(controller.signal).onAbort(listener)
    const reason = { any: 'value' }
    controller.abort(reason)
    expect(listener.mock.calls[0]?.[0]).toBe(reason)
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  })

  it('is aborted for a signal that is aborted already, or was while nobody listened', () => {
    expect(cancelOf(AbortSignal.abort('before')).reason).toBe('before')
    const controller = new AbortController()
    cancelOf(controller.signal)
    controller.abort('between')
    expect(cancelOf(controller.signal).aborted).toBe(true)
    expect(cancelOf(controller.signal).reason).toBe('between')
  })

  it('tells a listener that is added from within another abort listener of the signal', () => {
    const controller = new AbortController()
    const cancel = cancelOf(controller.signal)
    const late = vi.fn()
    controller.signal.addEventListener('abort', () => cancel.onAbort(late))
    const early = vi.fn()
    cancel.onAbort(early)
    controller.abort('now')
    expect(late).toHaveBeenCalledExactlyOnceWith('now')
    expect(early).toHaveBeenCalledExactlyOnceWith('now')
  })
})

describe('Scope', () => {
  it('is aborted with its parent, with the same reason', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    const reason = new Error('outer')
    parent.abort(reason)
    expect(scope.aborted).toBe(true)
    expect(scope.reason).toBe(reason)
  })

  it('is aborted at once below an aborted parent', () => {
    const parent = new Cancel()
    parent.abort('early')
    expect(new Scope(parent).reason).toBe('early')
  })

  it('is aborted alone', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    scope.abort('inner')
    expect(parent.aborted).toBe(false)
  })

  it('leaves its parent when it is disposed of', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    scope.dispose()
    expect(parent.watched).toBe(false)
    parent.abort('late')
    expect(scope.aborted).toBe(false)
  })

  it('settles a race as the work does and takes its listener away', async () => {
    const scope = new Scope(new Cancel())
    await expect(scope.race(Promise.resolve('answer'))).resolves.toBe('answer')
    const error = new Error('work')
    expect(await failure(scope.race(Promise.reject(error)))).toBe(error)
    expect(scope.watched).toBe(false)
  })

  it('rejects a race at the abort although the work goes on', async () => {
    const scope = new Scope(new Cancel())
    const work = gate()
    const race = scope.race(work.promise)
    scope.abort('cut')
    expect(await failure(race)).toBe('cut')
    work.fail(new Error('late, and nobody hears of it'))
    await vi.advanceTimersByTimeAsync(0)
  })

  it('rejects a race begun after the abort', async () => {
    const scope = new Scope(new Cancel())
    scope.abort('before')
    expect(await failure(scope.race(never()))).toBe('before')
    expect(await failure(scope.race(Promise.reject(new Error('unheard'))))).toBe('before')
  })
})

describe('abortScope', () => {
  it('opens a scope below the context', async () => {
    const probe = spy()
    const call = watch(stack(() => never(), probe)('x', { timeoutMs: 100 }))
    const scope = abortScope(probe.context)
    await vi.advanceTimersByTimeAsync(100)
    expect(scope.reason).toBe(call.error)
  })
})

describe('Timer', () => {
  const DAY = 24 * 3_600_000

  it('runs once, after its time', async () => {
    const run = vi.fn()
    new Timer(50, run)
    await vi.advanceTimersByTimeAsync(49)
    expect(run).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1000)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('runs soon for a time that has passed', async () => {
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

  it.each([0, 30])('leaves nothing when it is stopped after %i days of 60', async (days) => {
    const run = vi.fn()
    const timer = new Timer(60 * DAY, run)
    await vi.advanceTimersByTimeAsync(days * DAY)
    timer.stop()
    expect(vi.getTimerCount()).toBe(0)
    timer.stop()
  })

  it('lets the process end, in its later legs too', async () => {
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

describe('sleep', () => {
  it('waits its time', async () => {
    const slept = watch(sleep(100))
    await vi.advanceTimersByTimeAsync(99)
    expect(slept.state).toBe('pending')
    await vi.advanceTimersByTimeAsync(1)
    expect(slept.state).toBe('resolved')
  })

  it('ends with the reason of whichever cancellation comes first and frees timer and listeners', async () => {
    const a = new Cancel()
    const b = new Cancel()
    const slept = sleep(100, a, b)
    b.abort('second')
    expect(vi.getTimerCount()).toBe(0)
    expect([a.watched, b.watched]).toEqual([false, false])
    expect(await failure(slept)).toBe('second')
  })

  it('frees the listeners when it has slept', async () => {
    const cancel = new Cancel()
    const slept = sleep(5, cancel)
    await vi.advanceTimersByTimeAsync(5)
    await slept
    expect(cancel.watched).toBe(false)
  })

  it('rejects at once for an aborted cancellation and leaves nothing on the others', async () => {
    const before = new Cancel()
    const aborted = new Cancel()
    aborted.abort('early')
    const after = new Cancel()
    expect(await failure(sleep(100, before, aborted, after))).toBe('early')
    expect([before.watched, after.watched]).toEqual([false, false])
  })
})

describe('remaining', () => {
  it('tells the milliseconds until the deadline, and Infinity without one', async () => {
    const probe = spy()
    const ask = stack(async () => 'x', probe)
    await ask()
    expect(remaining(probe.context)).toBe(Number.POSITIVE_INFINITY)
    await ask(undefined, { timeoutMs: 80 })
    expect(remaining(probe.context)).toBe(80)
    await vi.advanceTimersByTimeAsync(100)
    expect(remaining(probe.context)).toBe(-20)
  })
})
