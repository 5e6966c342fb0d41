import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, stack } from '../../../../src/core/index.js'
import { never } from '../../../support/gate.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { watch } from '../../../support/watch.js'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('Cancel', () => {
  it('calls its listeners at once, in the order they were added', () => {
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

  it('calls a late listener at once', () => {
    const cancel = new Cancel()
    cancel.abort('gone')
    const listener = vi.fn()
    cancel.onAbort(listener)
    expect(listener).toHaveBeenCalledExactlyOnceWith('gone')
  })

  it('skips removed listeners, even those removed by another listener during the abort', () => {
    const cancel = new Cancel()
    const removed = vi.fn()
    cancel.onAbort(removed)()
    cancel.onAbort(() => remove())
    const remove = cancel.onAbort(removed)
    cancel.abort('x')
    expect(removed).not.toHaveBeenCalled()
    expect(cancel.watched).toBe(false)
  })

  it('calls the other listeners when one throws, and warns', () => {
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

  it('keeps the order of its listeners after some are removed', () => {
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

  it('throws exactly its reason when it is aborted', () => {
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

  it('gives the same standard signal each time it is read', () => {
    const cancel = new Cancel()
    const { signal } = cancel
    expect(cancel.signal).toBe(signal)
    expect(signal.aborted).toBe(false)
    cancel.abort('reason')
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toBe('reason')
  })

  it('gives an aborted signal when it is first read after the abort', () => {
    const cancel = new Cancel()
    cancel.abort('early')
    expect(cancel.signal.aborted).toBe(true)
    expect(cancel.signal.reason).toBe('early')
  })

  it('calls listeners in the async context they were added in, and those of a signal in the one it was read in', () => {
    const store = new AsyncLocalStorage<string>()
    const cancel = new Cancel()
    const seen: unknown[] = []
    const look = () => seen.push(store.getStore())
    store.run('reader', () => cancel.signal).addEventListener('abort', look)
    store.run('listener', () => cancel.onAbort(look))
    store.run('stranger', () => cancel.abort('enough'))
    expect(seen).toEqual(['reader', 'listener'])
  })

  it('keeps the async context of each caller when several time limits pass at once', async () => {
    vi.useFakeTimers()
    const store = new AsyncLocalStorage<number>()
    const seen: unknown[] = []
    const ask = stack((_: number, { signal }) => {
      signal.addEventListener('abort', () => seen.push(store.getStore()))
      return never()
    })
    const calls = [1, 2, 3].map((n) => store.run(n, () => watch(ask(n, { timeoutMs: 50 }))))
    await vi.advanceTimersByTimeAsync(50)
    expect(calls.map(({ state }) => state)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(seen).toEqual([1, 2, 3])
  })
})
