import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  collect,
  composeStack,
  defineLayer,
  type Handler,
  type LayerOf,
  onEnd,
  stack,
} from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { spy, traced } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { numbers } from '../../../support/streams.js'
import { catchWarnings } from '../../../support/warnings.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

const config = (message: string) =>
  expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(message) })

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

    it('calls the base with nothing but the request', async () => {
      const answer = scripted('answer')
      const request = { any: 'request' }
      expect(await stack(answer)(request as never)).toBe('answer')
      expect(answer.calls[0]?.request).toBe(request)
    })

    it('accepts plain functions as layers', async () => {
      const twice: LayerOf<number, number> = (next) => async (request, context) =>
        2 * (await next(request, context))
      const plus: LayerOf<number, number> = (next) => (request, context) =>
        next(request + 1, context)
      expect(await stack(async (n: number) => n, twice, plus)(5)).toBe(12)
      expect(await stack(async (n: number) => n * n, plus, twice)(5)).toBe(72)
    })

    it('reports the end of a stream to the innermost layer first', async () => {
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

    it('composes groups with the last one added outermost', async () => {
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
    it('numbers equal names in the order they are added', () => {
      const ask = stack(async () => 1, spy('timeout'), spy('retry'), spy('timeout'), spy('timeout'))
      expect(Object.keys(ask.stats())).toEqual(['timeout', 'retry', 'timeout2', 'timeout3'])
      expect(ask.describe().map(({ name }) => name)).toEqual([
        'timeout',
        'retry',
        'timeout2',
        'timeout3',
      ])
    })

    it('skips numbers that are already taken', () => {
      const ask = stack(async () => 1, spy('timeout2'), spy('timeout'), spy('timeout'))
      expect(Object.keys(ask.stats())).toEqual(['timeout2', 'timeout', 'timeout3'])
    })

    it('names a plain function after itself, or "layer", and gives it no stats', () => {
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
    it('give the live stats of the layers, outermost first', async () => {
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

    it('note an odd order of layers, and warn of it once', () => {
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

    it('note nothing for a good order or for unknown kinds', () => {
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

  describe('mistakes in building it', () => {
    it.each([
      [
        'a base that is no function',
        () => stack('ask' as never),
        'the first argument must be a function',
      ],
      ['a missing base', () => stack(undefined as never), 'the first argument must be a function'],
      [
        'a layer that is no function',
        () => stack(async () => 1, { name: 'retry' } as never),
        'a layer must be a function, such as retry() returns, got an object.',
      ],
      [
        'a missing layer',
        () => stack(async () => 1, undefined as never),
        'a layer must be a function, such as retry() returns, got undefined.',
      ],
      [
        'a list of layers that is not spread',
        () => stack(async () => 1, [spy('retry')] as never),
        'got an array. Spread a list of layers: stack(fn, ...layers).',
      ],
      [
        'a factory that is not called',
        () => stack(async () => 1, queue as never),
        'queue: options must be an object, got a function. To pass the layer itself, call it: queue().',
      ],
      [
        'a layer that gives no handler',
        () => stack(async () => 1, function plain() {} as never),
        'stack: the plain layer must return a handler, a function (request, context).',
      ],
      [
        'a layer without a name that gives no handler',
        () => stack(async () => 1, ...([spy(), () => 5] as never[])),
        'stack: the unnamed layer (layer) must return a handler, a function (request, context).',
      ],
    ])('refuses %s', (_, make, message) => {
      expect(make).toThrow(config(message))
    })

    it('refuses the same layer listed twice, and names it', () => {
      const layer = spy('retry')
      expect(() => stack(async () => 1, layer, spy(), layer)).toThrow(
        config('the same retry layer is listed twice'),
      )
      const unnamed = [(next: never) => next][0] as never
      expect(() => stack(async () => 1, unnamed, unnamed)).toThrow(
        config('the same unnamed layer is listed twice'),
      )
    })

    it('throws the error of a layer that throws while wrapping', () => {
      const error = new Error('wrap')
      const broken = () => {
        throw error
      }
      expect(() => stack(async () => 1, broken)).toThrow(error)
    })
  })
})
