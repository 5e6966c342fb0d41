import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  abortScope,
  base,
  type Context,
  collect,
  composeStack,
  defineLayer,
  type Handler,
  type LayerOf,
  onEnd,
  remaining,
  Stream,
  type StreamEnd,
  stack,
} from '../../../src/core/index.js'
import { gate, never } from '../../support/gate.js'
import { spy, traced } from '../../support/layers.js'
import { scripted } from '../../support/scripted.js'
import { breaking, numbers, stalling } from '../../support/streams.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure, turn, watch } from '../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const flush = () => vi.advanceTimersByTimeAsync(0)
const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length
const config = (message: string) =>
  expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(message) })

/** A base that ends with the signal's reason and not before. */
const heeding = (_: string, { signal }: Context): Promise<string> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

describe('stack', () => {
  describe('order', () => {
    it('lets the first layer listed see the request first and the answer last', async () => {
      const log: string[] = []
      const ask = stack(
        async () => {
          log.push('base')
        },
        traced('a', log),
        traced('b', log),
        traced('c', log),
      )
      await ask()
      expect(log).toEqual(['a in', 'b in', 'c in', 'base', 'c out', 'b out', 'a out'])
    })

    it('calls the base with the request and nothing around it', async () => {
      const answer = scripted('answer')
      const request = { any: 'request' }
      expect(await stack(answer)(request as never)).toBe('answer')
      expect(answer.calls[0]?.request).toBe(request)
    })

    it('takes plain functions for layers', async () => {
      const twice: LayerOf<number, number> = (next) => async (request, context) =>
        2 * (await next(request, context))
      const plus: LayerOf<number, number> = (next) => (request, context) =>
        next(request + 1, context)
      expect(await stack(async (n: number) => n, twice, plus)(5)).toBe(12)
      expect(await stack(async (n: number) => n * n, plus, twice)(5)).toBe(72)
    })

    it('tells the end of a stream to the innermost layer first', async () => {
      const log: string[] = []
      const ending = (name: string) =>
        defineLayer({
          name,
          wrap: (next) => async (request, context) =>
            onEnd(await next(request, context), ({ outcome }) => log.push(`${name} ${outcome}`)),
        })
      const ask = stack(numbers, ending('outer'), ending('inner'))
      await collect(await ask(2))
      expect(log).toEqual(['inner complete', 'outer complete'])
    })

    it('composes groups with the one added last outermost', async () => {
      const log: string[] = []
      const ask = composeStack<unknown, unknown, []>(async () => {}, [
        [traced('a', log), traced('b', log)],
        [traced('a', log)],
      ])
      await ask()
      expect(log.slice(0, 3)).toEqual(['a in', 'a in', 'b in'])
      expect(ask.describe().map(({ name }) => name)).toEqual(['a2', 'a', 'b'])
    })
  })

  describe('names', () => {
    it('numbers equal names in the order of adding', () => {
      const ask = stack(async () => 1, spy('timeout'), spy('retry'), spy('timeout'), spy('timeout'))
      expect(Object.keys(ask.stats())).toEqual(['timeout', 'retry', 'timeout2', 'timeout3'])
      expect(ask.describe().map(({ name }) => name)).toEqual([
        'timeout',
        'retry',
        'timeout2',
        'timeout3',
      ])
    })

    it('passes numbers by that are taken', () => {
      const ask = stack(async () => 1, spy('timeout2'), spy('timeout'), spy('timeout'))
      expect(Object.keys(ask.stats())).toEqual(['timeout2', 'timeout', 'timeout3'])
    })

    it('calls a plain function by its name, or layer, and gives it no stats', () => {
      const anonymous = [
        (next: Handler<unknown, number>) => next,
        (next: Handler<unknown, number>) => next,
      ] as const
      function logging(next: Handler<unknown, number>) {
        return next
      }
      const ask = stack(async () => 1, logging, ...anonymous, spy())
      expect(ask.describe().map(({ name }) => name)).toEqual(['logging', 'layer', 'layer2', 'spy'])
      expect(ask.stats()).toEqual({ spy: { calls: 0 } })
    })
  })

  describe('stats() and describe()', () => {
    it('tell the live stats of the layers, outermost first', async () => {
      const ask = stack(async () => 1, spy('a'), spy('b'))
      await ask()
      expect(ask.stats()).toEqual({ a: { calls: 1 }, b: { calls: 1 } })
      await ask()
      expect(ask.describe()).toEqual([
        { name: 'a', stats: { calls: 2 } },
        { name: 'b', stats: { calls: 2 } },
      ])
      expect(JSON.parse(JSON.stringify(ask.stats()))).toEqual(ask.stats())
    })

    it('note what is odd about the order, and warn of it once', () => {
      const warnings = catchWarnings()
      const cacheLike = () =>
        spy('store', { kind: 'cache', outside: { queue: 'a hit would hold a slot.' } })
      const queueLike = () => spy('slots', { kind: 'queue' })
      for (let i = 0; i < 3; i++) {
        const ask = stack(async () => 1, queueLike(), spy('between'), cacheLike())
        expect(ask.describe().map(({ note }) => note)).toEqual([
          undefined,
          undefined,
          'store is inside slots: a hit would hold a slot.',
        ])
      }
      expect(warnings).toEqual(['store is inside slots: a hit would hold a slot.'])
    })

    it('note nothing for a good order or for kinds that are not named', () => {
      const warnings = catchWarnings()
      const ask = stack(
        async () => 1,
        spy('toString'),
        spy('cache', { outside: { queue: 'reason' } }),
        spy('queue'),
      )
      expect(ask.describe().every((layer) => !('note' in layer))).toBe(true)
      expect(warnings).toEqual([])
    })
  })

  describe('mistakes in making it', () => {
    it.each([
      ['a base that is no function', () => stack('ask' as never), 'the base must be a function'],
      ['a missing base', () => stack(undefined as never), 'the base must be a function'],
      [
        'a layer that is no function',
        () => stack(async () => 1, { name: 'retry' } as never),
        'a layer must be a function',
      ],
      [
        'a missing layer',
        () => stack(async () => 1, undefined as never),
        'a layer must be a function',
      ],
      [
        'a layer that gives no handler',
        () => stack(async () => 1, (() => 5) as never),
        'must give a handler',
      ],
    ])('refuses %s', (_, make, message) => {
      expect(make).toThrow(config(message))
    })

    it('refuses one layer value listed twice, and names it', () => {
      const layer = spy('retry')
      expect(() => stack(async () => 1, layer, spy(), layer)).toThrow(
        config('the same retry layer is listed twice'),
      )
    })

    it('lets out what a layer throws at wrapping', () => {
      const error = new Error('wrap')
      const broken = () => {
        throw error
      }
      expect(() => stack(async () => 1, broken)).toThrow(error)
    })
  })

  describe('answers', () => {
    it('keep their identity when they are values', async () => {
      const answer = { a: 1 }
      expect(await stack(async () => answer, spy())()).toBe(answer)
    })

    it.each([undefined, null, 0, '', false, [1, 2]])('may be %o', async (answer) => {
      expect(await stack(async () => answer)()).toBe(answer)
    })

    it('may come without a promise, from the base or from a layer', async () => {
      expect(await stack((n: number) => n + 1)(1)).toBe(2)
      const ask = stack(async () => 1, (() => () => 5) as never)
      expect(await ask()).toBe(5)
      await ask.close()
    })

    it('are rejections when base or layer throw at once', async () => {
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
      'reject with the very thing the base rejects with: %o',
      async (thrown) => {
        expect(await failure(stack(() => Promise.reject(thrown), spy())())).toBe(thrown)
      },
    )

    it('come out as one async generator when they are streams', async () => {
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

    it('obey the call also when a layer has made the stream', async () => {
      const replacing: LayerOf<unknown, AsyncIterable<number>> = () => async () => stalling(1)
      const ask = stack(async (): Promise<AsyncIterable<number>> => numbers(1), replacing)
      const stream = await ask(undefined, { timeoutMs: 100 })
      await stream.next()
      const waiting = watch(stream.next())
      await vi.advanceTimersByTimeAsync(100)
      expect(waiting.error).toMatchObject({ code: 'TIMEOUT' })
    })

    it('are not asked of the base once a layer has cut the call', async () => {
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
    ])('refuse %s with VALIDATION, by a rejection and before anything runs', async (_, options) => {
      const answer = scripted('answer')
      const error = await failure(stack(answer)('x', options as never))
      expect(error).toMatchObject({ code: 'VALIDATION', status: 400, refused: true })
      expect(String(error)).not.toContain('sk_secret')
      expect(answer.calls).toHaveLength(0)
    })

    it('explain that a deadline is no Date.now()', async () => {
      await expect(stack(async () => 1)(undefined, { deadline: Date.now() })).rejects.toThrow(
        /performance\.now\(\) clock, not on Date\.now\(\)/,
      )
    })

    it('cut long names in the message', async () => {
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
    ])('cut a base that ignores the signal, by %s', async (_, options) => {
      const call = watch(stack(() => never())('x', options()))
      await vi.advanceTimersByTimeAsync(99)
      expect(call.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'total', ms: 100, status: 504 })
    })

    it('reach the base as its signal', async () => {
      const probe = spy()
      const call = watch(stack(heeding, probe)('x', { timeoutMs: 100 }))
      await vi.advanceTimersByTimeAsync(100)
      expect(probe.context.signal.reason).toBe(call.error)
    })

    it('are the context deadline, and leave no timer after the answer', async () => {
      const probe = spy()
      await stack(async () => 1, probe)(undefined, { timeoutMs: 100 })
      expect(probe.context.deadline).toBe(performance.now() + 100)
      expect(vi.getTimerCount()).toBe(0)
    })

    it('cut a stream in mid-reading, after the chunks delivered', async () => {
      const stream = await stack(stalling)(2, { timeoutMs: 100 })
      expect((await stream.next()).value).toBe(0)
      expect((await stream.next()).value).toBe(1)
      const third = watch(stream.next())
      await vi.advanceTimersByTimeAsync(100)
      expect(third.error).toMatchObject({ code: 'TIMEOUT', phase: 'total' })
    })

    it('cut a stream whose reader is too slow', async () => {
      const stream = await stack(numbers)(5, { timeoutMs: 100 })
      await stream.next()
      await vi.advanceTimersByTimeAsync(100)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT' })
    })

    it('refuse at once when the moment has passed, without a base call', async () => {
      await vi.advanceTimersByTimeAsync(50)
      const answer = scripted('answer')
      const error = await failure(stack(answer)('x', { deadline: performance.now() - 1 }))
      expect(error).toMatchObject({ code: 'TIMEOUT', refused: true })
      expect(answer.calls).toHaveLength(0)
    })

    it('hold beyond the longest timer of the platform', async () => {
      const days = 40 * 24 * 3_600_000
      const call = watch(stack(() => never())('x', { timeoutMs: days }))
      await vi.advanceTimersByTimeAsync(days - 1)
      expect(call.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: days })
    })
  })

  describe("the caller's signal", () => {
    it.each([new Error('mine'), 'a string', 42, null, { any: 'object' }])(
      'rejects with its very reason: %o',
      async (reason) => {
        const controller = new AbortController()
        const call = stack(() => never(), spy())('x', { signal: controller.signal })
        controller.abort(reason)
        expect(await failure(call)).toBe(reason)
      },
    )

    it('rejects without a base call when it was aborted before', async () => {
      const answer = scripted('answer')
      const probe = spy()
      const reason = { gone: true }
      expect(await failure(stack(answer, probe)('x', { signal: AbortSignal.abort(reason) }))).toBe(
        reason,
      )
      expect(answer.calls).toHaveLength(0)
      expect(probe.stats()).toEqual({ calls: 0 })
    })

    it('rejects without a base call when it was aborted between two calls', async () => {
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

    it('ends a stream with its reason and drops what was not delivered', async () => {
      const controller = new AbortController()
      const stream = await stack(numbers)(5, { signal: controller.signal })
      await stream.next()
      controller.abort('gone')
      expect(await failure(stream.next())).toBe('gone')
      expect(await stream.next()).toEqual({ done: true, value: undefined })
      expect(listeners(controller.signal)).toBe(0)
    })

    it('stops a stream that comes after the abort', async () => {
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
      await flush()
      expect(iterator.next).not.toHaveBeenCalled()
      expect(iterator.return).toHaveBeenCalledTimes(1)
    })

    it('keeps no timer and no listener although the base ignores it for ever', async () => {
      const controller = new AbortController()
      const ask = stack(() => never())
      watch(ask('x', { signal: controller.signal, timeoutMs: 60_000 }))
      controller.abort('gone')
      expect(vi.getTimerCount()).toBe(0)

      const { signal } = new AbortController()
      const call = watch(ask('x', { signal, timeoutMs: 100 }))
      expect(listeners(signal)).toBe(1)
      await vi.advanceTimersByTimeAsync(100)
      expect(call.state).toBe('rejected')
      expect(listeners(signal)).toBe(0)
    })

    it('has one listener at most through 10,000 calls, and none after them', async () => {
      const { signal } = new AbortController()
      const added = vi.spyOn(signal, 'addEventListener')
      let most = 0
      const ask = stack(async (n: number) => {
        most = Math.max(most, listeners(signal))
        return n
      }, spy())
      for (let i = 0; i < 10_000; i++) await ask(i, { signal })
      expect(most).toBe(1)
      expect(listeners(signal)).toBe(0)
      expect(added.mock.calls.length).toBeLessThanOrEqual(10_000)
    })

    it('has one listener for 50 calls at a time, without a warning', async () => {
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
      expect(listeners(signal)).toBe(1)
      answers.open()
      expect(await Promise.all(calls)).toHaveLength(50)
      expect(listeners(signal)).toBe(1)
      for (const stream of streams) await collect(stream)
      expect(listeners(signal)).toBe(0)
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
      await flush()
      expect(calls.every(({ error }) => error === 'all')).toBe(true)
      expect(listeners(controller.signal)).toBe(0)
    })

    it('may be one of another realm', async () => {
      const { signal } = new AbortController()
      const like = {
        aborted: false,
        reason: undefined,
        addEventListener: signal.addEventListener.bind(signal),
        removeEventListener: signal.removeEventListener.bind(signal),
      }
      expect(await stack(async () => 1)(undefined, { signal: like as never })).toBe(1)
      expect(listeners(signal)).toBe(0)
    })

    it('is not heard once the answer has been given', async () => {
      const controller = new AbortController()
      const probe = spy()
      expect(await stack(async () => 1, probe)(undefined, { signal: controller.signal })).toBe(1)
      controller.abort('late')
      expect(probe.context.cancel.aborted).toBe(false)
    })
  })

  describe('a stream that nobody reads', () => {
    it('ends with TIMEOUT in phase read after the unreadMs of its base', async () => {
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

    it('ends too when it is a layer that made it', async () => {
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
      await flush()
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
      await flush()
      expect(closed.state).toBe('pending')
      works[1]?.open()
      await Promise.all(calls)
      await flush()
      expect(closed.state).toBe('resolved')
    })

    it('is done at once when nothing runs', async () => {
      await stack(async () => 1).close()
      const used = stack(async () => 1)
      await used()
      await used.close()
    })

    it('cuts what is left after timeoutMs with CLOSED', async () => {
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

    it('cuts after 30 s when nothing is said', async () => {
      const ask = stack(heeding)
      const call = watch(ask('x'))
      const closed = ask.close()
      await vi.advanceTimersByTimeAsync(30_000)
      expect(call.error).toMatchObject({ code: 'CLOSED' })
      await closed
    })

    it('waits for a cut call that ignores it a little, and not for ever', async () => {
      const ask = stack(() => never())
      const call = watch(ask('x'))
      const closed = watch(ask.close({ timeoutMs: 0 }))
      await vi.advanceTimersByTimeAsync(1)
      expect(call.error).toMatchObject({ code: 'CLOSED' })
      expect(closed.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1000)
      expect(closed.state).toBe('resolved')
    })

    it('gives the same promise again, by whatever way', async () => {
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
      await flush()
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
    ])('is done when a stream ends by %s', async (_, leave) => {
      const ask = stack(numbers)
      const stream = await ask(5)
      const closed = watch(ask.close())
      await leave(stream).catch(() => {})
      await flush()
      expect(closed.state).toBe('resolved')
    })

    it('cuts a stream with CLOSED', async () => {
      const ask = stack(stalling)
      const stream = await ask(1)
      await stream.next()
      const waiting = watch(stream.next())
      const closed = watch(ask.close({ timeoutMs: 100 }))
      await vi.advanceTimersByTimeAsync(100)
      expect(waiting.error).toMatchObject({ code: 'CLOSED', refused: false })
      expect(closed.state).toBe('resolved')
    })

    it('tells what only waits at once, through context.closing', async () => {
      const waiting = defineLayer({
        name: 'queue',
        wrap: () => (_, context) => new Promise((_, reject) => context.closing.onAbort(reject)),
      })
      const ask = stack(async () => 1, waiting)
      const calls = Array.from({ length: 50 }, () => watch(ask()))
      const closed = watch(ask.close())
      await flush()
      for (const call of calls) expect(call.error).toMatchObject({ code: 'CLOSED', refused: true })
      expect(closed.state).toBe('resolved')
    })

    it('drains the layers at once and closes them when nothing runs any more', async () => {
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
      await flush()
      expect(closed.state).toBe('pending')
      slow.open()
      await flush()
      expect(closed.state).toBe('resolved')
    })

    it('closes the other layers although one fails, and rejects with what that threw', async () => {
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

    it('refuses a layer that was closed with its last stack, unless it holds nothing', async () => {
      const closing = defineLayer({ name: 'closing', wrap: (next) => next, close: () => {} })
      const free = defineLayer({ name: 'free', wrap: (next) => next })
      await stack(async () => 1, closing, free).close()
      expect(() => stack(async () => 1, closing)).toThrow(
        'closing layer was closed with its last stack',
      )
      expect(await stack(async () => 1, free)()).toBe(1)
    })

    it('closes a layer of two stacks with the last of them', async () => {
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

    it('does not cut the calls of another stack with the same layer', async () => {
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
      await flush()
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

    it('is what await using calls', async () => {
      let ask: (() => Promise<number>) | undefined
      {
        await using inner = stack(async () => 1)
        ask = inner
        expect(await ask()).toBe(1)
      }
      expect(await failure(ask())).toMatchObject({ code: 'CLOSED' })
    })
  })

  describe('with a stack for its base', () => {
    it('hands the call inward: deadline, notes, priority, tenant, cache mode, transport', async () => {
      const inner = spy('inner')
      const outer = spy('outer')
      const transporting = defineLayer({
        name: 'pool',
        wrap: (next) => (request, context) => {
          context.meta.set('pool', 'chosen')
          return next(
            request,
            context.derive({ transport: { member: 3 }, deadline: context.deadline - 10 }),
          )
        },
      })
      const ask = stack(
        stack(async () => 1, inner),
        outer,
        transporting,
      )
      const meta = new Map()
      await ask(undefined, { meta, timeoutMs: 100, priority: 7, tenant: 'acme', cache: 'no-store' })
      expect(inner.context).toMatchObject({
        priority: 7,
        tenant: 'acme',
        cache: 'no-store',
        transport: { member: 3 },
      })
      expect(remaining(inner.context)).toBe(90)
      expect(inner.context.meta).toBe(meta)
      expect(meta.get('pool')).toBe('chosen')
    })

    it('hands cancellation inward and takes it off again', async () => {
      const inner = spy('inner')
      const controller = new AbortController()
      const ask = stack(stack(heeding, inner), spy('outer'))
      const call = ask('x', { signal: controller.signal })
      controller.abort('gone')
      expect(await failure(call)).toBe('gone')
      expect(inner.context.signal.reason).toBe('gone')

      const outer = spy('outer')
      await stack(
        stack(async () => 1),
        outer,
      )()
      expect(outer.context.cancel.watched).toBe(false)
      outer.context.cancel.abort('late')
      expect(listeners(controller.signal)).toBe(0)
    })

    it('keeps an inner scope that cuts only the inner call', async () => {
      const cutting = defineLayer({
        name: 'cut',
        wrap: (next) => async (request, context) => {
          const scope = abortScope(context)
          const work = scope.race(next(request, context.derive({ cancel: scope })))
          scope.abort('cut')
          return work.catch((reason: unknown) => `saw ${reason}`).finally(() => scope.dispose())
        },
      })
      const inner = spy('inner')
      const ask = stack(stack(heeding, inner), cutting)
      expect(await ask('x')).toBe('saw cut')
      expect(inner.context.cancel.reason).toBe('cut')
    })

    it('passes streams through as one', async () => {
      const ask = stack(stack(numbers, spy('inner')), spy('outer'))
      const stream = await ask(3, { timeoutMs: 100 })
      expect(await collect(stream)).toEqual([0, 1, 2])
      await ask.close()
    })

    it('rejects with CLOSED of the inner stack when that is closed', async () => {
      const inner = stack(async () => 1)
      const ask = stack(inner)
      await inner.close()
      expect(await failure(ask())).toMatchObject({ code: 'CLOSED' })
      await ask.close()
    })
  })

  describe('the surroundings of a call', () => {
    it('keeps the async context of its caller', async () => {
      const storage = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      const looking = defineLayer({
        name: 'look',
        wrap: (next) => async (request, context) => {
          seen.push(storage.getStore())
          const answer = await next(request, context)
          seen.push(storage.getStore())
          return onEnd(answer, () => seen.push(storage.getStore()))
        },
      })
      const ask = stack(async () => seen.push(storage.getStore()), looking)
      await Promise.all(['a', 'b'].map((name) => storage.run(name, () => ask())))
      expect(seen.filter((name) => name === 'a')).toHaveLength(4)
      expect(seen.filter((name) => name === 'b')).toHaveLength(4)
      expect(seen).toHaveLength(8)
    })

    it('keeps it through a stream', async () => {
      const storage = new AsyncLocalStorage<string>()
      const ask = stack(async function* () {
        for (let i = 0; i < 3; i++) yield storage.getStore()
      })
      const read = (name: string) => storage.run(name, async () => collect(await ask()))
      expect(await Promise.all([read('a'), read('b')])).toEqual([
        ['a', 'a', 'a'],
        ['b', 'b', 'b'],
      ])
    })

    it('gets no unhandled rejection, whatever fails unheard', async () => {
      vi.useRealTimers()
      const unhandled = vi.fn()
      process.on('unhandledRejection', unhandled)
      const late = gate<never>()
      const controller = new AbortController()
      const { signal } = controller
      const error = new Error('unheard')
      const calls = [
        stack(() => late.promise)('x', { signal }),
        stack(numbers)(3, { signal }),
        stack(() => breaking(1, error))('x', {}),
        stack(base(() => breaking(1, error), { commits: () => false }))('x', {}),
      ].map((call) => call.catch(() => {}))
      await turn()
      controller.abort('gone')
      late.fail(error)
      await Promise.all(calls)
      await turn()
      process.off('unhandledRejection', unhandled)
      expect(unhandled).not.toHaveBeenCalled()
      vi.useFakeTimers()
    })
  })
})
