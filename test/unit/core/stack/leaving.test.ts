import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  collect,
  type LayerOf,
  onEnd,
  type StreamEnd,
  stack,
} from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { heeding } from '../../../support/slow.js'
import { numbers } from '../../../support/streams.js'
import { failure, listenersOf, turn, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('stack', () => {
  describe("the caller's signal", () => {
    it.each([new Error('mine'), 'a string', 42, null, { any: 'object' }])(
      'rejects with exactly its reason: %o',
      async (reason) => {
        const controller = new AbortController()
        const call = stack(() => never(), spy())('x', { signal: controller.signal })
        controller.abort(reason)
        expect(await failure(call)).toBe(reason)
      },
    )

    it('rejects without a base call when it is already aborted', async () => {
      const answer = scripted('answer')
      const probe = spy()
      const reason = { gone: true }
      expect(await failure(stack(answer, probe)('x', { signal: AbortSignal.abort(reason) }))).toBe(
        reason,
      )
      expect(answer.calls).toHaveLength(0)
      expect(probe.stats()).toEqual({ calls: 0 })
    })

    it('rejects without a base call when it is aborted between two calls', async () => {
      const answer = scripted('answer')
      const probe = spy()
      const ask = stack(answer, probe)
      const controller = new AbortController()
      await ask('x', { signal: controller.signal })
      controller.abort('between')
      expect(await failure(ask('x', { signal: controller.signal, timeoutMs: 50 }))).toBe('between')
      expect(answer.calls).toHaveLength(1)
      expect(probe.stats()).toEqual({ calls: 1 })
    })

    it('reaches the base', async () => {
      const controller = new AbortController()
      const probe = spy()
      const call = stack(heeding, probe)('x', { signal: controller.signal })
      controller.abort('gone')
      expect(await failure(call)).toBe('gone')
      expect(probe.context.signal.reason).toBe('gone')
    })

    it('ends a stream with its reason and drops the undelivered chunks', async () => {
      const controller = new AbortController()
      const stream = await stack(numbers)(5, { signal: controller.signal })
      await stream.next()
      controller.abort('gone')
      expect(await failure(stream.next())).toBe('gone')
      expect(await stream.next()).toEqual({ done: true, value: undefined })
      expect(listenersOf(controller.signal)).toBe(0)
    })

    it('stops a stream that arrives after the abort', async () => {
      const controller = new AbortController()
      const opened = gate<AsyncIterable<number>>()
      const call = stack(() => opened.promise)('x', { signal: controller.signal })
      controller.abort('gone')
      expect(await failure(call)).toBe('gone')
      const iterator = {
        next: vi.fn(() => never()),
        return: vi.fn(async () => ({ done: true, value: undefined })),
      }
      opened.open({ [Symbol.asyncIterator]: () => iterator as AsyncIterator<number> })
      await tick()
      expect(iterator.next).not.toHaveBeenCalled()
      expect(iterator.return).toHaveBeenCalledTimes(1)
    })

    it('leaves no timer and no listener behind even when the base ignores it for ever', async () => {
      const controller = new AbortController()
      const ask = stack(() => never())
      watch(ask('x', { signal: controller.signal, timeoutMs: 60_000 }))
      controller.abort('gone')
      expect(vi.getTimerCount()).toBe(0)

      const { signal } = new AbortController()
      const call = watch(ask('x', { signal, timeoutMs: 100 }))
      expect(listenersOf(signal)).toBe(1)
      await vi.advanceTimersByTimeAsync(100)
      expect(call.state).toBe('rejected')
      expect(listenersOf(signal)).toBe(0)
    })

    it('has at most one listener through 10,000 calls, and none afterwards', async () => {
      const { signal } = new AbortController()
      const added = vi.spyOn(signal, 'addEventListener')
      let most = 0
      const ask = stack(async (n: number) => {
        most = Math.max(most, listenersOf(signal))
        return n
      }, spy())
      for (let i = 0; i < 10_000; i++) await ask(i, { signal })
      expect(most).toBe(1)
      expect(listenersOf(signal)).toBe(0)
      expect(added.mock.calls.length).toBeLessThanOrEqual(10_000)
    })

    it('has one listener for 50 concurrent calls, without a warning', async () => {
      vi.useRealTimers()
      const warned = vi.fn()
      process.on('warning', warned)
      const controller = new AbortController()
      const { signal } = controller
      const answers = gate()
      const ask = stack(async (n: number) => {
        await answers.promise
        return n
      })
      const calls = Array.from({ length: 50 }, (_, i) => ask(i, { signal }))
      const streams = await Promise.all(
        Array.from({ length: 50 }, () => stack(numbers)(3, { signal })),
      )
      expect(listenersOf(signal)).toBe(1)
      answers.open()
      expect(await Promise.all(calls)).toHaveLength(50)
      expect(listenersOf(signal)).toBe(1)
      for (const stream of streams) await collect(stream)
      expect(listenersOf(signal)).toBe(0)
      await turn()
      process.off('warning', warned)
      expect(warned).not.toHaveBeenCalled()
      vi.useFakeTimers()
    })

    it('rejects all calls that share it', async () => {
      const controller = new AbortController()
      const ask = stack(() => never())
      const calls = Array.from({ length: 50 }, () => watch(ask('x', { signal: controller.signal })))
      controller.abort('all')
      await tick()
      expect(calls.every(({ error }) => error === 'all')).toBe(true)
      expect(listenersOf(controller.signal)).toBe(0)
    })

    it('may come from another realm', async () => {
      const { signal } = new AbortController()
      const like = {
        aborted: false,
        reason: undefined,
        addEventListener: signal.addEventListener.bind(signal),
        removeEventListener: signal.removeEventListener.bind(signal),
      }
      expect(await stack(async () => 1)(undefined, { signal: like as never })).toBe(1)
      expect(listenersOf(signal)).toBe(0)
    })

    it('is ignored once the answer has been given', async () => {
      const controller = new AbortController()
      const probe = spy()
      expect(await stack(async () => 1, probe)(undefined, { signal: controller.signal })).toBe(1)
      controller.abort('late')
      expect(probe.context.cancel.aborted).toBe(false)
    })
  })

  describe('a stream that nobody reads', () => {
    it('ends with TIMEOUT in phase read after the unreadMs of the base', async () => {
      const finished = vi.fn()
      async function* source() {
        try {
          yield* numbers(3)
        } finally {
          finished()
        }
      }
      const stream = await stack(
        base(() => source(), { unreadMs: 200 }),
        spy(),
      )()
      await vi.advanceTimersByTimeAsync(199)
      expect(finished).not.toHaveBeenCalled()
      await vi.advanceTimersByTimeAsync(1)
      expect(finished).toHaveBeenCalledTimes(1)
      expect(await failure(stream.next())).toMatchObject({
        code: 'TIMEOUT',
        phase: 'read',
        ms: 200,
      })
    })

    it('ends the same way when a layer makes it', async () => {
      const ends: StreamEnd[] = []
      const watching: LayerOf<unknown, AsyncIterable<number>> =
        (next) => async (request, context) =>
          onEnd(await next(request, context), (end) => ends.push(end))
      const regenerating: LayerOf<unknown, AsyncIterable<number>> =
        (next) => async (request, context) => {
          const inner = await next(request, context)
          return (async function* () {
            yield* inner
          })()
        }
      const ask = stack(
        base((_: unknown): AsyncIterable<number> => numbers(3), { unreadMs: 200 }),
        regenerating,
        watching,
      )
      const stream = await ask()
      const closed = watch(ask.close())
      await vi.advanceTimersByTimeAsync(200)
      expect(await failure(stream.next())).toMatchObject({ phase: 'read' })
      expect(ends.map(({ outcome }) => outcome)).toEqual(['left'])
      expect(closed.state).toBe('resolved')
    })
  })
})
