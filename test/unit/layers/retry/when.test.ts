import { AbortError } from 'p-retry'
import { describe, expect, it, vi } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { failing, server, settle } from '../../../support/failing.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { scripted } from '../../../support/scripted.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('retry', () => {
  describe('when and onRetry', () => {
    it('lets `when` decide instead of the default rule', async () => {
      const when = vi.fn((error: unknown) => (error as { code: string }).code === 'BAD_REQUEST')
      const wrong = failing(upstreamError('BAD_REQUEST'), { when })
      await settle(wrong.ask('x'))
      expect(wrong.calls()).toBe(3)
      const down = failing(server(), { when })
      await settle(down.ask('x'))
      expect(down.calls()).toBe(1)
    })

    it('tells `when` which attempt failed, counting from 1', async () => {
      const attempts: number[] = []
      const { ask } = failing(server(), {
        retries: 3,
        when: (_, attempt) => {
          attempts.push(attempt)
          return attempt < 3
        },
      })
      await settle(ask('x'))
      expect(attempts).toEqual([1, 2, 3])
    })

    it("does not ask when about the caller's abort", async () => {
      const when = vi.fn(() => true)
      const caller = new AbortController()
      const base = scripted<string>((_, { signal }) => {
        caller.abort('enough')
        return Promise.reject(signal.reason)
      })
      expect(await failure(stack(base, retry({ when }))('x', { signal: caller.signal }))).toBe(
        'enough',
      )
      await tick(60_000)
      expect(when).not.toHaveBeenCalled()
      expect(base.calls).toHaveLength(1)
    })

    it('falls back to the default rule with a warning when `when` throws', async () => {
      const said = catchWarnings()
      const down = failing(server(), {
        when: () => {
          throw named('WhenIsBroken')
        },
      })
      await settle(down.ask('x'))
      expect(down.calls()).toBe(3)
      expect(said.join()).toContain('WhenIsBroken')
    })

    it('tells onRetry of each wait before it begins', async () => {
      const told: unknown[] = []
      const error = server()
      const { ask } = failing(error, { onRetry: (retry) => told.push(retry) })
      await settle(ask('x'))
      expect(told).toEqual([
        { error, attempt: 1, delayMs: 250 },
        { error, attempt: 2, delayMs: 500 },
      ])
    })

    it.each([
      [
        'throws',
        () => {
          throw named('OnRetryIsBroken')
        },
        'OnRetryIsBroken',
      ],
      ['rejects', () => Promise.reject(named('OnRetryRejects')), 'OnRetryRejects'],
    ])('goes on when onRetry %s, with a warning', async (_, onRetry, word) => {
      const said = catchWarnings()
      const base = scripted<string>(server(), 'ok')
      const call = await settle(stack(base, retry({ onRetry }))('x'))
      expect(call.value).toBe('ok')
      expect(said.join()).toContain(word)
    })
  })

  it('repeats whatever `when` says: an AbortError of p-retry, a programming mistake', async () => {
    const aborted = new AbortError('on purpose')
    const mistake = new TypeError('x is not a function')
    for (const error of [aborted, mistake]) {
      let calls = 0
      const ask = stack(
        async () => {
          calls++
          throw error
        },
        retry({ retries: 2, minDelayMs: 0, when: () => true }),
      )
      const call = watch(ask())
      await tick(10)
      expect(call.error).toBe(error)
      expect(calls).toBe(3)
    }
  })
})
