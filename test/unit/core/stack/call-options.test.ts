import { afterEach, describe, expect, it, vi } from 'vitest'
import { defineLayer, stack } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { heeding } from '../../../support/slow.js'
import { numbers, stalling } from '../../../support/streams.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('stack', () => {
  describe('call options', () => {
    it.each<[string, unknown]>([
      ['null', null],
      ['a number', 5],
      ['a string', 'fast'],
      ['an array', []],
      ['a bare signal', AbortSignal.abort()],
      ['an unknown name', { timeout: 5 }],
      ['__proto__', JSON.parse('{"__proto__":{"timeoutMs":5}}')],
      ['a timeoutMs of 0', { timeoutMs: 0 }],
      ['a negative timeoutMs', { timeoutMs: -1 }],
      ['a timeoutMs of NaN', { timeoutMs: Number.NaN }],
      ['a timeoutMs of "5"', { timeoutMs: '5' }],
      ['a timeoutMs of Infinity', { timeoutMs: Number.POSITIVE_INFINITY }],
      ['a timeoutMs of null', { timeoutMs: null }],
      ['a deadline of NaN', { deadline: Number.NaN }],
      ['a deadline that is a Date', { deadline: new Date() }],
      ['a deadline by Date.now()', { deadline: Date.now() + 5000 }],
      ['a priority of NaN', { priority: Number.NaN }],
      ['a priority of "high"', { priority: 'high' }],
      ['an empty tenant', { tenant: '' }],
      ['a tenant that is a number', { tenant: 5 }],
      ['an unknown cache mode', { cache: 'none' }],
      ['a meta that is a plain object', { meta: {} }],
      ['a signal that is none', { signal: {} }],
      ['a controller in place of its signal', { signal: new AbortController() }],
      ['a signal of null', { signal: null }],
      [
        'a getter that throws',
        {
          get timeoutMs() {
            throw new Error('sk_secret')
          },
        },
      ],
    ])('refuse %s with VALIDATION, as a rejection and before anything runs', async (_, options) => {
      const answer = scripted('answer')
      const error = await failure(stack(answer)('x', options as never))
      expect(error).toMatchObject({ code: 'VALIDATION', status: 400, refused: true })
      expect(String(error)).not.toContain('sk_secret')
      expect(answer.calls).toHaveLength(0)
    })

    it('explain that a deadline is not a Date.now() time', async () => {
      await expect(stack(async () => 1)(undefined, { deadline: Date.now() })).rejects.toThrow(
        /Use performance\.now\(\) \+ ms, not Date\.now\(\) \+ ms/,
      )
    })

    it('truncate long names in the message', async () => {
      const error = (await failure(
        stack(async () => 1)(undefined, { ['x'.repeat(10_000)]: 1 } as never),
      )) as Error
      expect(error.message.length).toBeLessThan(250)
    })

    it('may all be undefined', async () => {
      const nothing = {
        signal: undefined,
        timeoutMs: undefined,
        deadline: undefined,
        priority: undefined,
        tenant: undefined,
        cache: undefined,
        meta: undefined,
      }
      expect(await stack(async () => 1)(undefined, nothing)).toBe(1)
      expect(await stack(async () => 1)(undefined, { deadline: Number.POSITIVE_INFINITY })).toBe(1)
    })

    it('give the caller the notes of the layers', async () => {
      const noting = defineLayer({
        name: 'retry',
        wrap: (next) => (request, context) => {
          context.meta.set('retry', { attempts: 1 })
          return next(request, context)
        },
      })
      const meta = new Map<string, unknown>()
      await stack(async () => 1, noting)(undefined, { meta })
      expect(meta.get('retry')).toEqual({ attempts: 1 })
    })
  })

  describe('timeoutMs and deadline of a call', () => {
    it.each([
      ['timeoutMs', () => ({ timeoutMs: 100 })],
      ['deadline', () => ({ deadline: performance.now() + 100 })],
      ['the tighter of both', () => ({ timeoutMs: 5000, deadline: performance.now() + 100 })],
    ])('cut off a base that ignores the signal, by %s', async (_, options) => {
      const call = watch(stack(() => never())('x', options()))
      await vi.advanceTimersByTimeAsync(99)
      expect(call.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'total', ms: 100, status: 504 })
    })

    it('reach the base through its signal', async () => {
      const probe = spy()
      const call = watch(stack(heeding, probe)('x', { timeoutMs: 100 }))
      await vi.advanceTimersByTimeAsync(100)
      expect(probe.context.signal.reason).toBe(call.error)
    })

    it('set the deadline of the context, and leave no timer after the answer', async () => {
      const probe = spy()
      await stack(async () => 1, probe)(undefined, { timeoutMs: 100 })
      expect(probe.context.deadline).toBe(performance.now() + 100)
      expect(vi.getTimerCount()).toBe(0)
    })

    it('cut off a stream while it is read, after the chunks already delivered', async () => {
      const stream = await stack(stalling)(2, { timeoutMs: 100 })
      expect((await stream.next()).value).toBe(0)
      expect((await stream.next()).value).toBe(1)
      const third = watch(stream.next())
      await vi.advanceTimersByTimeAsync(100)
      expect(third.error).toMatchObject({ code: 'TIMEOUT', phase: 'total' })
    })

    it('cut off a stream whose reader is too slow', async () => {
      const stream = await stack(numbers)(5, { timeoutMs: 100 })
      await stream.next()
      await vi.advanceTimersByTimeAsync(100)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT' })
    })

    it('refuse at once, without a base call, when the deadline has passed', async () => {
      await vi.advanceTimersByTimeAsync(50)
      const answer = scripted('answer')
      const error = await failure(stack(answer)('x', { deadline: performance.now() - 1 }))
      expect(error).toMatchObject({ code: 'TIMEOUT', refused: true })
      expect(answer.calls).toHaveLength(0)
    })

    it('work beyond the longest timer of the platform', async () => {
      const days = 40 * 24 * 3_600_000
      const call = watch(stack(() => never())('x', { timeoutMs: days }))
      await vi.advanceTimersByTimeAsync(days - 1)
      expect(call.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: days })
    })
  })
})
