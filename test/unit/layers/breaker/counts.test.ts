import { describe, expect, it, vi } from 'vitest'
import { ClosedError, stack, TimeoutError } from '../../../../src/core/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import {
  around,
  closeBreakers,
  fail,
  held,
  kept,
  SMALL,
  UNTOUCHED,
} from '../../../support/breakers.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { REFUSALS } from '../../../support/refusals.js'
import { down, OWN_FAULTS, upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

describe('breaker', () => {
  describe('what counts', () => {
    it.each(['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'] as const)(
      '%s counts as a failure of upstream',
      async (code) => {
        const { ask, run, state } = around()
        await run(fail(upstreamError(code)), 4)
        expect(state()).toBe('open')
        expect(ask.stats().breaker.failures).toBe(4)
      },
    )

    it.each([...OWN_FAULTS, 'RATE_LIMITED', 'TOO_LARGE'] as const)(
      '%s says nothing about upstream',
      async (code) => {
        const { ask, run, state } = around()
        await run(fail(upstreamError(code)), 50)
        expect(state()).toBe('closed')
        expect(ask.stats().breaker).toMatchObject({ successes: 0, failures: 0 })
        // Nor does it thin out the rate.
        await run(fail(), 4)
        expect(state()).toBe('open')
      },
    )

    it.each([
      ...REFUSALS,
      new ClosedError('cut', { refused: false }),
      new TimeoutError(5, { phase: 'queue' }),
      new TimeoutError(5, { phase: 'read' }),
    ])('$code does not count when it never ran, or nobody read it: $message', async (error) => {
      const { run, state } = around()
      await run(fail(error), 10)
      expect(state()).toBe('closed')
    })

    it.each(['total', 'first-token', 'idle'] as const)(
      'a time-out of phase %s counts',
      async (phase) => {
        const { run, state } = around()
        await run(fail(new TimeoutError(5, { phase })), 4)
        expect(state()).toBe('open')
      },
    )

    it.each([new Error('odd'), new TypeError('fetch failed'), 'a string', undefined])(
      'a foreign failure counts: %s',
      async (error) => {
        const { run, state } = around()
        await run(fail(error), 4)
        expect(state()).toBe('open')
      },
    )

    it("the caller's abort does not count", async () => {
      const { ask, state } = held()
      for (let i = 0; i < 10; i++) {
        const caller = new AbortController()
        const call = watch(ask('x', { signal: caller.signal }))
        caller.abort(new Error('enough'))
        await tick()
        expect(call.state).toBe('rejected')
      }
      expect(ask.stats().breaker).toEqual(UNTOUCHED)
      expect(state()).toBe('closed')
    })

    it("the caller's abort does not count, whatever error the work makes of it", async () => {
      const caller = new AbortController()
      const ask = kept(
        stack(
          (_: string, { signal }) =>
            new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(down())),
            ),
          breaker(SMALL),
        ),
      )
      const calls = Array.from({ length: 10 }, () => watch(ask('x', { signal: caller.signal })))
      caller.abort()
      await tick()
      expect(calls.every((call) => call.state === 'rejected')).toBe(true)
      expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('a time limit further out counts: upstream was too slow for it', async () => {
      const ask = kept(
        stack(
          (_: string, { signal }) =>
            new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(signal.reason)),
            ),
          timeout({ ms: 50 }),
          breaker(SMALL),
        ),
      )
      const calls = Array.from({ length: 4 }, () => watch(ask('x')))
      await tick(50)
      expect(calls[0]!.error).toMatchObject({ code: 'TIMEOUT', phase: 'total' })
      expect(ask.stats().breaker).toMatchObject({ state: 'open', failures: 4 })
    })

    it("a call's own timeoutMs counts as well", async () => {
      const { ask, state } = held()
      for (let i = 0; i < 4; i++) watch(ask('x', { timeoutMs: 50 }))
      await tick(50)
      expect(state()).toBe('open')
    })

    it('a time limit that passes in the queue does not count', async () => {
      const ask = kept(
        stack(
          (_: string) => never(),
          timeout({ ms: 50 }),
          breaker({ ...SMALL, minimumCalls: 1 }),
          queue({ concurrency: 1 }),
        ),
      )
      const first = new AbortController()
      watch(ask('x', { signal: first.signal, timeoutMs: 40 }))
      first.abort()
      const calls = Array.from({ length: 4 }, () => watch(ask('x')))
      await tick(50)
      for (const call of calls)
        expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'queue' })
      expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('counts decides instead of the default rule', async () => {
      const counts = (error: unknown) => (error as { code?: string }).code === 'RATE_LIMITED'
      const { run, state } = around({ counts })
      await run(fail(), 10)
      expect(state()).toBe('closed')
      await run(fail(upstreamError('RATE_LIMITED')), 4)
      expect(state()).toBe('open')
    })

    it("counts is not asked about the caller's abort", async () => {
      const counts = vi.fn(() => true)
      const { ask } = held({ counts })
      const caller = new AbortController()
      watch(ask('x', { signal: caller.signal }))
      caller.abort()
      await tick()
      expect(counts).not.toHaveBeenCalled()
    })

    it('goes by the default rule when counts throws, with a warning', async () => {
      const said = catchWarnings()
      const counts = () => {
        throw named('CountsIsBroken')
      }
      const { ask, run, state } = around({ counts })
      const error = down()
      expect(await failure(ask(fail(error)))).toBe(error)
      await run(fail(), 3)
      expect(state()).toBe('open')
      expect(said.join()).toContain('CountsIsBroken')
    })
  })
})
