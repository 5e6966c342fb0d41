import { describe, expect, it } from 'vitest'
import { base, collect, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { counting, noteOf } from '../../../support/cached.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { fail, OddStore } from '../../../support/store.js'
import { numbers } from '../../../support/streams.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'

useFakeTimers()
catchWarningsInEachTest()

describe('cache', () => {
  describe('clear', () => {
    it('forgets everything', async () => {
      const layer = cache()
      const cached = stack(counting(), layer)
      await cached('a')
      await cached('b')
      await layer.clear()
      expect(cached.stats().cache).toMatchObject({ entries: 0, bytes: 0 })
      expect(await cached('a')).toEqual({ n: 3 })
    })

    it('keeps values, streams and renewals that are under way from being stored', async () => {
      const layer = cache({ ttlMs: 1_000, staleMs: 1_000 })
      const answer = gate<string>()
      const cached = stack(
        scripted<unknown>(() => answer.promise, 'later'),
        layer,
      )
      const running = cached('q')
      await layer.clear()
      answer.open('before the clearing')
      expect(await running).toBe('before the clearing')
      expect(await cached('q')).toBe('later')

      const streaming = stack(async () => numbers(3), layer)
      const stream = await streaming('q')
      await stream.next()
      await layer.clear()
      await collect(stream)
      expect(streaming.stats().cache.entries).toBe(0)

      const renewal = gate<string>()
      const renewed = stack(
        scripted<unknown>('old', () => renewal.promise),
        layer,
      )
      await renewed('q')
      await tick(1_500)
      await renewed('q')
      await layer.clear()
      renewal.open('begun before the clearing')
      await tick()
      expect(cached.stats().cache.entries).toBe(0)
    })

    it('forgets what an external store holds, even if its clear() fails or a slow write arrives later', async () => {
      const store = new OddStore()
      store.onClear = fail
      const layer = cache({ store })
      const cached = stack(base(counting(), { name: 'ask' }), layer)
      await cached('a')
      await tick()
      store.onSet = async (key, value) => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        store.kept.set(key, value)
      }
      await cached('b')
      await tick(1)
      await layer.clear()
      await tick(200)
      expect(store.kept.size).toBe(2)
      expect(await cached('a')).toEqual({ n: 3 })
      expect(await cached('b')).toEqual({ n: 4 })
      await tick(200)
      expect(await cached('a')).toEqual({ n: 3 })
    })

    it('clears even a store that is being left alone after it hung', async () => {
      const store = new OddStore()
      const layer = cache({ store, storeTimeoutMs: 50 })
      const cached = stack(base(counting(), { name: 'ask' }), layer)
      store.onGet = () => never()
      const call = cached('a')
      await tick(50)
      await call
      await layer.clear()
      expect(store.clears).toBe(1)
    })
  })

  describe('delete', () => {
    it.each([
      ['in memory', undefined],
      ['in a store outside', new Map()],
    ])('forgets one answer by the key of its note, %s', async (_, store) => {
      const layer = cache({ store })
      const cached = stack(base(counting(), { name: 'ask' }), layer)
      const note = await noteOf(cached, 'a')
      await cached('b')
      await tick()
      expect(await layer.delete(note!.key)).toBe(true)
      expect(await layer.delete(note!.key)).toBe(false)
      expect(await cached('b')).toEqual({ n: 2 })
      expect(await cached('a')).toEqual({ n: 3 })
    })
  })
})
