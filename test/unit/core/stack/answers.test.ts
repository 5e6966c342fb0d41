import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  abortScope,
  base,
  collect,
  defineLayer,
  type LayerOf,
  Stream,
  stack,
} from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, numbers, stalling } from '../../../support/streams.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('stack', () => {
  describe('answers', () => {
    it('keep their identity when they are plain values', async () => {
      const answer = { a: 1 }
      expect(await stack(async () => answer, spy())()).toBe(answer)
    })

    it.each([undefined, null, 0, '', false, [1, 2]])('may be %o', async (answer) => {
      expect(await stack(async () => answer)()).toBe(answer)
    })

    it('may be given without a promise, by the base or by a layer', async () => {
      expect(await stack((n: number) => n + 1)(1)).toBe(2)
      const ask = stack(async () => 1, (() => () => 5) as never)
      expect(await ask()).toBe(5)
      await ask.close()
    })

    it('are rejections when the base or a layer throws synchronously', async () => {
      const error = new Error('sync')
      const broken = () => {
        throw error
      }
      const ask = stack(broken)
      expect(await failure(ask())).toBe(error)
      const around = stack(
        async () => 1,
        () => broken,
      )
      expect(await failure(around())).toBe(error)
      await ask.close()
      await around.close()
    })

    it.each([new Error('plain'), 'a string', undefined, null, { status: 500 }])(
      'reject with exactly what the base rejects with: %o',
      async (thrown) => {
        expect(await failure(stack(() => Promise.reject(thrown), spy())())).toBe(thrown)
      },
    )

    it('are one async generator when they are streams', async () => {
      const stream = await stack(numbers, spy(), spy())(3)
      expect(stream).toBeInstanceOf(Stream)
      expect(stream[Symbol.asyncIterator]()).toBe(stream)
      expect(await collect(stream)).toEqual([0, 1, 2])
    })

    it('may be streams that a layer makes with a generator', async () => {
      const doubling: LayerOf<number, AsyncIterable<number>> =
        (next) => async (request, context) => {
          const inner = await next(request, context)
          return (async function* () {
            await new Promise((resolve) => setTimeout(resolve, 20))
            for await (const n of inner) yield 2 * n
          })()
        }
      const all = watch(
        stack((n: number): AsyncIterable<number> => numbers(n), doubling)(3).then(collect),
      )
      await vi.advanceTimersByTimeAsync(20)
      expect(all.value).toEqual([0, 2, 4])
    })

    it('follow the time limit of the call even when a layer makes the stream', async () => {
      const replacing: LayerOf<unknown, AsyncIterable<number>> = () => async () => stalling(1)
      const ask = stack(async (): Promise<AsyncIterable<number>> => numbers(1), replacing)
      const stream = await ask(undefined, { timeoutMs: 100 })
      await stream.next()
      const waiting = watch(stream.next())
      await vi.advanceTimersByTimeAsync(100)
      expect(waiting.error).toMatchObject({ code: 'TIMEOUT' })
    })

    it('are not requested from the base once a layer has cancelled the call', async () => {
      const answer = scripted('answer')
      const cutting = defineLayer({
        name: 'cut',
        wrap: (next) => async (request, context) => {
          const scope = abortScope(context)
          scope.abort('cut')
          try {
            return await next(request, context.derive({ cancel: scope }))
          } finally {
            scope.dispose()
          }
        },
      })
      expect(await failure(stack(answer, cutting)('x'))).toBe('cut')
      expect(answer.calls).toHaveLength(0)
    })

    it('reject when a stream fails before its commit', async () => {
      const error = new Error('upstream')
      expect(await failure(stack(() => breaking(0, error))())).toBe(error)
      const holding = base(() => breaking(3, error), { commits: () => false })
      expect(await failure(stack(holding)())).toBe(error)
    })

    it('reject when an iterable cannot be iterated, from the base or from a layer', async () => {
      const broken = {
        [Symbol.asyncIterator]() {
          throw new Error('no iterator')
        },
      } as AsyncIterable<never>
      await expect(stack(async () => broken)()).rejects.toThrow('no iterator')
      const ask = stack(
        async () => broken,
        () => async () => broken,
      )
      await expect(ask()).rejects.toThrow('no iterator')
      await ask.close()
    })
  })
})
