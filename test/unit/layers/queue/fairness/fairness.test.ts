import { describe, expect, it } from 'vitest'
import { queue } from '../../../../../src/layers/queue/index.js'
import { configError } from '../../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { inOrder, share, tenants } from '../../../../support/tenants.js'
import { watch } from '../../../../support/watch.js'

useFakeTimers()

describe('tenants', () => {
  it('take turns, each in order of arrival, however many calls one of them has waiting', async () => {
    const { calls, endAll, started } = tenants()
    for (const [tenant, count] of Object.entries({ a: 6, b: 2, c: 3 })) calls(tenant, count)
    await endAll()
    expect(started).toEqual(['a0', 'b0', 'c0', 'a1', 'b1', 'c1', 'a2', 'c2', 'a3', 'a4', 'a5'])
  })

  it.each([2, 5, 20])(
    'of whom there are %i let a newcomer start within as many turns, behind 500 calls',
    async (n) => {
      const { call, calls, end, endAll, turns } = tenants({ concurrency: 3 })
      calls('a', 500)
      for (let i = 1; i < n - 1; i++) calls(String.fromCharCode(97 + i), 20)
      await end(37)
      call('z0')
      expect(await turns(n)).toContain('z0')
      await endAll()
    },
  )

  it('have shares by weight', async () => {
    const { calls, end, endAll, started } = tenants({ weights: { gold: 3, half: 0.5 } })
    for (const tenant of ['gold', 'plain', 'half']) calls(tenant, 200)
    await end(180)
    expect(share(started, 'gold') / 181).toBeCloseTo(3 / 4.5, 1)
    expect(share(started, 'plain') / 181).toBeCloseTo(1 / 4.5, 1)
    expect(share(started, 'half') / 181).toBeCloseTo(0.5 / 4.5, 1)
    await endAll()
  })

  it('with nothing to wait for are served as they come', async () => {
    const { calls, endAll, started } = tenants({ concurrency: 10 })
    calls('a', 3)
    calls('b', 2)
    expect(started).toEqual(['a0', 'a1', 'a2', 'b0', 'b1'])
    await endAll()
  })

  it('save up nothing while they are away', async () => {
    const { calls, end, endAll, turns } = tenants()
    calls('b', 1)
    await end(1)
    calls('a', 100)
    await end(50)
    calls('b', 100)
    expect(share(await turns(40), 'b')).toBe(20)
    await endAll()
  })

  it('come back with what they have had, and that counts half after a minute', async () => {
    const { calls, end, endAll, turns } = tenants()
    for (const tenant of ['a', 'b']) calls(tenant, 1)
    await end(2)
    // In a hurry `a` has had 8 calls more than `b`, which waits all the time behind nobody.
    calls('a', 8)
    await end(8)
    await tick(3 * 60_000)
    calls('a', 20)
    calls('b', 20)
    // It was alone then, so nothing is held against it.
    expect(share(await turns(20), 'a')).toBeGreaterThanOrEqual(9)
    await endAll()
  })

  it('go by priority before anything else', async () => {
    const { call, calls, endAll, started } = tenants()
    calls('a', 2)
    call('b0', { priority: -1 })
    call('a9', { priority: 5 })
    call('a8', { priority: 5 })
    call('b9', { priority: 5 })
    call('b1')
    await endAll()
    expect(started).toEqual(['a0', 'a9', 'b9', 'a8', 'b1', 'a1', 'b0'])
  })

  it('are held apart within a priority: what one has had in another does not count', async () => {
    const { calls, end, endAll, turns } = tenants()
    calls('b', 1, { priority: -5 })
    calls('a', 30, { priority: -5 })
    await end(20)
    calls('a', 5, { priority: 1 })
    calls('b', 5, { priority: 1 })
    expect(inOrder(await turns(10))).toBe('ababababab')
    await endAll()
  })

  it('are one tenant together when calls name none', async () => {
    const { calls, endAll, started } = tenants()
    calls('', 4)
    calls('a', 3)
    calls('', 1)
    await endAll()
    expect(started).toEqual(['0', '1', 'a0', '2', 'a1', '3', 'a2', '0'])
  })

  it('leave at once when they are aborted, and cost nobody a turn', async () => {
    const { call, calls, endAll, started, stats } = tenants()
    const caller = new AbortController()
    calls('a', 3)
    call('b0', { signal: caller.signal })
    call('c0', { signal: caller.signal })
    call('c1')
    expect(stats()).toMatchObject({ waiting: 5, tenants: 3 })
    caller.abort('enough')
    expect(stats()).toMatchObject({ waiting: 3, tenants: 2 })
    await endAll()
    expect(started).toEqual(['a0', 'c1', 'a1', 'a2'])
    expect(stats()).toMatchObject({ waiting: 0, tenants: 0, fairnessIndex: 1 })
  })

  it('are served by arrival with fairness: false', async () => {
    const { calls, endAll, started, stats } = tenants({ fairness: false })
    calls('a', 3)
    calls('b', 2)
    expect(stats()).toMatchObject({ tenants: 0, fairnessIndex: 1 })
    await endAll()
    expect(inOrder(started)).toBe('aaabb')
  })

  it('show in stats how evenly they are served', async () => {
    const { calls, end, endAll, stats } = tenants()
    calls('a', 30)
    calls('b', 30)
    await end(20)
    expect(stats()).toMatchObject({ tenants: 2 })
    expect(stats().fairnessIndex).toBeGreaterThan(0.98)
    expect(stats().fairnessIndex).toBeLessThanOrEqual(1)
    await endAll()
  })

  it('may have any name', async () => {
    const weights = JSON.parse('{"__proto__": 3, "constructor": 2}')
    const { ask, endAll, stats } = tenants({ weights })
    const names = ['__proto__', 'constructor', 'toString']
    const answers = names.map((tenant) => watch(ask(tenant, { tenant })))
    expect(stats()).toMatchObject({ running: 1, waiting: 2, tenants: 3 })
    await endAll()
    expect(answers.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'resolved'])
  })

  it('are forgotten when many others have come since', async () => {
    const { ask, call, endAll, stats } = tenants({ concurrency: 10_000, maxWaiting: 10_000 })
    for (let i = 0; i < 5_000; i++) watch(ask('x', { tenant: `tenant ${i}` }))
    expect(stats().tenants).toBe(5_000)
    await endAll()
    call('a0')
    expect(stats().tenants).toBe(1)
    await endAll()
  })

  it('keep turns right after hours, and after a day without a call', async () => {
    const { calls, end, endAll, started } = tenants()
    for (const hours of [0, 1, 8, 9, 24, 300]) {
      calls('a', 10)
      calls('b', 10)
      const before = started.length
      await tick(hours * 3_600_000)
      await end(10)
      expect(share(started.slice(before), 'a'), `after ${hours} h`).toBeGreaterThanOrEqual(4)
      expect(share(started.slice(before), 'a'), `after ${hours} h`).toBeLessThanOrEqual(6)
      await tick(hours * 3_600_000)
      await endAll()
    }
  })
})

describe('deadlines', () => {
  it('of a newcomer are held against the turns before it, not against the line of another', async () => {
    const { call, calls, end, endAll, started, stats } = tenants()
    calls('a', 12)
    for (let i = 0; i < 10; i++) {
      await tick(100)
      await end()
    }
    calls('a', 100)
    call('b0', { timeoutMs: 500 })
    expect(stats().rejected).toBe(0)
    await tick(100)
    await end()
    expect(started.at(-1)).toBe('b0')
    call('a999', { timeoutMs: 5_000 })
    expect(stats().rejected).toBe(1)
    await endAll()
  })

  it('that cannot be met at the head of the line cost the tenant no turn', async () => {
    const { call, calls, end, endAll, started, stats } = tenants()
    for (let i = 0; i < 10; i++) {
      call(`a${i}`)
      await tick(100)
      await end()
    }
    calls('c', 1)
    call('b9', { timeoutMs: 350 })
    calls('b', 2)
    await tick(300)
    const before = started.length
    calls('d', 2)
    await endAll()
    expect(stats().rejected).toBe(1)
    expect(started.slice(before)).toEqual(['d0', 'b0', 'd1', 'b1'])
  })
})

describe('options', () => {
  it.each([
    ['fairness in words', { fairness: 'yes' }, '"fairness"'],
    ['weights that are a list', { weights: [1] }, '"weights"'],
    ['a weight of 0', { weights: { a: 0 } }, '"weights"'],
    ['a weight that is no number', { weights: { a: '3' } }, '"weights"'],
    ['a weight of NaN', { weights: { a: Number.NaN } }, '"weights"'],
  ])('refuses %s', (_, options, words) => {
    expect(() => queue(options as never)).toThrow(configError(words))
  })
})
