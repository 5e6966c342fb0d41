import { beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Context, collect, stack } from '../../../../src/core/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { configError } from '../../../support/config-error.js'
import { failing, server, settle } from '../../../support/failing.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

const runs = vi.hoisted(() => ({ count: 0 }))

vi.mock('p-retry', async (original) => {
  const real = await original<typeof import('p-retry')>()
  return {
    ...real,
    default: ((...args: Parameters<typeof real.default>) => {
      runs.count++
      return real.default(...args)
    }) as typeof real.default,
  }
})

useFakeTimers()

beforeEach(() => {
  runs.count = 0
})

describe('retry', () => {
  describe('the attempts', () => {
    it('gives the answer of the first that succeeds', async () => {
      const base = scripted<string>(server(), server(), 'third')
      const call = await settle(stack(base, retry())('x'))
      expect(call.value).toBe('third')
      expect(base.calls).toHaveLength(3)
    })

    it('throws the last failure, not the first', async () => {
      const last = upstreamError('NETWORK')
      const base = scripted<string>(server(), server(), last)
      expect((await settle(stack(base, retry())('x'))).error).toBe(last)
    })

    it.each([0, 1, 2, 5])('makes %d retries at most when told so', async (retries) => {
      const { ask, calls } = failing(server(), { retries })
      await settle(ask('x'))
      expect(calls()).toBe(retries + 1)
      expect(ask.stats().retry.retries).toBe(retries)
    })

    it('sends the same request object again', async () => {
      const request = Object.freeze({ prompt: 'x' })
      const base = scripted<string, typeof request>(server(), server(), 'ok')
      await settle(stack(base, retry())(request))
      expect(base.calls.map((call) => call.request)).toEqual([request, request, request])
      for (const call of base.calls) expect(call.request).toBe(request)
    })

    it('gives each attempt the same context, so that a layer further in knows of the ones before', async () => {
      const seen: unknown[] = []
      const base = async (_: string, context: Context) => {
        seen.push(context.meta.get('note'))
        context.meta.set('note', seen.length)
        throw server()
      }
      await settle(stack(base, retry())('x'))
      expect(seen).toEqual([undefined, 1, 2])
    })

    it('notes the attempts made in meta, under its name', async () => {
      const meta = new Map<string, unknown>()
      const base = scripted<string>(server(), 'ok')
      await settle(stack(base, retry({ name: 'again' }))('x', { meta }))
      expect(meta.get('again')).toEqual({ attempts: 2 })
    })

    it('enters p-retry only when the first attempt has failed in a way that could be repeated', async () => {
      const base = scripted<string>('ok', server(), 'ok', server())
      const ask = stack(base, retry())
      await ask('x')
      expect(runs.count).toBe(0)
      await settle(ask('x'))
      expect(runs.count).toBe(1)
      await failure(stack(scripted(server()), retry({ retries: 0 }))('x'))
      expect(runs.count).toBe(1)
    })

    it('runs one attempt at a time', async () => {
      let running = 0
      let most = 0
      const base = async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 100))
        running--
        throw server()
      }
      await settle(stack(base, retry({ retries: 5 }))())
      expect(most).toBe(1)
    })

    it('counts the attempts of stacked retries by their product, and no further', async () => {
      const base = scripted<string>(server())
      await settle(stack(base, retry({ retries: 1 }), retry({ retries: 2 }))('x'))
      expect(base.calls).toHaveLength(6)
    })
  })

  describe('streams', () => {
    it('repeats one that breaks before its commit', async () => {
      const base = scripted<AsyncGenerator<number>>(
        () => breaking(0, server()),
        () => numbers(3),
      )
      const call = await settle(stack(base, retry())('x').then(collect))
      expect(call.value).toEqual([0, 1, 2])
      expect(base.calls).toHaveLength(2)
    })

    it('does not repeat one that breaks after it, and gives its error to the reader', async () => {
      const error = server()
      const base = scripted<AsyncGenerator<number>>(() => breaking(2, error))
      const seen: number[] = []
      const ask = stack(base, retry())
      const read = async () => {
        for await (const chunk of await ask('x')) seen.push(chunk)
      }
      expect(await failure(read())).toBe(error)
      await tick(60_000)
      expect(seen).toEqual([0, 1])
      expect(base.calls).toHaveLength(1)
      expect(ask.stats().retry.retries).toBe(0)
    })
  })

  describe("the caller's abort", () => {
    it('during an attempt makes no further one', async () => {
      const caller = new AbortController()
      const base = scripted<string>(
        (_, { signal }) =>
          new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(server())),
          ),
      )
      const call = watch(stack(base, retry())('x', { signal: caller.signal }))
      await tick(10)
      caller.abort('enough')
      await tick()
      expect(call.error).toBe('enough')
      await tick(60_000)
      expect(base.calls).toHaveLength(1)
    })

    it('during the backoff settles at once, leaves no timer and makes no further call', async () => {
      const caller = new AbortController()
      const { ask, calls } = failing(server())
      const call = watch(ask('x', { signal: caller.signal }))
      await tick(100)
      expect(vi.getTimerCount()).toBe(1)
      caller.abort('enough')
      expect(vi.getTimerCount()).toBe(0)
      await tick()
      expect(call.error).toBe('enough')
      await tick(60_000)
      expect(calls()).toBe(1)
    })

    it('does not count as a refused or exhausted retry', async () => {
      const caller = new AbortController()
      const { ask } = failing(server())
      const call = watch(ask('x', { signal: caller.signal }))
      await tick(100)
      caller.abort('enough')
      await tick()
      expect(call.state).toBe('rejected')
      expect(ask.stats().retry).toEqual({ retries: 0, exhausted: 0, refused: 0 })
    })
  })

  describe('a closing stack', () => {
    it('ends the backoff with the last error', async () => {
      const error = server()
      const { ask, calls } = failing(error)
      const call = watch(ask('x'))
      await tick(100)
      const closed = watch(ask.close())
      await tick()
      expect(call.error).toBe(error)
      expect(closed.state).toBe('resolved')
      expect(calls()).toBe(1)
    })

    it('makes no further attempt of a call that was running', async () => {
      const work = gate<string>()
      const base = scripted<string>(() => work.promise)
      const ask = stack(base, retry())
      const call = watch(ask('x'))
      const closed = watch(ask.close())
      const error = server()
      work.fail(error)
      await tick()
      expect(call.error).toBe(error)
      expect(closed.state).toBe('resolved')
      expect(base.calls).toHaveLength(1)
    })
  })

  describe('stats', () => {
    it('count retries, exhausted calls and refused retries', async () => {
      const { ask } = failing(server())
      await settle(ask('x'))
      expect(ask.stats().retry).toEqual({ retries: 2, exhausted: 1, refused: 0 })
    })

    it('do not count a call as exhausted when it ends with a failure that is never repeated', async () => {
      const base = scripted<string>(server(), server(), upstreamError('BAD_REQUEST'))
      const ask = stack(base, retry())
      await settle(ask('x'))
      expect(ask.stats().retry).toMatchObject({ retries: 2, exhausted: 0 })
    })

    it('do not count a call as exhausted that could never be repeated', async () => {
      const { ask } = failing(server(), { retries: 0 })
      await failure(ask('x'))
      expect(ask.stats().retry).toEqual({ retries: 0, exhausted: 0, refused: 0 })
    })
  })

  it('leaves no timer and no listener when a call is given up in mid-attempt', async () => {
    const ask = stack(never, retry())
    const options: CallOptions = { timeoutMs: 50 }
    const call = watch(ask(undefined, options))
    await tick(50)
    expect(call.error).toMatchObject({ code: 'TIMEOUT' })
  })

  it('repeats as often as configured, however large the number', async () => {
    let calls = 0
    const ask = stack(
      async () => (++calls > 300 ? 'well' : Promise.reject(new Error('down'))),
      retry({ retries: Number.MAX_SAFE_INTEGER, minDelayMs: 0, budget: false }),
    )
    const call = watch(ask())
    await tick(2_000)
    expect([call.value, calls]).toEqual(['well', 301])
  })

  describe('options', () => {
    it.each([
      ['a negative number of retries', { retries: -1 }, '"retries"'],
      ['half a retry', { retries: 1.5 }, '"retries"'],
      ['retries without end', { retries: Number.POSITIVE_INFINITY }, '"retries"'],
      ['retries that are a string', { retries: '2' }, '"retries"'],
      ['a negative minDelayMs', { minDelayMs: -1 }, '"minDelayMs"'],
      ['a maxDelayMs of NaN', { maxDelayMs: Number.NaN }, '"maxDelayMs"'],
      ['a negative maxRetryAfterMs', { maxRetryAfterMs: -1 }, '"maxRetryAfterMs"'],
      ['a budget of true', { budget: true }, '"budget"'],
      ['a ratio above 1', { budget: { ratio: 2 } }, '"ratio"'],
      ['a negative floor', { budget: { floor: -1 } }, '"floor"'],
      ['a window of 0', { budget: { windowMs: 0 } }, '"windowMs"'],
      ['an unknown field of the budget', { budget: { max: 1 } }, '"max"'],
      ['a when that is no function', { when: true }, '"when"'],
      ['an onRetry that is no function', { onRetry: {} }, '"onRetry"'],
      ["p-retry's own options", { minTimeout: 5 }, '"minTimeout"'],
    ])('refuses %s', (_, options, words) => {
      expect(() => retry(options as never)).toThrow(configError(words, 'retry'))
    })
  })

  it('warns when it is placed inside a queue or a pool', () => {
    expect(retry().hooks.outside).toMatchObject({
      queue: expect.any(String),
      pool: expect.any(String),
    })
  })
})
