import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  abortScope,
  base,
  collect,
  defineLayer,
  onEnd,
  remaining,
  stack,
} from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { heeding } from '../../../support/slow.js'
import { breaking, numbers } from '../../../support/streams.js'
import { failure, listenersOf, turn } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('stack', () => {
  describe('with a stack for its base', () => {
    it('passes the call inward: deadline, notes, priority, tenant, cache mode, transport', async () => {
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

    it('passes cancellation inward and removes its listener afterwards', async () => {
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
      expect(listenersOf(controller.signal)).toBe(0)
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

    it('passes a stream through without wrapping it again', async () => {
      const ask = stack(stack(numbers, spy('inner')), spy('outer'))
      const stream = await ask(3, { timeoutMs: 100 })
      expect(await collect(stream)).toEqual([0, 1, 2])
      await ask.close()
    })

    it('rejects with CLOSED from the inner stack when that one is closed', async () => {
      const inner = stack(async () => 1)
      const ask = stack(inner)
      await inner.close()
      expect(await failure(ask())).toMatchObject({ code: 'CLOSED' })
      await ask.close()
    })
  })

  describe('the surroundings of a call', () => {
    it('keep the async context of the caller', async () => {
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

    it('keep the async context of the caller through a stream', async () => {
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

    it('see no unhandled rejection, even when nobody handles a failure', async () => {
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
