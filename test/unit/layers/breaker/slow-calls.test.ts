import { describe, expect, it, vi } from 'vitest'
import { collect, stack } from '../../../../src/core/index.js'
import { type BreakerOptions, breaker } from '../../../../src/layers/breaker/index.js'
import { closedAtEnd } from '../../../support/closed-at-end.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const kept = closedAtEnd()

const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** A stack whose answers take as long as each request says. */
function taking(options: BreakerOptions = {}) {
  const ask = stack(
    async ({ ms, fail }: { ms: number; fail?: boolean }) => {
      await after(ms)
      if (fail) throw upstreamError('SERVER')
      return 'answer'
    },
    breaker({ minimumCalls: 4, windowMs: 10_000, resetMs: 500, slowMs: 100, ...options }),
  )
  kept(ask)
  const run = async (ms: number, times = 1, fail = false) => {
    const calls = Array.from({ length: times }, () => watch(ask({ ms, fail })))
    await tick(ms)
    return calls
  }
  return { ask, run, state: () => ask.stats().breaker.state }
}

describe('slow calls', () => {
  it('open the circuit when their share of the window reaches slowRate', async () => {
    const { ask, run, state } = taking()
    await run(100, 2)
    await run(101)
    expect(state()).toBe('closed')
    await run(101)
    expect(state()).toBe('open')
    expect(ask.stats().breaker).toMatchObject({ successes: 4, failures: 0, slow: 2 })
    expect(await failure(ask({ ms: 0 }))).toMatchObject({ code: 'BREAKER_OPEN' })
  })

  it('do not count without slowMs', async () => {
    const { ask, run, state } = taking({ slowMs: undefined })
    await run(60_000, 10)
    expect(state()).toBe('closed')
    expect(ask.stats().breaker).toMatchObject({ successes: 10, slow: 0 })
  })

  it('have a rate of their own', async () => {
    const { run, state } = taking({ slowRate: 1 })
    await run(101, 3)
    await run(5)
    expect(state()).toBe('closed')
  })

  it('count whether or not they fail', async () => {
    const { ask, run, state } = taking({ failureRate: 1 })
    await run(5, 2)
    await run(200, 1, true)
    await run(200)
    expect(state()).toBe('open')
    expect(ask.stats().breaker).toMatchObject({ successes: 3, failures: 1, slow: 2 })
  })

  it('do not count when they end without a verdict', async () => {
    const ask = stack(
      (_: string, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        ),
      breaker({ minimumCalls: 4, slowMs: 100 }),
    )
    kept(ask)
    const caller = new AbortController()
    const calls = Array.from({ length: 10 }, () => watch(ask('x', { signal: caller.signal })))
    await tick(500)
    caller.abort()
    await tick()
    expect(calls.every((call) => call.state === 'rejected')).toBe(true)
    expect(ask.stats().breaker).toMatchObject({ state: 'closed', slow: 0 })
  })

  it('open the circuit again when a trial is slow', async () => {
    const { run, state } = taking()
    await run(101, 4)
    expect(state()).toBe('open')
    await tick(500)
    await run(101)
    expect(state()).toBe('open')
    await tick(500)
    await run(100)
    expect(state()).toBe('closed')
  })

  it('include streams whose first token is late, but not streams that take long to end', async () => {
    const ask = stack(
      async (ms: number) => {
        await after(ms)
        return numbers(3)
      },
      breaker({ minimumCalls: 1, slowMs: 100, slowRate: 1 }),
    )
    kept(ask)
    const read = async (ms: number) => {
      const call = watch(ask(ms))
      await tick(ms)
      const stream = call.value!
      await stream.next()
      await tick(5_000)
      await collect(stream)
      return ask.stats().breaker
    }
    expect(await read(100)).toMatchObject({ state: 'closed', slow: 0, successes: 1 })
    await tick(20_000)
    expect(await read(101)).toMatchObject({ state: 'open', slow: 1, successes: 2 })
  })

  it('are counted when the function answers without a promise', async () => {
    const ask = stack(
      () => {
        vi.advanceTimersByTime(200)
        return 'answer'
      },
      breaker({ minimumCalls: 1, slowMs: 100 }),
    )
    kept(ask)
    await ask()
    expect(ask.stats().breaker).toMatchObject({ state: 'open', slow: 1 })
  })

  it.each([
    [{ slowRate: 0.5 }, '"slowRate" requires "slowMs"'],
    [{ slowMs: 100, slowRate: 0 }, '"slowRate"'],
    [{ slowMs: 100, slowRate: 50 }, '"slowRate"'],
    [{ slowMs: 0 }, '"slowMs"'],
    [{ trials: 0 }, '"trials"'],
    [{ trials: 1.5 }, '"trials"'],
  ])('refuses the options %j', (options, words) => {
    expect(() => breaker(options)).toThrow(configError(words))
  })
})
