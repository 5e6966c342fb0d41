import { describe, expect, it } from 'vitest'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { tenants } from '../../../../support/tenants.js'
import { upstreamError } from '../../../../support/upstream.js'
import { failure, states, type Watched } from '../../../../support/watch.js'

useFakeTimers()

describe('a full room', () => {
  it('takes in a tenant below its share, in place of the latest of the one with most', async () => {
    const { call, calls, endAll, started, stats } = tenants({ maxWaiting: 4 })
    const a = calls('a', 5)
    const b = [call('b0'), call('b1')]
    await tick()
    expect(states(a)).toBe('pending pending pending rejected rejected')
    expect(a[4]?.error).toMatchObject({
      code: 'QUEUE_FULL',
      status: 503,
      limit: 4,
      refused: true,
      layer: 'queue',
    })
    const full = call('b2')
    await tick()
    expect(full.error).toMatchObject({ code: 'QUEUE_FULL', limit: 4 })
    expect(stats()).toMatchObject({ waiting: 4, rejected: 3 })
    await endAll()
    expect(started).toEqual(['a0', 'b0', 'a1', 'b1', 'a2'])
    expect(b.every(({ state }) => state === 'resolved')).toBe(true)
  })

  it('refuses a tenant that has its share', async () => {
    const { call, calls, endAll } = tenants({ maxWaiting: 4 })
    calls('a', 3)
    calls('b', 2)
    const refused = call('a9')
    await tick()
    expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
    await endAll()
  })

  it('has shares by weight', async () => {
    const { call, calls, endAll, stats } = tenants({ maxWaiting: 8, weights: { gold: 3 } })
    const plain = calls('plain', 9)
    const gold = calls('gold', 8)
    await tick()
    const waiting = (all: Watched<string>[]) =>
      all.filter(({ state }) => state === 'pending').length
    // One of the plain ones runs.
    expect([waiting(plain) - 1, waiting(gold)]).toEqual([2, 6])
    expect(call('plain99').state).toBe('pending')
    await tick()
    expect(stats().waiting).toBe(8)
    await endAll()
  })

  it('gives up no call of a larger priority, and the one with the smallest first', async () => {
    const { call, endAll, started } = tenants({ maxWaiting: 3 })
    call('a0')
    const urgent = call('a1', { priority: 5 })
    const low = call('a2', { priority: -5 })
    const normal = call('a3')
    call('b0')
    await tick()
    expect([urgent.state, low.state, normal.state]).toEqual(['pending', 'rejected', 'pending'])
    await endAll()
    expect(started).toEqual(['a0', 'a1', 'b0', 'a3'])
    const busy = tenants({ maxWaiting: 2 })
    busy.calls('a', 3, { priority: 5 })
    const refused = busy.call('b0')
    await tick()
    expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
    await busy.endAll()
  })

  it('gives up nobody for a call that is refused for another reason', async () => {
    const { ask, calls, fail, stats } = tenants({ maxWaiting: 2 })
    calls('a', 1)
    await fail(upstreamError('RATE_LIMITED', { retryAfter: 1_000 }))
    calls('a', 2)
    expect(await failure(ask('b0', { tenant: 'b', timeoutMs: 50 }))).toMatchObject({
      code: 'RATE_LIMITED',
    })
    expect(stats()).toMatchObject({ waiting: 2, rejected: 1 })
    const closed = ask.close({ timeoutMs: 0 })
    await tick(1_000)
    await closed
  })

  it('stays as it is with fairness: false, and when nobody names a tenant', async () => {
    for (const [options, name] of [
      [{ fairness: false }, 'b0'],
      [{}, '9'],
    ] as const) {
      const { call, calls, endAll } = tenants({ maxWaiting: 2, ...options })
      calls(name === '9' ? '' : 'a', 3)
      const refused = call(name)
      await tick()
      expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
      await endAll()
    }
  })
})
