import { describe, expect, it, vi } from 'vitest'
import { base, collect, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { counting, noteOf } from '../../../support/cached.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { scripted } from '../../../support/scripted.js'
import { fail } from '../../../support/store.js'
import { numbers } from '../../../support/streams.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure, turn } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

describe('cache', () => {
  describe('hits and misses', () => {
    it('asks once for equal requests and returns the same answer again', async () => {
      const ask = counting()
      const cached = stack(ask, cache())
      expect(await cached({ q: 1 })).toEqual({ n: 1 })
      expect(await cached({ q: 1 })).toEqual({ n: 1 })
      expect(await cached({ q: 2 })).toEqual({ n: 2 })
      expect(cached.stats().cache).toMatchObject({ hits: 1, misses: 2, stale: 0, entries: 2 })
    })

    it.each([undefined, null, '', 0, false, [], {}])(
      'counts %j as an answer that can be hit',
      async (value) => {
        const ask = scripted(value)
        const cached = stack(ask, cache())
        expect(await cached('q')).toEqual(value)
        expect(await cached('q')).toEqual(value)
        expect(ask.calls.length).toBe(1)
      },
    )

    it('does not keep a failure', async () => {
      const error = new Error('on purpose')
      const cached = stack(scripted<string>(error, 'better'), cache())
      expect(await failure(cached('q'))).toBe(error)
      expect(await cached('q')).toBe('better')
      expect(cached.stats().cache).toMatchObject({ hits: 0, misses: 2, entries: 1 })
    })

    it('does not read the cache for a reload, but stores its answer', async () => {
      const cached = stack(counting(), cache())
      await cached('q')
      expect(await cached('q', { cache: 'reload' })).toEqual({ n: 2 })
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('neither reads nor writes for a no-store call, and counts nothing', async () => {
      const cached = stack(counting(), cache())
      await cached('q', { cache: 'no-store' })
      expect(cached.stats().cache).toMatchObject({ hits: 0, misses: 0, entries: 0 })
      expect(await cached('q')).toEqual({ n: 2 })
      expect(await cached('q', { cache: 'no-store' })).toEqual({ n: 3 })
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it("notes in the call's meta, under the layer's name, whether it was a miss, a hit or stale", async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000, staleMs: 1_000 }))
      expect((await noteOf(cached, 'q'))?.status).toBe('miss')
      expect((await noteOf(cached, 'q'))?.status).toBe('hit')
      await tick(1_500)
      expect((await noteOf(cached, 'q'))?.status).toBe('stale')
      expect((await noteOf(cached, 'q', { cache: 'reload' }))?.status).toBe('miss')
      const named = stack(counting(), cache({ name: 'memory' }))
      const meta = new Map<string, unknown>()
      await named('q', { meta })
      expect(meta.get('memory')).toMatchObject({ status: 'miss' })
      expect(named.stats().memory.misses).toBe(1)
    })

    it('serves a hit even when the base can no longer answer', async () => {
      const cached = stack(scripted<string>('once', fail), cache())
      await cached('q')
      expect(await cached('q')).toBe('once')
    })
  })

  describe('what callers get', () => {
    it('freezes an answer deeply, on a miss as on a hit', async () => {
      const cached = stack(async () => ({ list: [{ text: 'a' }] }), cache())
      for (const answer of [await cached('q'), await cached('q')]) {
        expect(Object.isFrozen(answer)).toBe(true)
        expect(Object.isFrozen(answer.list[0])).toBe(true)
        expect(() => {
          answer.list[0]!.text = 'b'
        }).toThrow(TypeError)
      }
    })

    it('copies bytes for each caller, on a miss as on a hit', async () => {
      const own = new Uint8Array([1, 2, 3])
      const cached = stack(async () => ({ bytes: own, contentType: 'image/png' }), cache())
      const first = await cached('q')
      first.bytes[0] = 9
      own[1] = 9
      const second = await cached('q')
      second.bytes[2] = 9
      expect([...(await cached('q')).bytes]).toEqual([1, 2, 3])
    })

    it('copies the bytes of stored chunks for each caller', async () => {
      async function* bytes() {
        yield Buffer.from([1, 2])
      }
      const cached = stack(async () => bytes(), cache())
      for (let i = 0; i < 3; i++) {
        const [chunk] = await collect(await cached('q'))
        expect([...chunk!]).toEqual([1, 2])
        chunk![0] = 9
      }
    })

    it('freezes chunks, on a miss as on a hit', async () => {
      async function* objects() {
        yield { choices: [{ delta: 'a' }] }
      }
      const cached = stack(async () => objects(), cache())
      for (let i = 0; i < 2; i++) {
        const [chunk] = await collect(await cached('q'))
        expect(Object.isFrozen(chunk)).toBe(true)
        expect(Object.isFrozen(chunk!.choices[0])).toBe(true)
      }
    })
  })

  describe('time', () => {
    it('keeps an answer for ttlMs, and then asks again', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      await tick(1_000)
      expect(await cached('q')).toEqual({ n: 1 })
      await tick(1)
      expect(await cached('q')).toEqual({ n: 2 })
      await tick(999)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('keeps an answer for 30 minutes by default', async () => {
      const cached = stack(counting(), cache())
      await cached('q')
      await tick(30 * 60_000)
      expect(await cached('q')).toEqual({ n: 1 })
      await tick(1)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('accepts a time that is not a whole number', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1.5, staleMs: 0.25 }))
      await cached('q')
      expect(await cached('q')).toEqual({ n: 1 })
    })

    it('does not extend the time on a hit', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      await tick(900)
      await cached('q')
      await tick(200)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('is not affected in memory when the wall clock jumps', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      vi.setSystemTime(Date.now() + 365 * 24 * 3_600_000)
      expect(await cached('q')).toEqual({ n: 1 })
      vi.setSystemTime(0)
      await tick(1_001)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('counts the time of a stream from its end', async () => {
      const cached = stack(async () => numbers(2), cache({ ttlMs: 1_000 }))
      const stream = await cached('q')
      await stream.next()
      await tick(5_000)
      await collect(stream)
      await tick(1_000)
      await collect(await cached('q'))
      expect(cached.stats().cache).toMatchObject({ hits: 1, misses: 1 })
    })
  })

  describe('bounds', () => {
    it('keeps at most maxEntries, the most recently used', async () => {
      const cached = stack(counting(), cache({ maxEntries: 2 }))
      await cached('a')
      await cached('b')
      await cached('a')
      await cached('c')
      expect(cached.stats().cache.entries).toBe(2)
      expect(await cached('a')).toEqual({ n: 1 })
      expect(await cached('b')).toEqual({ n: 4 })
    })

    it('holds at most maxBytes', async () => {
      const cached = stack(async (q: string) => q.repeat(1_000), cache({ maxBytes: 10_000 }))
      for (const q of 'abcdefgh') {
        await cached(q)
        expect(cached.stats().cache.bytes).toBeLessThanOrEqual(10_000)
      }
      expect(cached.stats().cache.entries).toBe(4)
    })

    it('counts the bytes of images and vectors', async () => {
      const cached = stack(
        async () => ({ bytes: Buffer.alloc(4_000), vector: new Float64Array(500) }),
        cache(),
      )
      await cached('q')
      expect(cached.stats().cache.bytes).toBeGreaterThan(8_000)
    })

    it('does not keep an answer larger than maxBytes, and keeps the others', async () => {
      const ask = vi.fn(async (q: string) => q.repeat(1_000))
      const cached = stack(ask, cache({ maxBytes: 10_000 }))
      await cached('a')
      expect((await cached('many'.repeat(2))).length).toBe(8_000)
      expect(cached.stats().cache.entries).toBe(1)
      await cached('a')
      expect(ask).toHaveBeenCalledTimes(2)
    })
  })

  describe('hooks that throw', () => {
    it('bypasses the cache when key() throws, with a warning', async () => {
      const ask = counting()
      const cached = stack(
        ask,
        cache({
          key: () => {
            throw named('KeyMishap')
          },
        }),
      )
      expect(await cached('q')).toEqual({ n: 1 })
      expect(await cached('q')).toEqual({ n: 2 })
      expect(cached.stats().cache).toMatchObject({ unkeyed: 2, entries: 0 })
      expect(warnings).toEqual(['cache: key() threw KeyMishap. The call continued.'])
    })

    it('does not keep an answer when valid() or complete() throws, with a warning', async () => {
      const throws = (name: string) => () => {
        throw named(name)
      }
      const values = stack(base(counting(), { valid: throws('ValidMishap') }), cache())
      expect([await values('q'), await values('q')]).toEqual([{ n: 1 }, { n: 2 }])
      const streams = stack(
        base(async () => numbers(2), { complete: throws('CompleteMishap') }),
        cache(),
      )
      expect(await collect(await streams('q'))).toEqual([0, 1])
      expect(streams.stats().cache.entries).toBe(0)
      expect(warnings).toEqual([
        'cache: valid() threw ValidMishap. The call continued.',
        'cache: complete() threw CompleteMishap. The call continued.',
      ])
    })
  })

  it.each([
    { ttlMs: 0 },
    { ttlMs: '5' },
    { staleMs: -1 },
    { maxEntries: 0 },
    { maxBytes: 1.5 },
    { store: 'redis://localhost' },
    { store: { get() {}, set() {} } },
    { storeTimeoutMs: Number.POSITIVE_INFINITY },
    { key: 'url' },
    { name: '' },
    { ttl: 5 },
  ])('refuses the options %j', (options) => {
    expect(() => cache(options as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', layer: 'cache' }),
    )
  })

  it('does not block the event loop between a hit and its answer', async () => {
    vi.useRealTimers()
    const cached = stack(counting(), cache())
    await cached('q')
    let answered = false
    void cached('q').then(() => {
      answered = true
    })
    await turn()
    expect(answered).toBe(true)
  })
})

it('reads a request once, however many layers ask what it is', async () => {
  let reads = 0
  const ask = stack(async (_: object) => 'answer', cache(), dedupe())
  await ask({
    get prompt() {
      reads++
      return 'Hello'
    },
  })
  expect(reads).toBe(1)
})
