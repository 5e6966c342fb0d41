import { describe, expect, it, vi } from 'vitest'
import { type Context, collect, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { noteOf } from '../../../support/cached.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { numbers } from '../../../support/streams.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()
catchWarningsInEachTest()

describe('cache', () => {
  describe('staleMs', () => {
    const stale = (ask: (q: string, context: Context) => Promise<unknown>) =>
      stack(ask, cache({ ttlMs: 1_000, staleMs: 1_000 }))

    it('serves an old answer at once and renews it once behind the scenes', async () => {
      const renewal = gate<string>()
      const ask = scripted<string>('old', () => renewal.promise)
      const cached = stale(ask)
      await cached('q')
      await tick(1_500)
      expect(await Promise.all([cached('q'), cached('q'), cached('q')])).toEqual([
        'old',
        'old',
        'old',
      ])
      expect(ask.calls.length).toBe(2)
      expect(cached.stats().cache).toMatchObject({ hits: 3, stale: 3, misses: 1 })
      renewal.open('new')
      await tick()
      expect(await cached('q')).toBe('new')
      expect((await noteOf(cached, 'q'))?.status).toBe('hit')
      expect(ask.calls.length).toBe(2)
    })

    it('keeps the old answer when the renewal fails, and tries again with the next call', async () => {
      const cached = stale(scripted<string>('old', new Error('on purpose'), 'new'))
      await cached('q')
      await tick(1_500)
      expect(await cached('q')).toBe('old')
      await tick()
      expect(await cached('q')).toBe('old')
      await tick()
      expect(await cached('q')).toBe('new')
      expect(cached.stats().cache).toMatchObject({ stale: 2, hits: 3 })
    })

    it('gives up a renewal that hangs, and tries again with the next stale hit', async () => {
      const reasons: unknown[] = []
      const ask = vi.fn(async (_q: string, { cancel }: Context) => {
        if (ask.mock.calls.length !== 2) return ask.mock.calls.length
        return new Promise<never>((_, reject) =>
          cancel.onAbort((reason) => reject(reasons[reasons.push(reason) - 1])),
        )
      })
      const cached = stack(ask, cache({ ttlMs: 1_000, staleMs: 3_600_000 }))
      await cached('q')
      vi.advanceTimersByTime(1_001)
      expect(await cached('q')).toBe(1)
      await tick(299_999)
      expect(reasons).toEqual([])
      await tick(1)
      expect(reasons).toEqual([expect.objectContaining({ code: 'TIMEOUT', layer: 'cache' })])
      expect(await cached('q')).toBe(1)
      await tick()
      expect(await cached('q')).toBe(3)
    })

    it('does not serve an answer beyond ttlMs and staleMs together', async () => {
      const cached = stale(scripted<string>('old', 'new'))
      await cached('q')
      await tick(2_001)
      expect(await cached('q')).toBe('new')
      expect(cached.stats().cache).toMatchObject({ stale: 0, misses: 2 })
    })

    it('renews a stream that is stale by reading it to its end', async () => {
      const lengths = [2, 3]
      const cached = stale(async () => numbers(lengths.shift()!))
      await collect((await cached('q')) as AsyncIterable<number>)
      await tick(1_500)
      expect(await collect((await cached('q')) as AsyncIterable<number>)).toEqual([0, 1])
      await tick()
      expect(await collect((await cached('q')) as AsyncIterable<number>)).toEqual([0, 1, 2])
    })

    it("renews without the caller's signal, deadline or notes, but with the same tenant", async () => {
      const contexts: Context[] = []
      const cached = stale(async (_, context) => {
        contexts.push(context)
        context.meta.set('base', contexts.length)
        return 'answer'
      })
      const meta = new Map<string, unknown>()
      await cached('q', { tenant: 'a' })
      await tick(1_500)
      const caller = new AbortController()
      await cached('q', { signal: caller.signal, timeoutMs: 10, meta, tenant: 'a' })
      caller.abort()
      await tick()
      expect(contexts[1]).toMatchObject({ tenant: 'a', deadline: Number.POSITIVE_INFINITY })
      expect(contexts[1]!.signal.aborted).toBe(false)
      expect([...meta.keys()]).toEqual(['timeline', 'cache'])
    })

    it('lets close() wait for a renewal', async () => {
      const renewal = gate<string>()
      const cached = stale(scripted<string>('old', () => renewal.promise))
      await cached('q')
      await tick(1_500)
      await cached('q')
      const closed = watch(cached.close())
      await tick()
      expect(closed.state).toBe('pending')
      renewal.open('new')
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it('cuts a renewal that outlasts close()', async () => {
      const cut = gate<unknown>()
      const hang = (_: string, { signal }: Context) =>
        new Promise<string>((_, reject) =>
          signal.addEventListener('abort', () => {
            cut.open(signal.reason)
            reject(signal.reason)
          }),
        )
      const cached = stale(scripted<string>('old', hang))
      await cached('q')
      await tick(1_500)
      await cached('q')
      const closed = cached.close({ timeoutMs: 100 })
      await tick(100)
      await closed
      expect(await cut.promise).toMatchObject({ code: 'CLOSED' })
    })

    it('survives a base that throws synchronously while a stale answer is renewed', async () => {
      let asked = 0
      const cached = stale(() => {
        if (asked++ > 0) throw new Error('on purpose')
        return Promise.resolve('old')
      })
      await cached('q')
      await tick(1_500)
      expect(await cached('q')).toBe('old')
    })
  })
})
