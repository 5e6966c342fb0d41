import { afterEach, describe, expect, it, vi } from 'vitest'
import { isStackError, queue, stack, timeout } from '../../../../src/index.js'
import { chaos, chunkSource } from '../../../../src/testing/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { failure, watch } from '../../../support/watch.js'
import { readAll, streams, values } from './spoilt.js'

describe('chaos', () => {
  describe('with time', () => {
    useFakeTimers()
    afterEach(() => expect(vi.getTimerCount()).toBe(0))

    it('hangs until the call is aborted, then frees its slot', async () => {
      const ask = stack(
        async (n: number) => n,
        timeout({ ms: 1_000 }),
        queue({ concurrency: 1 }),
        chaos({ hangRate: 1 }),
      )
      const caller = new AbortController()
      const [late, left] = [watch(ask(1)), watch(ask(2, { signal: caller.signal }))]
      await vi.advanceTimersByTimeAsync(999)
      expect(late.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(isStackError(late.error, 'TIMEOUT')).toBe(true)
      const last = watch(ask(3, { signal: caller.signal }))
      await vi.advanceTimersByTimeAsync(0)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect([left.state, last.error]).toEqual(['rejected', 'gone'])
      expect(ask.stats()).toMatchObject({ queue: { running: 0, waiting: 0 }, chaos: { hung: 2 } })
    })

    it('lets close() cut a call that hangs', async () => {
      const ask = values({ hangRate: 1 })
      const call = watch(ask(1))
      const closed = ask.close({ timeoutMs: 500 })
      await vi.advanceTimersByTimeAsync(500)
      await closed
      expect(isStackError(call.error, 'CLOSED')).toBe(true)
    })

    it('delays calls, including failing ones, by the given time', async () => {
      for (const options of [{}, { failRate: 1 }]) {
        const ask = values({ ...options, delayMs: 100 })
        const call = watch(ask(1))
        await vi.advanceTimersByTimeAsync(99)
        expect(call.state).toBe('pending')
        await vi.advanceTimersByTimeAsync(1)
        expect(call.state).not.toBe('pending')
        expect(ask.stats().chaos.delayed).toBe(1)
      }
    })

    it('draws delays from the whole range and never outside it', async () => {
      const ask = values({ delayMs: [100, 200] })
      const waits: number[] = []
      const calls = Array.from({ length: 200 }, async () => {
        const before = performance.now()
        await ask(1)
        waits.push(performance.now() - before)
      })
      await vi.advanceTimersByTimeAsync(300)
      await Promise.all(calls)
      // Node's timers count whole milliseconds.
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(99)
      expect(Math.min(...waits)).toBeLessThan(110)
      expect(Math.max(...waits)).toBeGreaterThan(190)
      expect(Math.max(...waits)).toBeLessThanOrEqual(201)
    })

    it('ends a delay at the abort', async () => {
      const caller = new AbortController()
      const call = watch(values({ delayMs: 60_000 })(1, { signal: caller.signal }))
      await vi.advanceTimersByTimeAsync(10)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect(call.error).toBe('gone')
    })

    it('slows the chunks of a stream down, each by the time given', async () => {
      const { ask, source, layer } = streams({ chunkDelayMs: 50 }, ['a', 'b', 'c'])
      const read: string[] = []
      const done = (async () => {
        for await (const chunk of await ask(1)) read.push(chunk as string)
      })()
      for (const expected of [[], ['a'], ['a', 'b'], ['a', 'b', 'c']]) {
        await vi.advanceTimersByTimeAsync(
          expected.length === 0 ? 49 : expected.length === 1 ? 1 : 50,
        )
        expect(read).toEqual(expected)
      }
      await done
      expect(layer.stats()).toMatchObject({ slowed: 1, cut: 0, stalled: 0 })
      expect(source.open).toBe(0)
    })

    it('stops the wait for a chunk when the reader leaves or the caller aborts', async () => {
      const { ask, source } = streams({ chunkDelayMs: 50 })
      const left = await ask(1)
      const waiting = watch(left.next())
      await vi.advanceTimersByTimeAsync(10)
      await left.return(undefined)
      await vi.advanceTimersByTimeAsync(0)
      expect(waiting.value).toEqual({ done: true, value: undefined })
      const caller = new AbortController()
      const aborted = watch((await ask(1, { signal: caller.signal })).next())
      await vi.advanceTimersByTimeAsync(10)
      caller.abort('gone')
      await vi.advanceTimersByTimeAsync(0)
      expect(aborted.error).toBe('gone')
      expect(source).toMatchObject({ open: 0, left: 2 })
    })

    it('silences streams after some chunks, until a limit outside cuts them', async () => {
      const source = chunkSource(['a', 'b', 'c'])
      const layers = [
        timeout({ ms: 60_000, idleMs: 1_000 }),
        queue({ concurrency: 1 }),
        chaos({ stallRate: 1, afterChunks: 2 }),
      ] as const
      const ask = stack(() => source, ...layers)
      const read = watch(readAll(await ask()))
      await vi.advanceTimersByTimeAsync(999)
      expect(read.state).toBe('pending')
      await vi.advanceTimersByTimeAsync(1)
      expect(read.value).toMatchObject({
        chunks: ['a', 'b'],
        error: { code: 'TIMEOUT', phase: 'idle' },
      })
      expect(ask.stats()).toMatchObject({ queue: { running: 0 }, chaos: { stalled: 1, cut: 0 } })
      expect(source.open).toBe(0)
    })

    it('ends a spoiled stream that nobody reads', async () => {
      const { ask, source } = streams({ cutRate: 1, afterChunks: 1 })
      const stream = await ask(1)
      await vi.advanceTimersByTimeAsync(30_000)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
      expect(source.open).toBe(0)
    })
  })
})
