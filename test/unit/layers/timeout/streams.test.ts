import { describe, expect, it, vi } from 'vitest'
import { base, collect, type Handler, stack, streamFrom } from '../../../../src/core/index.js'
import { type TimeoutOptions, timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { driven, numbers, stalling } from '../../../support/streams.js'
import { timed, told } from '../../../support/timed.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

/** A stream whose source is the test itself. */
function fed(limits: TimeoutOptions) {
  const source = driven<string>()
  const ask = stack(
    told(true, async () => source.stream),
    timeout(limits),
  )
  return { source, ask }
}

/** Reads a stream, and what has been read of it so far. */
function reading(opening: Promise<AsyncIterable<number>>) {
  const seen: number[] = []
  const read = async () => {
    for await (const chunk of await opening) seen.push(chunk)
  }
  return { seen, call: watch(read()) }
}

describe('timeout', () => {
  describe('around a stream', () => {
    it('runs to the last byte, not to the first', async () => {
      const ask = stack(
        told(true, () => timed(10, 60, 90, 400)),
        timeout({ ms: 100 }),
      )
      const { seen, call } = reading(ask('x'))
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

    it('treats the commit, not the chunks before it, as the first token', async () => {
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
      const { seen, call } = reading(ask('x'))
      await tick(79)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(seen).toEqual([10, 30])
      expect(call.error).toMatchObject({ phase: 'idle', ms: 50, layer: 'timeout' })
      await tick(400)
    })

    it('treats a source that only sends keep-alives as silent', async () => {
      // Heartbeats are comments on the wire and never become chunks: all the layer sees is a source
      // that does not push.
      const { source: heart, ask } = fed({ ms: 1_000, idleMs: 50 })
      heart.stream.log.push('token')
      const call = watch(collect(await ask('x')))
      await tick(50)
      expect(call.error).toMatchObject({ phase: 'idle' })
      expect(heart.stops).toEqual([call.error])
    })

    it('restarts the silence with each chunk', async () => {
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

    it('counts the silence from when the reader asks, however long it was busy before', async () => {
      const { source, ask } = fed({ ms: 10_000, idleMs: 50 })
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
      const { source, ask } = fed({ ms: 100 })
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
})
