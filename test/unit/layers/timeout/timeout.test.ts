import { describe, expect, it, vi } from 'vitest'
import { type Context, collect, stack } from '../../../../src/core/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { numbers } from '../../../support/streams.js'
import { later, timed, told } from '../../../support/timed.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('timeout', () => {
  describe('around a value', () => {
    it('passes on an answer that is in time', async () => {
      const ask = stack(async (word: string) => word.toUpperCase(), timeout({ ms: 100 }))
      expect(await ask('hello')).toBe('HELLO')
      expect(ask.stats().timeout).toEqual({ fired: 0 })
    })

    it('rejects after ms with the phase, the time and its name', async () => {
      const call = watch(stack(never, timeout({ ms: 100, name: 'attempt' }))())
      await tick(99)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({
        code: 'TIMEOUT',
        status: 504,
        phase: 'total',
        ms: 100,
        layer: 'attempt',
        retryable: true,
        refused: false,
      })
    })

    it('counts what it has cut short', async () => {
      const ask = stack(never, timeout({ ms: 100 }))
      const calls = [watch(ask()), watch(ask())]
      await tick(100)
      expect(calls.map(({ state }) => state)).toEqual(['rejected', 'rejected'])
      expect(ask.stats().timeout).toEqual({ fired: 2 })
    })

    it('aborts the work, in both forms of the cancellation, with the error that comes out', async () => {
      let inside!: Context
      const call = watch(
        stack(
          async (_: string, context: Context) => {
            inside = context
            await new Promise((_resolve, reject) =>
              context.signal.addEventListener('abort', () => reject(context.signal.reason)),
            )
          },
          timeout({ ms: 100 }),
        )('x'),
      )
      await tick(100)
      expect(inside.signal.aborted).toBe(true)
      expect(inside.cancel.aborted).toBe(true)
      expect(inside.signal.reason).toBe(call.error)
    })

    it('settles even when the work ignores its signal, and drops late results', async () => {
      const work = gate<string>()
      const call = watch(stack(() => work.promise, timeout({ ms: 100 }))())
      await tick(100)
      expect(call.error).toMatchObject({ code: 'TIMEOUT' })
      work.open('late')
      await tick()
      expect(call.state).toBe('rejected')
    })

    it('leaves no unhandled rejection when the work fails after the limit', async () => {
      const work = gate()
      const call = watch(stack(() => work.promise, timeout({ ms: 100 }))())
      await tick(100)
      work.fail(new Error('late'))
      await tick()
      expect(call.error).toMatchObject({ code: 'TIMEOUT' })
    })

    it('passes on a failure unchanged and stops its timer', async () => {
      const error = new Error('from upstream')
      expect(await failure(stack(scripted(error), timeout({ ms: 100 }))('x'))).toBe(error)
      expect(vi.getTimerCount()).toBe(0)
    })

    it("passes the caller's abort through as the caller's own reason", async () => {
      const caller = new AbortController()
      const reason = new Error('changed my mind')
      const ask = stack(never, timeout({ ms: 100 }))
      const call = watch(ask(undefined, { signal: caller.signal }))
      await tick(50)
      caller.abort(reason)
      await tick()
      expect(call.error).toBe(reason)
      expect(ask.stats().timeout.fired).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
    })

    it('does not relabel an abort whose reason is a time limit of the caller', async () => {
      const caller = new AbortController()
      const reason = new DOMException('the caller has waited enough', 'TimeoutError')
      const call = watch(stack(never, timeout({ ms: 100 }))(undefined, { signal: caller.signal }))
      caller.abort(reason)
      await tick()
      expect(call.error).toBe(reason)
    })

    it('takes a function for ms and asks it about each request', async () => {
      const ask = stack(
        (_: number) => never(),
        timeout({
          ms: (request) => request as number,
        }),
      )
      const calls = [watch(ask(50)), watch(ask(200))]
      await tick(50)
      expect(calls[0]!.error).toMatchObject({ ms: 50 })
      expect(calls[1]!.state).toBe('pending')
      await tick(150)
      expect(calls[1]!.error).toMatchObject({ ms: 200 })
    })

    it.each([undefined, null, Number.NaN, '5s', '500', 0, -5, 1e15, {}, true])(
      'refuses %s from a function with an error that names the option, before any work',
      async (value) => {
        let calls = 0
        const work = async () => ++calls
        const error = await failure(stack(work, timeout({ ms: () => value as number }))())
        expect(error).toMatchObject({
          code: 'CONFIG',
          message: expect.stringMatching(
            /^timeout: option "ms\(\)" must be a duration in milliseconds of at least 1 .*, got /,
          ),
        })
        expect(calls).toBe(0)
      },
    )

    it('treats Infinity from a function as no limit', async () => {
      const call = watch(stack(never, timeout({ ms: () => Number.POSITIVE_INFINITY }))())
      await tick(24 * 3_600_000)
      expect(call.state).toBe('pending')
    })

    it('gives inner layers a deadline that it only ever tightens', async () => {
      const deadlines: number[] = []
      const ask = stack(
        async (_: string, { deadline }: Context) => {
          deadlines.push(deadline - performance.now())
        },
        timeout({ ms: 100 }),
        timeout({ ms: 1_000 }),
      )
      await ask('x')
      await ask('x', { timeoutMs: 40 })
      expect(deadlines).toEqual([100, 40])
    })

    it('lets the tighter of two limits fire, which the other sees as an ordinary failure', async () => {
      const ask = stack(never, timeout({ ms: 500 }), timeout({ ms: 100, name: 'attempt' }))
      const call = watch(ask())
      await tick(100)
      expect(call.error).toMatchObject({ ms: 100, layer: 'attempt' })
      expect(ask.stats()).toEqual({ timeout: { fired: 0 }, attempt: { fired: 1 } })
    })

    it('lets the outer of two limits abort what the inner one runs', async () => {
      let inside!: Context
      const ask = stack(
        (_: string, context: Context) => {
          inside = context
          return never()
        },
        timeout({ ms: 100 }),
        timeout({ ms: 500, name: 'attempt' }),
      )
      const call = watch(ask('x'))
      await tick(100)
      expect(call.error).toMatchObject({ ms: 100, layer: 'timeout' })
      expect(inside.cancel.reason).toBe(call.error)
      expect(ask.stats()).toEqual({ timeout: { fired: 1 }, attempt: { fired: 0 } })
    })

    it('waits longer than a Node timer can', async () => {
      vi.spyOn(globalThis, 'setTimeout')
      const month = 40 * 24 * 3_600_000
      const call = watch(stack(never, timeout({ ms: month }))())
      await tick(month - 1)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ ms: month })
      vi.restoreAllMocks()
    })

    it('takes a plain layer that answers without a promise', async () => {
      const ask = stack(async () => 'base', timeout({ ms: 100 }), (() => () => 'at once') as never)
      expect(await ask()).toBe('at once')
    })
  })

  describe('without ms', () => {
    const hour = 60 * 60_000

    it('limits only the time to the first token', async () => {
      const layer = timeout({ firstTokenMs: 50 })
      const late = watch(stack(told(true, later(51, numbers(5))), layer)('x'))
      const long = watch(
        stack(
          told(true, () => timed(50, hour)),
          layer,
        )('x').then(collect),
      )
      const value = watch(stack(told(false, later(hour, 'value')), layer)('x'))
      await tick(50)
      expect(late.error).toMatchObject({ phase: 'first-token', ms: 50 })
      await tick(hour)
      expect(long.value).toEqual([50, hour])
      expect(value.value).toBe('value')
    })

    it('limits only the silence of a stream', async () => {
      const ask = stack(
        told(true, () => timed(hour, hour + 40, hour + 100)),
        timeout({ idleMs: 50 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(hour + 89)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ phase: 'idle', ms: 50 })
      await tick(10)
    })

    it.each([true, undefined])(
      'limits only streams, also when the base reports %s of the form',
      async (streams) => {
        const layer = timeout({ streamMs: 200 })
        const ask = stack(
          told(streams, () => timed(10, 300)),
          layer,
        )
        const call = watch(ask('x').then(collect))
        const value = watch(stack(told(streams && false, later(hour, 'value')), layer)('x'))
        await tick(200)
        expect(call.error).toMatchObject({ phase: 'total', ms: 200 })
        await tick(hour)
        expect(value.value).toBe('value')
      },
    )

    it('tells the layers inside no deadline', async () => {
      let deadline: number | undefined
      const ask = stack(
        told(false, (context) => {
          deadline = context.deadline
        }),
        timeout({ firstTokenMs: 50 }),
      )
      await ask('x')
      expect(deadline).toBe(Number.POSITIVE_INFINITY)
    })
  })

  describe('options', () => {
    it.each([
      [
        'no options',
        undefined,
        'give at least one of the options "ms", "streamMs", "firstTokenMs" and "idleMs"',
      ],
      [
        'no limit',
        { name: 'attempt', ms: undefined },
        'give at least one of the options "ms", "streamMs", "firstTokenMs" and "idleMs"',
      ],
      ['an ms of 0', { ms: 0 }, '"ms"'],
      ['an ms of NaN', { ms: Number.NaN }, '"ms"'],
      ['an ms of Infinity', { ms: Number.POSITIVE_INFINITY }, '"ms"'],
      ['an ms that is a string', { ms: '5' }, '"ms"'],
      ['a timestamp', { ms: 1_800_000_000_000 }, '"ms"'],
      ['a negative streamMs', { ms: 1, streamMs: -1 }, '"streamMs"'],
      ['a firstTokenMs of 0', { ms: 1, firstTokenMs: 0 }, '"firstTokenMs"'],
      ['an idleMs that is no number', { ms: 1, idleMs: true }, '"idleMs"'],
      ['a name that is none', { ms: 1, name: '' }, '"name"'],
      ['an unknown option', { ms: 1, timeoutMs: 5 }, '"timeoutMs"'],
    ])('refuses %s', (_, options, words) => {
      expect(() => timeout(options as never)).toThrow(configError(words, 'timeout'))
    })
  })
})
