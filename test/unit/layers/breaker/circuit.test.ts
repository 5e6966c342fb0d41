import { describe, expect, it, vi } from 'vitest'
import {
  type BreakerState,
  Circuit,
  type CircuitOptions,
  type Permit,
} from '../../../../src/layers/breaker/circuit.js'
import { closedAtEnd } from '../../../support/closed-at-end.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()
const kept = closedAtEnd()

function circuit(options: Partial<CircuitOptions> = {}) {
  const changes: BreakerState[] = []
  const one = new Circuit({
    failureRate: 0.5,
    minimumCalls: 4,
    windowMs: 1_000,
    trials: 1,
    slowRate: Number.POSITIVE_INFINITY,
    resetMs: () => 500,
    onStateChange: (state) => changes.push(state),
    ...options,
  })
  kept(one)
  const permit = (): Permit => {
    const entered = one.enter()
    if (typeof entered === 'number') throw new Error(`Refused for ${entered} ms.`)
    return entered
  }
  const run = (verdict: 'success' | 'failure' | undefined, times = 1) => {
    for (let i = 0; i < times; i++) one.settle(permit(), verdict)
  }
  const open = () => {
    run('failure', options.minimumCalls ?? 4)
    expect(one.state).toBe('open')
  }
  return { one, changes, permit, run, open }
}

describe('Circuit', () => {
  it('is closed at first and lets everything through', () => {
    const { one, permit } = circuit()
    expect(one.state).toBe('closed')
    for (let i = 0; i < 100; i++) expect(permit().trial).toBe(false)
  })

  it('decides before settle() returns, so that the very next call is refused', () => {
    const { one, run } = circuit()
    run('failure', 3)
    expect(one.state).toBe('closed')
    run('failure')
    expect(one.state).toBe('open')
    expect(one.enter()).toBe(500)
  })

  it('opens at exactly its failure rate', () => {
    const { one, run } = circuit()
    run('success', 2)
    run('failure', 2)
    expect(one.state).toBe('open')
  })

  it.each([
    [0.3, 10, 3],
    [0.07, 100, 7],
    [0.29, 100, 29],
    [1, 5, 5],
    [1 / 3, 9, 3],
    [0.001, 1_000, 1],
  ])(
    'at a rate of %d, and with %d calls, opens on failure number %d and not before',
    (failureRate, minimumCalls, failures) => {
      const { one, run } = circuit({ failureRate, minimumCalls })
      run('success', minimumCalls - failures)
      run('failure', failures - 1)
      expect(one.state).toBe('closed')
      run('failure')
      expect(one.state).toBe('open')
    },
  )

  it('stays closed below its failure rate', () => {
    const { one, run } = circuit()
    run('success', 3)
    run('failure', 2)
    expect(one.state).toBe('closed')
  })

  it('stays closed below its minimum of calls, however many fail', () => {
    const { one, run } = circuit({ minimumCalls: 10 })
    run('failure', 9)
    expect(one.state).toBe('closed')
  })

  it('opens on a success that completes the minimum', () => {
    const { one, run } = circuit()
    run('failure', 3)
    run('success')
    expect(one.state).toBe('open')
  })

  it('opens at the first failure when the minimum is 1', () => {
    const { one, run } = circuit({ minimumCalls: 1 })
    run('failure')
    expect(one.state).toBe('open')
  })

  it('does not count calls without a verdict', () => {
    const { one, run, permit } = circuit()
    for (let i = 0; i < 50; i++) permit()
    run(undefined, 50)
    run('failure', 3)
    expect(one.state).toBe('closed')
    run('failure')
    expect(one.state).toBe('open')
  })

  it('forgets what has left the window', () => {
    const { one, run } = circuit()
    run('failure', 3)
    vi.advanceTimersByTime(1_000)
    run('failure', 3)
    expect(one.state).toBe('closed')
    run('failure')
    expect(one.state).toBe('open')
  })

  it('does not open on a success when the failures have left the window', () => {
    const { one, run } = circuit()
    run('failure', 3)
    vi.advanceTimersByTime(1_000)
    run('success', 10)
    expect(one.state).toBe('closed')
  })

  it('uses a clock that nobody can set', () => {
    const { one, open } = circuit()
    open()
    vi.setSystemTime(Date.now() + 24 * 3_600_000)
    expect(one.enter()).toBe(500)
    vi.setSystemTime(0)
    vi.advanceTimersByTime(500)
    expect(one.state).toBe('half-open')
  })

  it('says how long it stays open, up to the moment of the trial', () => {
    const { one, open, permit } = circuit()
    open()
    vi.advanceTimersByTime(200)
    expect(one.enter()).toBe(300)
    vi.advanceTimersByTime(299)
    expect(one.enter()).toBe(1)
    vi.advanceTimersByTime(1)
    expect(permit().trial).toBe(true)
  })

  it('allows one trial when it is half-open, and tells other calls when the next one is due', () => {
    const { one, open, permit } = circuit()
    open()
    vi.advanceTimersByTime(500)
    permit()
    for (let i = 0; i < 50; i++) expect(one.enter()).toBe(500)
    vi.advanceTimersByTime(100)
    expect(one.enter()).toBe(400)
  })

  it('closes when a trial succeeds', () => {
    const { one, open, run, changes } = circuit()
    open()
    vi.advanceTimersByTime(500)
    run('success')
    expect(one.state).toBe('closed')
    expect(changes).toEqual(['open', 'half-open', 'closed'])
  })

  it('opens again for the whole time when a trial fails', () => {
    const { one, open, run, changes } = circuit()
    open()
    vi.advanceTimersByTime(500)
    run('failure')
    expect(one.enter()).toBe(500)
    expect(changes).toEqual(['open', 'half-open', 'open'])
  })

  it('gives the permit back when a trial ends without a verdict', () => {
    const { one, open, run, permit } = circuit()
    open()
    vi.advanceTimersByTime(500)
    run(undefined)
    expect(one.state).toBe('half-open')
    expect(permit().trial).toBe(true)
  })

  it('gives the permit back when a trial never ends, and ignores its later verdict', () => {
    const { one, open, permit } = circuit()
    open()
    vi.advanceTimersByTime(500)
    const lost = permit()
    vi.advanceTimersByTime(499)
    expect(one.enter()).toBe(1)
    vi.advanceTimersByTime(1)
    const second = permit()
    expect(second.trial).toBe(true)
    one.settle(lost, 'success')
    expect(one.state).toBe('half-open')
    one.settle(lost, 'failure')
    expect(one.state).toBe('half-open')
    expect(typeof one.enter()).toBe('number')
    one.settle(second, 'success')
    expect(one.state).toBe('closed')
  })

  it('accepts the verdict of a slow trial while no other has begun', () => {
    const { one, open, permit } = circuit()
    open()
    vi.advanceTimersByTime(500)
    const slow = permit()
    vi.advanceTimersByTime(10_000)
    one.settle(slow, 'success')
    expect(one.state).toBe('closed')
  })

  it.each(['success', 'failure'] as const)(
    'ignores a late %s of a call that began before the opening',
    (verdict) => {
      const { one, permit, run } = circuit()
      const late = [permit(), permit(), permit()]
      run('failure', 4)
      one.settle(late[0]!, verdict)
      expect(one.state).toBe('open')
      vi.advanceTimersByTime(500)
      one.settle(late[1]!, verdict)
      expect(one.state).toBe('half-open')
      run('success')
      one.settle(late[2]!, verdict)
      expect(one.state).toBe('closed')
      run('failure', 3)
      expect(one.state).toBe('closed')
    },
  )

  it('begins a new window when it closes: one failure does not open it again', () => {
    const { one, open, run } = circuit()
    open()
    vi.advanceTimersByTime(500)
    run('success')
    run('failure', 3)
    expect(one.state).toBe('closed')
    run('failure')
    expect(one.state).toBe('open')
  })

  it('counts only one verdict per trial', () => {
    const { one, open, permit } = circuit()
    open()
    vi.advanceTimersByTime(500)
    const trial = permit()
    one.settle(trial, 'success')
    one.settle(trial, 'failure')
    expect(one.state).toBe('closed')
  })

  it('sets no timer that keeps the process alive', async () => {
    vi.useRealTimers()
    const timeouts = vi.spyOn(globalThis, 'setTimeout')
    const { open } = circuit()
    open()
    await new Promise((resolve) => setImmediate(resolve))
    const handles = timeouts.mock.results.map(({ value }) => value as NodeJS.Timeout)
    expect(handles.map((handle) => handle.hasRef())).toEqual([false])
  })

  it('sets a timer only to report that it is half-open, and clears it on close()', async () => {
    const { one, open } = circuit()
    await tick()
    expect(vi.getTimerCount()).toBe(0)
    open()
    await tick()
    expect(vi.getTimerCount()).toBe(1)
    one.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('reports that it is half-open when the time has come, even if nobody calls', async () => {
    const { open, changes } = circuit()
    open()
    await tick(499)
    expect(changes).toEqual(['open'])
    await tick(1)
    expect(changes).toEqual(['open', 'half-open'])
  })

  it('lets the trial through when a blocked event loop delays the timer, and reports half-open once', async () => {
    const { one, open, permit, changes } = circuit()
    open()
    await tick()
    // No timer has run yet.
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 501)
    expect(one.state).toBe('half-open')
    expect(permit().trial).toBe(true)
    vi.restoreAllMocks()
    await tick(1_000)
    expect(changes).toEqual(['open', 'half-open'])
  })

  it('counts nothing older than its window after a time in which no timer ran', () => {
    const { one, run } = circuit({ minimumCalls: 10 })
    run('failure', 9)
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 5_000)
    run('failure')
    expect(one.state).toBe('closed')
    run('failure', 8)
    expect(one.state).toBe('closed')
    run('failure')
    expect(one.state).toBe('open')
    vi.restoreAllMocks()
  })

  it.each(['success', 'failure', undefined] as const)(
    'sets no timer when a trial ends after close() with the verdict %s',
    (verdict) => {
      const { one, open, permit, changes } = circuit()
      open()
      vi.advanceTimersByTime(500)
      const trial = permit()
      one.close()
      one.settle(trial, verdict)
      expect(vi.getTimerCount()).toBe(0)
      expect(changes).toEqual(['open', 'half-open'])
    },
  )
})
