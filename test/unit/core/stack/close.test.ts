import { afterEach, describe, expect, it, vi } from 'vitest'
import { collect, defineLayer, stack } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { heeding } from '../../../support/slow.js'
import { numbers, stalling } from '../../../support/streams.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('stack', () => {
  describe('close()', () => {
    it('lets running calls finish and takes no new ones', async () => {
      const work = gate<string>()
      const answer = scripted<string>(() => work.promise)
      const ask = stack(answer)
      const call = watch(ask('x'))
      const closed = watch(ask.close())
      expect(await failure(ask('y'))).toMatchObject({ code: 'CLOSED', status: 503, refused: true })
      await vi.advanceTimersByTimeAsync(29_999)
      expect(closed.state).toBe('pending')
      work.open('done')
      await tick()
      expect(call.value).toBe('done')
      expect(closed.state).toBe('resolved')
      expect(await failure(ask('z'))).toMatchObject({ code: 'CLOSED' })
      expect(answer.calls).toHaveLength(1)
    })

    it('waits for the last of the running calls', async () => {
      const works = [gate(), gate()]
      const ask = stack((n: number) => works[n]?.promise)
      const calls = [ask(0), ask(1)]
      const closed = watch(ask.close())
      works[0]?.open()
      await tick()
      expect(closed.state).toBe('pending')
      works[1]?.open()
      await Promise.all(calls)
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it('resolves at once when nothing runs', async () => {
      await stack(async () => 1).close()
      const used = stack(async () => 1)
      await used()
      await used.close()
    })

    it('cuts off the calls still running after timeoutMs, with CLOSED', async () => {
      const ask = stack(heeding)
      const call = watch(ask('x'))
      const closed = watch(ask.close({ timeoutMs: 500 }))
      await vi.advanceTimersByTimeAsync(499)
      expect([call.state, closed.state]).toEqual(['pending', 'pending'])
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({
        code: 'CLOSED',
        refused: false,
        message: expect.stringContaining('500 ms'),
      })
      expect(closed.state).toBe('resolved')
    })

    it('cuts off running calls after 30 s by default', async () => {
      const ask = stack(heeding)
      const call = watch(ask('x'))
      const closed = ask.close()
      await vi.advanceTimersByTimeAsync(30_000)
      expect(call.error).toMatchObject({ code: 'CLOSED' })
      await closed
    })

    it('waits a little, but not for ever, for a call that ignores being cut off', async () => {
      const ask = stack(() => never())
      const call = watch(ask('x'))
      const closed = watch(ask.close({ timeoutMs: 0 }))
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'CLOSED' })
      expect(closed.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1000)
      expect(closed.state).toBe('resolved')
    })

    it('returns the same promise again, however it is called', async () => {
      const ask = stack(async () => 1)
      const closed = ask.close({ timeoutMs: 100 })
      expect(ask.close()).toBe(closed)
      expect(ask[Symbol.asyncDispose]()).toBe(closed)
      await closed
      expect(ask.close()).toBe(closed)
    })

    it('counts a stream as running until its end', async () => {
      const ask = stack(numbers)
      const stream = await ask(2)
      const closed = watch(ask.close())
      await stream.next()
      await vi.advanceTimersByTimeAsync(1000)
      expect(closed.state).toBe('pending')
      expect(await collect(stream)).toEqual([1])
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it.each<[string, (stream: AsyncGenerator<number>) => Promise<unknown>]>([
      ['return()', (stream) => stream.return(undefined)],
      [
        'an early break',
        async (stream) => {
          for await (const _ of stream) break
        },
      ],
      ['throw()', (stream) => stream.throw('mine')],
    ])('resolves when a stream ends by %s', async (_, leave) => {
      const ask = stack(numbers)
      const stream = await ask(5)
      const closed = watch(ask.close())
      await leave(stream).catch(() => {})
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it('cuts off a stream with CLOSED', async () => {
      const ask = stack(stalling)
      const stream = await ask(1)
      await stream.next()
      const waiting = watch(stream.next())
      const closed = watch(ask.close({ timeoutMs: 100 }))
      await vi.advanceTimersByTimeAsync(100)
      expect(waiting.error).toMatchObject({ code: 'CLOSED', refused: false })
      expect(closed.state).toBe('resolved')
    })

    it('rejects calls that are only waiting at once, through context.closing', async () => {
      const waiting = defineLayer({
        name: 'queue',
        wrap: () => (_, context) => new Promise((_, reject) => context.closing.onAbort(reject)),
      })
      const ask = stack(async () => 1, waiting)
      const calls = Array.from({ length: 50 }, () => watch(ask()))
      const closed = watch(ask.close())
      await tick()
      for (const call of calls) expect(call.error).toMatchObject({ code: 'CLOSED', refused: true })
      expect(closed.state).toBe('resolved')
    })

    it('drains the layers at once and closes them when nothing runs any longer', async () => {
      const log: string[] = []
      const hooked = (name: string) =>
        spy(name, {
          drain: () => void log.push(`${name} drains`),
          close: async () => void log.push(`${name} closes`),
        })
      const work = gate()
      const ask = stack(
        () => work.promise.then(() => log.push('the work ends')),
        hooked('a'),
        hooked('b'),
      )
      const call = ask()
      const closed = ask.close()
      expect(log).toEqual(['a drains', 'b drains'])
      work.open()
      await call
      await closed
      expect(log).toEqual(['a drains', 'b drains', 'the work ends', 'a closes', 'b closes'])
      await ask.close()
      expect(log).toHaveLength(5)
    })

    it('waits for layers that take time to close', async () => {
      const slow = gate()
      const ask = stack(async () => 1, spy('pool', { close: () => slow.promise }))
      const closed = watch(ask.close())
      await tick()
      expect(closed.state).toBe('pending')
      slow.open()
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it('closes the other layers when one fails, and rejects with the error of that one', async () => {
      const warnings = catchWarnings()
      const closes = vi.fn()
      const error = new Error('close')
      const failing = spy('failing', {
        drain: () => {
          throw Object.assign(new Error('drain'), { name: 'DrainFailure' })
        },
        close: () => {
          throw error
        },
      })
      const ask = stack(async () => 1, failing, spy('fine', { close: closes }))
      const closed = ask.close()
      expect(await failure(closed)).toBe(error)
      expect(closes).toHaveBeenCalledTimes(1)
      expect(warnings).toEqual([expect.stringContaining('DrainFailure')])
    })

    it('prevents reuse of a layer closed with its last stack, unless it holds no resources', async () => {
      const closing = defineLayer({ name: 'closing', wrap: (next) => next, close: () => {} })
      const free = defineLayer({ name: 'free', wrap: (next) => next })
      await stack(async () => 1, closing, free).close()
      expect(() => stack(async () => 1, closing)).toThrow(
        'closing layer is closed because its last stack was closed',
      )
      expect(await stack(async () => 1, free)()).toBe(1)
    })

    it('closes a layer shared by two stacks with the last of them', async () => {
      const log: string[] = []
      const shared = spy('pool', {
        drain: () => void log.push('drains'),
        close: () => void log.push('closes'),
      })
      const first = stack(async () => 1, shared)
      const second = stack(async () => 2, shared)
      await first.close()
      await first.close()
      expect(log).toEqual([])
      expect(await second()).toBe(2)
      await second.close()
      expect(log).toEqual(['drains', 'closes'])
    })

    it('does not cut off the calls of another stack that shares a layer', async () => {
      const shared = spy('pool')
      const first = stack(heeding, shared)
      const second = stack(async () => 2, shared)
      const work = gate<number>()
      const third = stack(() => work.promise, shared)
      const cut = watch(first('x'))
      const kept = watch(third('x'))
      const closed = first.close({ timeoutMs: 10 })
      await vi.advanceTimersByTimeAsync(10)
      await closed
      expect(cut.error).toMatchObject({ code: 'CLOSED' })
      work.open(3)
      await tick()
      expect(kept.value).toBe(3)
      expect(await second()).toBe(2)
    })

    it.each([-1, Number.NaN, '5', Number.POSITIVE_INFINITY])(
      'refuses a timeoutMs of %o',
      async (timeoutMs) => {
        const ask = stack(async () => 1)
        expect(
          await failure((async () => ask.close({ timeoutMs: timeoutMs as number }))()),
        ).toMatchObject({ code: 'CONFIG' })
        expect(await ask()).toBe(1)
      },
    )

    it('is called by await using', async () => {
      let ask: (() => Promise<number>) | undefined
      {
        await using inner = stack(async () => 1)
        ask = inner
        expect(await ask()).toBe(1)
      }
      expect(await failure(ask())).toMatchObject({ code: 'CLOSED' })
    })
  })
})
