import fc from 'fast-check'
import { AbortError } from 'p-retry'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type CallOptions,
  ClosedError,
  ConfigError,
  type Context,
  collect,
  QueueFullError,
  RateLimitError,
  stack,
  TimeoutError,
  ValidationError,
} from '../../../../src/core/index.js'
import { type RetryOptions, retry } from '../../../../src/layers/retry/index.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
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

beforeEach(() => {
  vi.useFakeTimers()
  runs.count = 0
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
const server = (options = {}) => upstreamError('SERVER', options)
const busy = (retryAfter?: number) => upstreamError('RATE_LIMITED', { retryAfter })

/**
 * A stack that fails with `error` and its number of calls; the backoff is drawn as half of what it
 * may be.
 */
function failing(error: unknown, options: RetryOptions = {}) {
  const base = scripted<string>(() => Promise.reject(error))
  const ask = stack(base, retry({ random: () => 0.5, ...options }))
  return { ask, base, calls: () => base.calls.length }
}

/** Lets a call run until it settles, over at most `ms`. */
async function settle<T>(promise: Promise<T>, ms = 60_000) {
  const call = watch(promise)
  await tick(ms)
  return call
}

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

    it.each([
      'AUTH',
      'PAYMENT',
      'FORBIDDEN',
      'NOT_FOUND',
      'BAD_REQUEST',
      'TOO_LARGE',
      'STREAM',
    ] as const)('does not repeat %s', async (code) => {
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

    it.each([
      new QueueFullError(1, { retryAfter: 5 }),
      new RateLimitError('our own limit', { refused: true, retryAfter: 5 }),
      upstreamError('SERVER', { refused: true }),
      new ClosedError(),
      new ValidationError('wrong'),
      new ConfigError('wrong'),
    ])('does not repeat what was refused before it ran: $name', async (error) => {
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

  describe('when and onRetry', () => {
    it('lets when decide instead of the default rule', async () => {
      const when = vi.fn((error: unknown) => (error as { code: string }).code === 'BAD_REQUEST')
      const wrong = failing(upstreamError('BAD_REQUEST'), { when })
      await settle(wrong.ask('x'))
      expect(wrong.calls()).toBe(3)
      const down = failing(server(), { when })
      await settle(down.ask('x'))
      expect(down.calls()).toBe(1)
    })

    it('tells when which attempt has failed, from 1', async () => {
      const attempts: number[] = []
      const { ask } = failing(server(), {
        retries: 3,
        when: (_, attempt) => {
          attempts.push(attempt)
          return attempt < 3
        },
      })
      await settle(ask('x'))
      expect(attempts).toEqual([1, 2, 3])
    })

    it("does not ask when about the caller's abort", async () => {
      const when = vi.fn(() => true)
      const caller = new AbortController()
      const base = scripted<string>((_, { signal }) => {
        caller.abort('enough')
        return Promise.reject(signal.reason)
      })
      expect(await failure(stack(base, retry({ when }))('x', { signal: caller.signal }))).toBe(
        'enough',
      )
      await tick(60_000)
      expect(when).not.toHaveBeenCalled()
      expect(base.calls).toHaveLength(1)
    })

    it('goes by the default rule when when throws, with a warning', async () => {
      const said = catchWarnings()
      const down = failing(server(), {
        when: () => {
          throw named('WhenIsBroken')
        },
      })
      await settle(down.ask('x'))
      expect(down.calls()).toBe(3)
      expect(said.join()).toContain('WhenIsBroken')
    })

    it('tells onRetry of each wait before it begins', async () => {
      const told: unknown[] = []
      const error = server()
      const { ask } = failing(error, { onRetry: (retry) => told.push(retry) })
      await settle(ask('x'))
      expect(told).toEqual([
        { error, attempt: 1, delayMs: 250 },
        { error, attempt: 2, delayMs: 500 },
      ])
    })

    it.each([
      [
        'throws',
        () => {
          throw named('OnRetryIsBroken')
        },
        'OnRetryIsBroken',
      ],
      ['rejects', () => Promise.reject(named('OnRetryRejects')), 'OnRetryRejects'],
    ])('goes on when onRetry %s, with a warning', async (_, onRetry, word) => {
      const said = catchWarnings()
      const base = scripted<string>(server(), 'ok')
      const call = await settle(stack(base, retry({ onRetry }))('x'))
      expect(call.value).toBe('ok')
      expect(said.join()).toContain(word)
    })
  })

  describe('the backoff', () => {
    /** The time between the calls of one that fails for ever. */
    async function gapsOf(options: RetryOptions, error: unknown = server()): Promise<number[]> {
      const at: number[] = []
      const ask = stack(
        async () => {
          at.push(performance.now())
          throw error
        },
        retry({ budget: false, ...options }),
      )
      await settle(ask(), 10 * 60_000)
      return at.slice(1).map((moment, i) => moment - at[i]!)
    }

    it('doubles from 0.5 s to a cap of 8 s', async () => {
      const gaps = await gapsOf({ retries: 7, random: () => 1 })
      expect(gaps).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000])
    })

    it('takes its own bounds', async () => {
      expect(await gapsOf({ retries: 4, minDelayMs: 10, maxDelayMs: 30, random: () => 1 })).toEqual(
        [10, 20, 30, 30],
      )
    })

    it('lies between 0 and the cap, reaches towards it, and differs from time to time', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 500 }),
          fc.integer({ min: 1, max: 4_000 }),
          async (minDelayMs, maxDelayMs) => {
            const gaps = await gapsOf({ retries: 20, minDelayMs, maxDelayMs })
            expect(gaps).toHaveLength(20)
            for (const [i, gap] of gaps.entries()) {
              expect(gap).toBeGreaterThanOrEqual(0)
              expect(gap).toBeLessThanOrEqual(Math.min(maxDelayMs, minDelayMs * 2 ** i))
            }
            if (maxDelayMs >= 500) {
              expect(new Set(gaps).size).toBeGreaterThanOrEqual(5)
              expect(Math.max(...gaps)).toBeGreaterThan(maxDelayMs / 4)
            }
          },
        ),
        { numRuns: 30 },
      )
    })

    it('keeps waiting calls apart that failed at the same moment', async () => {
      const at: number[] = []
      const ask = stack(
        scripted<string>(() => {
          at.push(performance.now())
          return Promise.reject(server())
        }),
        retry({ retries: 1, budget: false }),
      )
      const calls = Array.from({ length: 20 }, () => watch(ask('x')))
      await tick(500)
      expect(calls.every(({ state }) => state === 'rejected')).toBe(true)
      expect(new Set(at.slice(20)).size).toBeGreaterThanOrEqual(5)
    })
  })

  describe('the wait that upstream asks for', () => {
    it('is kept, and spread over the first backoff beyond it', async () => {
      const base = scripted<string>(busy(2_000), 'ok')
      const call = watch(stack(base, retry({ random: () => 0.5 }))('x'))
      await tick(2_249)
      expect(base.calls).toHaveLength(1)
      await tick(1)
      expect(call.value).toBe('ok')
    })

    it('is never shortened, not even with the least draw', async () => {
      const base = scripted<string>(busy(2_000), 'ok')
      const call = watch(stack(base, retry({ random: () => 0 }))('x'))
      await tick(1_999)
      expect(base.calls).toHaveLength(1)
      await tick(1)
      expect(call.value).toBe('ok')
    })

    it('is kept on errors of any code', async () => {
      const base = scripted<string>(server({ retryAfter: 3_000 }), 'ok')
      const call = watch(stack(base, retry({ random: () => 0 }))('x'))
      await tick(2_999)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.value).toBe('ok')
    })

    it('fails the call at once when it is longer than maxRetryAfterMs', async () => {
      const error = busy(60_001)
      const { ask, calls } = failing(error)
      expect(await failure(ask('x'))).toBe(error)
      expect(calls()).toBe(1)
      expect(ask.stats().retry).toEqual({ retries: 0, exhausted: 0, refused: 1 })
    })

    it('is kept up to maxRetryAfterMs', async () => {
      const base = scripted<string>(busy(60_000), 'ok')
      expect((await settle(stack(base, retry())('x'), 61_000)).value).toBe('ok')
    })

    it.each([0, -5, Number.NaN, undefined])(
      'gives way to the own backoff when it is %s',
      async (retryAfter) => {
        const base = scripted<string>(busy(retryAfter), 'ok')
        const call = watch(stack(base, retry({ random: () => 0.5 }))('x'))
        await tick(249)
        expect(base.calls).toHaveLength(1)
        await tick(1)
        expect(call.value).toBe('ok')
      },
    )

    it.each([2 ** 31, 1e12, Number.POSITIVE_INFINITY])(
      'of %d ms fails at once and sets no timer',
      async (retryAfter) => {
        const { ask, calls } = failing(busy(retryAfter))
        await failure(ask('x'))
        expect(calls()).toBe(1)
      },
    )

    it('may be longer than a Node timer when it is allowed to', async () => {
      const month = 30 * 24 * 3_600_000
      const base = scripted<string>(busy(month), 'ok')
      const call = watch(stack(base, retry({ maxRetryAfterMs: 2 * month }))('x'))
      await tick(month - 1)
      expect(base.calls).toHaveLength(1)
      await tick(1_000)
      expect(call.value).toBe('ok')
    })
  })

  describe('the deadline', () => {
    it('fails the call at once when the backoff would outlast it', async () => {
      const error = server()
      const { ask, calls } = failing(error)
      expect(await failure(ask('x', { timeoutMs: 200 }))).toBe(error)
      expect(performance.now()).toBe(0)
      expect(calls()).toBe(1)
      expect(ask.stats().retry.refused).toBe(1)
    })

    it('fails the call at once when the wait asked for would outlast it', async () => {
      const error = busy(2_000)
      const { ask, calls } = failing(error)
      expect(await failure(ask('x', { timeoutMs: 2_000 }))).toBe(error)
      expect(calls()).toBe(1)
    })

    it('lets a retry begin that fits', async () => {
      const base = scripted<string>(server(), 'ok')
      expect(
        (await settle(stack(base, retry({ random: () => 0.5 }))('x', { timeoutMs: 251 }))).value,
      ).toBe('ok')
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

    it('is no retry that was refused or exhausted', async () => {
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

  describe('the budget', () => {
    /** Fails this many calls and tells how many attempts were made in all. */
    async function outage(
      calls: number,
      options: RetryOptions = {},
      error: unknown = server(),
      together = false,
    ) {
      const { ask, calls: made } = failing(error, options)
      if (together)
        await settle(Promise.allSettled(Array.from({ length: calls }, () => ask('x'))), 5_000)
      else
        for (let i = 0; i < calls; i++) {
          const call = watch(ask('x'))
          await tick(0)
          while (call.state === 'pending') await tick(1)
        }
      return { made: made(), stats: ask.stats().retry }
    }

    it('allows 10 and 20 % of the calls of all together', async () => {
      const { made, stats } = await outage(200, {}, server(), true)
      expect(made).toBe(200 + 10 + 40)
      expect(stats.retries).toBe(50)
      expect(stats.refused).toBeGreaterThan(0)
    })

    it('allows 10 and 20 % of the calls one after the other', async () => {
      const { made } = await outage(50, { minDelayMs: 0 })
      expect(made).toBe(50 + 10 + 10)
    })

    it('counts calls that still run', async () => {
      let first = true
      const ask = stack(
        (_: string, { signal }) => {
          if (first)
            return new Promise<never>((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(signal.reason)),
            )
          return Promise.reject(server())
        },
        retry({ retries: 1, budget: { floor: 0, ratio: 0.1 }, random: () => 0 }),
      )
      const caller = new AbortController()
      const long = Array.from({ length: 20 }, () => watch(ask('x', { signal: caller.signal })))
      await tick(60_000)
      first = false
      await settle(Promise.allSettled([1, 2, 3].map(() => ask('x'))))
      expect(ask.stats().retry).toMatchObject({ retries: 2, refused: 1 })
      caller.abort()
      await tick()
      expect(long.every(({ state }) => state === 'rejected')).toBe(true)
    })

    it('counts a stream as running until its end', async () => {
      let streaming = true
      const ask = stack(
        async (_: string): Promise<AsyncGenerator<number>> => {
          if (streaming) return numbers(2)
          throw server()
        },
        retry({ retries: 1, budget: { floor: 0, ratio: 0.5, windowMs: 1_000 }, random: () => 0 }),
      )
      const stream = await ask('x')
      await stream.next()
      streaming = false
      await tick(5_000)
      // Two calls, the one that runs and the one that fails: half of them may be repeated.
      await settle(ask('x'), 10)
      expect(ask.stats().retry.retries).toBe(1)
      await stream.return(undefined)
      await tick(5_000)
      await settle(ask('x'), 10)
      expect(ask.stats().retry.retries).toBe(1)
    })

    it('grows back when the window has passed', async () => {
      const { ask, calls } = failing(server(), {
        retries: 1,
        budget: { ratio: 0, floor: 2, windowMs: 1_000 },
        random: () => 0,
      })
      for (let i = 0; i < 4; i++) await settle(ask('x'), 0)
      expect(calls()).toBe(6)
      await tick(1_000)
      for (let i = 0; i < 4; i++) await settle(ask('x'), 0)
      expect(calls()).toBe(12)
    })

    it('does not weigh waits that upstream asked for', async () => {
      const { made, stats } = await outage(50, { retries: 1, minDelayMs: 0 }, busy(10), true)
      expect(made).toBe(100)
      expect(stats).toEqual({ retries: 50, exhausted: 50, refused: 0 })
    })

    it('belongs to the layer: stacks that share it share the budget', async () => {
      const layer = retry({ retries: 1, budget: { ratio: 0, floor: 3 }, random: () => 0 })
      const base = scripted<string>(server())
      const one = stack(base, layer)
      const other = stack(base, layer)
      for (let i = 0; i < 5; i++) {
        await settle(one('x'), 0)
        await settle(other('x'), 0)
      }
      expect(base.calls).toHaveLength(10 + 3)
    })

    it('can be switched off', async () => {
      const { made } = await outage(100, { budget: false }, server(), true)
      expect(made).toBe(300)
    })

    it('never lets all calls together make more than its share, for any pattern of arrivals and failures', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              wait: fc.integer({ min: 0, max: 400 }),
              fails: fc.integer({ min: 0, max: 4 }),
            }),
            { maxLength: 80 },
          ),
          fc.integer({ min: 0, max: 5 }),
          fc.integer({ min: 0, max: 100 }),
          async (calls, floor, percent) => {
            let made = 0
            const ask = stack(
              async (request: { left: number }) => {
                made++
                if (request.left-- > 0) throw server()
              },
              // The window is longer than the run, so that it holds all of it.
              retry({ budget: { floor, ratio: percent / 100, windowMs: 10 * 60_000 } }),
            )
            const running: Promise<unknown>[] = []
            for (const { wait, fails } of calls) {
              await tick(wait)
              running.push(failureOrValue(ask({ left: fails })))
            }
            await tick(60_000)
            await Promise.all(running)
            expect(made - calls.length).toBeLessThanOrEqual(floor + (percent / 100) * calls.length)
            expect(ask.stats().retry.retries).toBe(made - calls.length)
          },
        ),
        { numRuns: 30 },
      )
    })
  })

  describe('stats', () => {
    it('count retries, exhausted calls and refused retries', async () => {
      const { ask } = failing(server())
      await settle(ask('x'))
      expect(ask.stats().retry).toEqual({ retries: 2, exhausted: 1, refused: 0 })
    })

    it('do not call a call exhausted that ended with what is never repeated', async () => {
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

  it('repeats as often as it is told to, however often that is', async () => {
    let calls = 0
    const ask = stack(
      async () => (++calls > 300 ? 'well' : Promise.reject(new Error('down'))),
      retry({ retries: Number.MAX_SAFE_INTEGER, minDelayMs: 0, budget: false }),
    )
    const call = watch(ask())
    await tick(2_000)
    expect([call.value, calls]).toEqual(['well', 301])
  })

  it('repeats whatever `when` says: an AbortError of p-retry, a programming mistake', async () => {
    const aborted = new AbortError('on purpose')
    const mistake = new TypeError('x is not a function')
    for (const error of [aborted, mistake]) {
      let calls = 0
      const ask = stack(
        async () => {
          calls++
          throw error
        },
        retry({ retries: 2, minDelayMs: 0, when: () => true }),
      )
      const call = watch(ask())
      await tick(10)
      expect(call.error).toBe(error)
      expect(calls).toBe(3)
    }
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
      expect(() => retry(options as never)).toThrow(
        expect.objectContaining({
          code: 'CONFIG',
          layer: 'retry',
          message: expect.stringContaining(words),
        }),
      )
    })
  })

  it('says so when it is placed inside a queue or a pool', () => {
    expect(retry().hooks.outside).toMatchObject({
      queue: expect.any(String),
      pool: expect.any(String),
    })
  })
})

async function failureOrValue(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    return error
  }
}
