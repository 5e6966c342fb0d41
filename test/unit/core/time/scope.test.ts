import { afterEach, describe, expect, it, vi } from 'vitest'
import { abortScope, Cancel, Scope, stack } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Scope', () => {
  it('is aborted when its parent is, with the same reason', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    const reason = new Error('outer')
    parent.abort(reason)
    expect(scope.aborted).toBe(true)
    expect(scope.reason).toBe(reason)
  })

  it('is aborted at once when its parent already is', () => {
    const parent = new Cancel()
    parent.abort('early')
    expect(new Scope(parent).reason).toBe('early')
  })

  it('can be aborted without its parent', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    scope.abort('inner')
    expect(parent.aborted).toBe(false)
  })

  it('detaches from its parent when it is disposed of', () => {
    const parent = new Cancel()
    const scope = new Scope(parent)
    scope.dispose()
    expect(parent.watched).toBe(false)
    parent.abort('late')
    expect(scope.aborted).toBe(false)
  })

  it('settles a race as the work does and removes its listener', async () => {
    const scope = new Scope(new Cancel())
    await expect(scope.race(Promise.resolve('answer'))).resolves.toBe('answer')
    const error = new Error('work')
    expect(await failure(scope.race(Promise.reject(error)))).toBe(error)
    expect(scope.watched).toBe(false)
  })

  it('rejects a race at the abort even when the work continues', async () => {
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
