import { AbortError } from 'p-retry'
import { describe, expect, it } from 'vitest'
import { stack, TimeoutError } from '../../../../src/core/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { failing, server, settle } from '../../../support/failing.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { REFUSALS } from '../../../support/refusals.js'
import { scripted } from '../../../support/scripted.js'
import { OWN_FAULTS, upstreamError } from '../../../support/upstream.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

describe('retry', () => {
  describe('which failures it repeats', () => {
    it.each(['RATE_LIMITED', 'SERVER', 'NETWORK', 'PROTOCOL'] as const)(
      'repeats %s',
      async (code) => {
        const error = upstreamError(code)
        const { ask, calls } = failing(error)
        expect((await settle(ask('x'))).error).toBe(error)
        expect(calls()).toBe(3)
      },
    )

    it.each([...OWN_FAULTS, 'TOO_LARGE', 'STREAM'] as const)('does not repeat %s', async (code) => {
      const error = upstreamError(code)
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
    })

    it.each([
      ['the whole answer', 'total', 3],
      ['the first token', 'first-token', 3],
      ['a silent stream', 'idle', 3],
      ['a wait for a slot', 'queue', 1],
      ['an unread stream', 'read', 1],
    ] as const)(
      'after a time-out of %s (phase %s) makes %d calls in all',
      async (_, phase, expected) => {
        const { ask, calls } = failing(new TimeoutError(5, { phase }))
        await settle(ask('x'))
        expect(calls()).toBe(expected)
      },
    )

    it.each(REFUSALS)('does not repeat a call refused before it ran: $name', async (error) => {
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
      expect(ask.stats().retry).toEqual({ retries: 0, exhausted: 0, refused: 0 })
    })

    it.each([
      ['an Error', new Error('odd')],
      ['a string', 'odd'],
      ['undefined', undefined],
      ['null', null],
      ['an object', { status: 500 }],
    ])('repeats a foreign failure: %s, and throws it unchanged', async (_, thrown) => {
      const { ask, calls } = failing(thrown)
      const call = await settle(ask('x'))
      expect(call.state).toBe('rejected')
      expect(call.error).toBe(thrown)
      expect(calls()).toBe(3)
    })

    it('does not repeat a programming mistake', async () => {
      const { ask, calls } = failing(
        new TypeError("Cannot read properties of undefined (reading 'x')"),
      )
      expect(await failure(ask('x'))).toBeInstanceOf(TypeError)
      expect(calls()).toBe(1)
    })

    it.each(['fetch failed', 'terminated'])(
      'repeats a TypeError of the network: %s',
      async (message) => {
        const { ask, calls } = failing(new TypeError(message))
        await settle(ask('x'))
        expect(calls()).toBe(3)
      },
    )

    it('does not repeat an abort from elsewhere', async () => {
      const error = new DOMException('stopped', 'AbortError')
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
    })

    it("throws p-retry's own AbortError as it is, not what it wraps", async () => {
      const error = new AbortError(new Error('inner'))
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
    })

    it("throws p-retry's own AbortError as it is from a later attempt too", async () => {
      const error = new AbortError('stop')
      const base = scripted<string>(server(), error)
      expect((await settle(stack(base, retry())('x'))).error).toBe(error)
      expect(base.calls).toHaveLength(2)
    })

    it('decides anew after each attempt', async () => {
      const wrong = upstreamError('BAD_REQUEST')
      const base = scripted<string>(server(), wrong, 'never asked')
      expect((await settle(stack(base, retry())('x'))).error).toBe(wrong)
      expect(base.calls).toHaveLength(2)
    })

    it('repeats what a plain layer throws before it gives a promise', async () => {
      let calls = 0
      const plain = (() => () => {
        if (++calls < 3) throw server()
        return 'at once'
      }) as never
      expect((await settle(stack(async () => 'base', retry(), plain)())).value).toBe('at once')
    })
  })
})
