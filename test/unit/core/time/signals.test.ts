import { getEventListeners } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import { cancelOf } from '../../../../src/core/index.js'

describe('cancelOf', () => {
  it('is the same for the same signal and gives that signal back', () => {
    const { signal } = new AbortController()
    expect(cancelOf(signal)).toBe(cancelOf(signal))
    expect(cancelOf(signal).signal).toBe(signal)
  })

  it('listens to the signal once, and only while it has listeners itself', () => {
    const { signal } = new AbortController()
    const cancel = cancelOf(signal)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    const removers = Array.from({ length: 50 }, () => cancel.onAbort(() => {}))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    for (const remove of removers) remove()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('follows a signal that cannot be extended', () => {
    const controller = new AbortController()
    const signal = Object.preventExtensions(controller.signal)
    const listener = vi.fn()
    cancelOf(signal).onAbort(listener)
    cancelOf(signal).onAbort(() => {})()
    controller.abort('gone')
    expect(listener).toHaveBeenCalledExactlyOnceWith('gone')
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('passes on exactly the reason and keeps no listener after the abort', () => {
    const controller = new AbortController()
    const listener = vi.fn()
    cancelOf(controller.signal).onAbort(listener)
    const reason = { any: 'value' }
    controller.abort(reason)
    expect(listener.mock.calls[0]?.[0]).toBe(reason)
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  })

  it('is aborted for a signal that is already aborted, or was aborted while nobody listened', () => {
    expect(cancelOf(AbortSignal.abort('before')).reason).toBe('before')
    const controller = new AbortController()
    cancelOf(controller.signal)
    controller.abort('between')
    expect(cancelOf(controller.signal).aborted).toBe(true)
    expect(cancelOf(controller.signal).reason).toBe('between')
  })

  it('calls a listener added from within another abort listener of the signal', () => {
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
