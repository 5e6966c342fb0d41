import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type Context,
  collect,
  type Handler,
  stack,
  streamFrom,
} from '../../../src/core/index.js'
import { timeout } from '../../../src/layers/timeout.js'
import { gate, never } from '../../support/gate.js'
import { scripted } from '../../support/scripted.js'
import { driven, numbers, stalling } from '../../support/streams.js'
import { failure, watch } from '../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
const later =
  <T>(ms: number, value: T) =>
  () =>
    new Promise<T>((resolve) => setTimeout(resolve, ms, value))

/** A stream that sends one chunk at each of these moments, counted from the call. */
async function* timed(...moments: number[]) {
  let at = 0
  for (const moment of moments) {
    await later(moment - at, undefined)()
    at = moment
    yield moment
  }
}

/** A base that says of itself whether it streams. */
const told = <A>(streams: boolean | undefined, answer: (context: Context) => A | Promise<A>) =>
  base(async (_: string, context: Context) => answer(context), {
    streams: streams === undefined ? undefined : () => streams,
  })

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

    it('settles even when the work heeds no signal, and drops what comes late', async () => {
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

    it('takes Infinity from a function for no limit', async () => {
      const call = watch(stack(never, timeout({ ms: () => Number.POSITIVE_INFINITY }))())
      await tick(24 * 3_600_000)
      expect(call.state).toBe('pending')
    })

    it('tells the layers inside until when, and only tightens', async () => {
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

    it('lets the tighter of two limits fire, and the other see a failure like any', async () => {
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

  describe('around a stream', () => {
    it('runs to the last byte, not to the first', async () => {
      const ask = stack(
        told(true, () => timed(10, 60, 90, 400)),
        timeout({ ms: 100 }),
      )
      const seen: number[] = []
      const call = watch(
        (async () => {
          for await (const chunk of await ask('x')) seen.push(chunk)
        })(),
      )
      await tick(99)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(seen).toEqual([10, 60, 90])
      expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'total', ms: 100 })
      expect(ask.stats().timeout.fired).toBe(1)
      // The timer that the source waits for is its own.
      await tick(400)
    })

    it('stops its timer with the last chunk', async () => {
      const ask = stack(
        told(true, () => numbers(3)),
        timeout({ ms: 100, firstTokenMs: 50, idleMs: 20 }),
      )
      expect(await collect(await ask('x'))).toEqual([0, 1, 2])
      expect(vi.getTimerCount()).toBe(0)
    })

    it('stops its timers when the reader leaves early', async () => {
      const ask = stack(
        told(true, () => numbers(3)),
        timeout({ ms: 100, idleMs: 20 }),
      )
      for await (const _ of await ask('x')) break
      expect(vi.getTimerCount()).toBe(0)
    })

    it('takes the limit of streams when the base says that the request streams', async () => {
      const ask = stack(
        told(true, () => stalling(1)),
        timeout({ ms: 1_000, streamMs: 100 }),
      )
      const call = watch(collect(await ask('x')))
      await tick(100)
      expect(call.error).toMatchObject({ ms: 100, phase: 'total' })
    })

    it('takes ms when the base says that the request does not stream', async () => {
      const call = watch(
        stack(
          told(false, () => never()),
          timeout({ ms: 100, streamMs: 1_000 }),
        )('x'),
      )
      await tick(100)
      expect(call.error).toMatchObject({ ms: 100 })
    })

    it('gives streams as long as values when no streamMs is set', async () => {
      const call = watch(
        stack(
          told(true, () => never<AsyncGenerator<number>>()),
          timeout({ ms: 100 }),
        )('x'),
      )
      await tick(100)
      expect(call.error).toMatchObject({ ms: 100, phase: 'total' })
    })

    it('ends a stream without a first token in time, with its own phase', async () => {
      const ask = stack(
        told(true, () => never<AsyncGenerator<number>>()),
        timeout({ ms: 1_000, firstTokenMs: 50 }),
      )
      const call = watch(ask('x'))
      await tick(49)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({
        code: 'TIMEOUT',
        phase: 'first-token',
        ms: 50,
        layer: 'timeout',
        retryable: true,
      })
    })

    it('takes the commit for the first token, not the chunks before it', async () => {
      const ask = stack(
        base(async (_: string) => timed(10, 20, 30, 80), {
          streams: () => true,
          commits: (chunk) => chunk >= 80,
        }),
        timeout({ ms: 1_000, firstTokenMs: 50 }),
      )
      const call = watch(ask('x'))
      await tick(50)
      expect(call.error).toMatchObject({ phase: 'first-token', ms: 50 })
      await tick(100)
    })

    it('asks nothing more of a stream whose first token was in time', async () => {
      const ask = stack(
        told(true, () => timed(10, 200)),
        timeout({ ms: 1_000, firstTokenMs: 50 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(200)
      expect(call.value).toEqual([10, 200])
    })

    it('lets the first token come at any time when none is asked for', async () => {
      const ask = stack(
        told(true, () => timed(900)),
        timeout({ ms: 1_000 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(900)
      expect(call.value).toEqual([900])
    })

    it('ends a stream that is silent for idleMs while its reader waits', async () => {
      const ask = stack(
        told(true, () => timed(10, 30, 400)),
        timeout({ ms: 1_000, idleMs: 50 }),
      )
      const seen: number[] = []
      const call = watch(
        (async () => {
          for await (const chunk of await ask('x')) seen.push(chunk)
        })(),
      )
      await tick(79)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(seen).toEqual([10, 30])
      expect(call.error).toMatchObject({ phase: 'idle', ms: 50, layer: 'timeout' })
      await tick(400)
    })

    it('takes a source that only keeps the line warm for a silent one', async () => {
      // Heartbeats are comments on the wire and never become chunks: all the layer sees is a source
      // that does not push.
      const heart = driven<string>()
      const ask = stack(
        told(true, async () => heart.stream),
        timeout({ ms: 1_000, idleMs: 50 }),
      )
      heart.stream.log.push('token')
      const call = watch(collect(await ask('x')))
      await tick(50)
      expect(call.error).toMatchObject({ phase: 'idle' })
      expect(heart.stops).toEqual([call.error])
    })

    it('begins the silence anew with each chunk', async () => {
      const ask = stack(
        told(true, () => timed(40, 80, 120, 160, 200)),
        timeout({ ms: 1_000, idleMs: 50 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(200)
      expect(call.value).toHaveLength(5)
    })

    it("does not take a slow reader's time for upstream's silence", async () => {
      const ask = stack(
        told(true, () => numbers(4)),
        timeout({ ms: 10_000, idleMs: 50 }),
      )
      const stream = await ask('x')
      const seen: (number | undefined)[] = []
      for (let i = 0; i < 4; i++) {
        seen.push((await stream.next()).value)
        await tick(500)
      }
      expect(await stream.next()).toEqual({ done: true, value: undefined })
      expect(seen).toEqual([0, 1, 2, 3])
      expect(ask.stats().timeout.fired).toBe(0)
    })

    it('counts the silence from when the reader asks, however long he was busy before', async () => {
      const source = driven<string>()
      const ask = stack(
        told(true, async () => source.stream),
        timeout({ ms: 10_000, idleMs: 50 }),
      )
      source.stream.log.push('first')
      const stream = await ask('x')
      await stream.next()
      await tick(120)
      const call = watch(stream.next())
      await tick(49)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ phase: 'idle' })
    })

    it('fails a stream mid-way with the error, and stops its source', async () => {
      const source = driven<string>()
      const ask = stack(
        told(true, async () => source.stream),
        timeout({ ms: 100 }),
      )
      source.stream.log.push('a')
      const stream = await ask('x')
      expect(await stream.next()).toEqual({ done: false, value: 'a' })
      const call = watch(stream.next())
      await tick(100)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'total' })
      expect(source.stops).toEqual([call.error])
      expect(await stream.next()).toEqual({ done: true, value: undefined })
    })

    it("passes the caller's abort through in mid-stream", async () => {
      const caller = new AbortController()
      const ask = stack(
        told(true, () => stalling(1)),
        timeout({ ms: 100, idleMs: 50 }),
      )
      const stream = await ask('x', { signal: caller.signal })
      await stream.next()
      const call = watch(stream.next())
      caller.abort('enough')
      await tick()
      expect(call.error).toBe('enough')
      expect(vi.getTimerCount()).toBe(0)
      expect(ask.stats().timeout.fired).toBe(0)
    })

    it('cuts a stream that a layer further in has replaced', async () => {
      const other =
        <R, A>(_: Handler<R, A>) =>
        async () =>
          streamFrom(stalling(1)) as A
      const ask = stack(
        told(true, () => numbers(1)),
        timeout({ ms: 100 }),
        other,
      )
      const call = watch(ask('x').then(collect))
      await tick(100)
      expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: 100 })
    })
  })

  describe('when the form of the answer is not known before', () => {
    const limits = { ms: 100, streamMs: 300, firstTokenMs: 200 }

    it('lets the longer limit hold until the form is seen', async () => {
      const call = watch(
        stack(
          told(undefined, () => never()),
          timeout(limits),
        )('x'),
      )
      await tick(299)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ ms: 300, phase: 'total' })
    })

    it('refuses a value that came later than ms', async () => {
      const call = watch(stack(told(undefined, later(150, 'value')), timeout(limits))('x'))
      await tick(150)
      expect(call.error).toMatchObject({ ms: 100, phase: 'total' })
    })

    it('takes a value that came within ms', async () => {
      const call = watch(stack(told(undefined, later(100, 'value')), timeout(limits))('x'))
      await tick(100)
      expect(call.value).toBe('value')
    })

    it("gives a stream its own limit, from the call's start", async () => {
      const ask = stack(
        told(undefined, async () => {
          await later(90, 0)()
          return stalling(1)
        }),
        timeout({ ms: 1_000, streamMs: 200 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(199)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ ms: 200, phase: 'total' })
    })

    it('cuts a stream at once that begins after its limit', async () => {
      const ask = stack(
        told(undefined, later(400, numbers(5))),
        timeout({ ms: 1_000, streamMs: 200 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(401)
      expect(call.error).toMatchObject({ ms: 200, phase: 'total' })
    })

    it('refuses a stream whose first token came too late', async () => {
      const call = watch(stack(told(undefined, later(250, numbers(5))), timeout(limits))('x'))
      await tick(250)
      expect(call.error).toMatchObject({ ms: 200, phase: 'first-token' })
    })

    it('knows that an async generator function streams', async () => {
      const call = watch(stack(() => timed(400), timeout({ ms: 1_000, firstTokenMs: 50 }))())
      const told = watch(
        stack(
          async function* () {
            yield* timed(400)
          },
          timeout({ ms: 1_000, firstTokenMs: 50 }),
        )(),
      )
      await tick(50)
      expect(call.state).toBe('pending')
      expect(told.error).toMatchObject({ phase: 'first-token' })
      await tick(400)
      expect(call.error).toMatchObject({ phase: 'first-token' })
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
    const config = (words: string) =>
      expect.objectContaining({
        code: 'CONFIG',
        layer: 'timeout',
        message: expect.stringContaining(words),
      })

    it.each([
      ['no options', undefined, 'one of ms, streamMs, firstTokenMs or idleMs'],
      [
        'no limit',
        { name: 'attempt', ms: undefined },
        'one of ms, streamMs, firstTokenMs or idleMs',
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
      expect(() => timeout(options as never)).toThrow(config(words))
    })
  })
})
