import { EventEmitter } from 'node:events'
import fc from 'fast-check'
import Keyv from 'keyv'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type CacheStore,
  cache,
  collect,
  queue,
  replay,
  stack,
} from '../../../../src/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { named, OddStore } from '../../../support/store.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { turn, watch } from '../../../support/watch.js'

const SENTENCE =
  'cache: the store failed or did not answer in time. Calls go upstream until it answers again.'

let unhandled: unknown[]
const onUnhandled = (reason: unknown) => void unhandled.push(reason)

// In front of the timers, so that it looks when they are real again.
beforeEach(() => {
  unhandled = []
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  await turn()
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

const warnings = catchWarningsInEachTest()
useFakeTimers({ atEnd: () => tick(60_000) })

const later = (ms: number, settle: () => unknown) =>
  new Promise((resolve, reject) =>
    setTimeout(() => {
      try {
        resolve(settle())
      } catch (error) {
        reject(error)
      }
    }, ms),
  )
const throwing = (error: unknown) => () => {
  throw error
}

/**
 * What an operation of a store may do in place of its work, and how long a call may wait for it.
 */
const faults: Record<string, { operation: () => unknown; waitMs?: number }> = {
  'throws an error': { operation: throwing(new Error('down')) },
  'throws nothing': { operation: throwing(undefined) },
  'throws a text': { operation: throwing('down') },
  rejects: { operation: () => Promise.reject(new Error('down')) },
  'rejects with nothing': { operation: () => Promise.reject() },
  'rejects after a while': { operation: () => later(20, throwing(new Error('down'))), waitMs: 20 },
  'rejects when nobody waits any more': {
    operation: () => later(5_000, throwing(new Error('down'))),
    waitMs: 100,
  },
  'answers when nobody waits any more': {
    operation: () => later(5_000, () => '{"value":1}'),
    waitMs: 100,
  },
  'hangs for ever': { operation: () => never(), waitMs: 100 },
  'gives a thenable that throws': {
    // biome-ignore lint/suspicious/noThenProperty: a thenable on purpose
    operation: () => ({ then: throwing(new Error('down')) }),
  },
  'gives a thenable that says nothing': {
    // biome-ignore lint/suspicious/noThenProperty: a thenable on purpose
    operation: () => ({ then() {} }),
    waitMs: 100,
  },
}
const operations = {
  get: ['onGet'],
  set: ['onSet'],
  'every operation': ['onGet', 'onSet', 'onDelete', 'onClear'],
}

describe.each(Object.entries(faults))('a store that %s', (_, { operation, waitMs = 0 }) => {
  it.each(Object.entries(operations))(
    'at %s fails no call, delays none beyond the limit, and is reported once',
    async (_, broken) => {
      // Each text is told once in a process.
      vi.resetModules()
      const fresh = await import('../../../../src/index.js')
      const store = new OddStore()
      for (const name of broken) Object.assign(store, { [name]: operation })
      const asked: string[] = []
      const ask = async (request: string) => {
        asked.push(request)
        return { to: request }
      }
      const layer = fresh.cache({ store, storeTimeoutMs: 100 })
      const cached = fresh.stack(named(ask), layer)
      const began = performance.now()
      for (let i = 0; i < 5; i++) {
        const call = watch(cached('q'))
        await tick(100)
        expect(call.value).toEqual({ to: 'q' })
      }
      const reads = broken.includes('onGet')
      if (reads) expect(asked).toHaveLength(5)
      // All together may wait for one time-out: after it the store is left alone for a while.
      expect(performance.now() - began).toBe(500)
      const ended = watch(Promise.all([cached('other'), layer.delete('key'), layer.clear()]))
      await tick(waitMs + 100)
      expect(ended.state).toBe('resolved')
      await tick(10_000)
      expect(warnings).toEqual([SENTENCE])
    },
  )

  it('does not hold a slot with a write', async () => {
    const store = new OddStore()
    store.onSet = operation
    for (const layers of [
      [queue({ concurrency: 1 }), cache({ store, storeTimeoutMs: 100 })],
      [cache({ store, storeTimeoutMs: 100 }), queue({ concurrency: 1 })],
    ]) {
      const cached = stack(
        named(async (n: number) => n),
        ...layers,
      )
      expect(await Promise.all([1, 2, 3].map((n) => cached(n)))).toEqual([1, 2, 3])
      const streamed = stack(
        named((n: number) => replay([n])),
        ...[queue({ concurrency: 1 }), cache({ store, storeTimeoutMs: 100 })],
      )
      expect(await Promise.all([4, 5].map(async (n) => collect(await streamed(n))))).toEqual([
        [4],
        [5],
      ])
    }
  })
})

describe('a store that comes and goes', () => {
  it('may emit errors, directly or through a Keyv, without harm to any call', async () => {
    class Emitting extends EventEmitter implements CacheStore {
      readonly kept = new Map<string, unknown>()
      get = (key: string) => this.kept.get(key)
      set = (key: string, value: unknown) => void this.kept.set(key, value)
      delete = (key: string) => this.kept.delete(key)
      clear = () => this.kept.clear()
    }
    const emitting = new Emitting()
    const keyv = new Keyv({ store: new Emitting() })
    for (const store of [emitting, keyv]) {
      let calls = 0
      const cached = stack(
        named(async () => ++calls),
        cache({ store }),
      )
      const emitter = store === keyv ? keyv : emitting
      emitter.emit('error', new Error('connection lost'))
      expect(await cached()).toBe(1)
      await tick()
      emitter.emit('error', 'connection lost')
      emitter.emit('error', undefined)
      expect(await cached()).toBe(1)
    }
  })

  it('serves answers while it is slow but within its time limit', async () => {
    const store = new OddStore()
    store.onGet = (key) => later(90, () => store.kept.get(key))
    store.onSet = (key, value) => later(90, () => void store.kept.set(key, value))
    let calls = 0
    const cached = stack(
      named(async () => ++calls),
      cache({ store, storeTimeoutMs: 100 }),
    )
    for (let i = 0; i < 3; i++) {
      const call = watch(cached())
      await tick(90)
      expect(call.value).toBe(1)
      await tick(90)
    }
    expect(warnings).toEqual([])
  })

  it('makes simultaneous calls wait once while it hangs, and later calls not at all', async () => {
    const store = new OddStore()
    store.onGet = () => never()
    const cached = stack(
      named(async (n: number) => n),
      cache({ store, storeTimeoutMs: 100 }),
    )
    const first = Promise.all(Array.from({ length: 50 }, (_, n) => cached(n)))
    await tick(100)
    expect(await first).toHaveLength(50)
    const before = performance.now()
    await Promise.all(Array.from({ length: 50 }, (_, n) => cached(n)))
    expect(performance.now() - before).toBe(0)
    expect(store.gets).toBe(50)
    // One call finds out that it still hangs, once a second.
    for (let i = 0; i < 10; i++) {
      await tick(1_000)
      const one = watch(cached(i))
      await tick(100)
      expect(one.value).toBe(i)
    }
    expect(store.gets).toBe(60)
  })

  it('gives each caller the right answer under any schedule of faults, and hits again after it recovers', async () => {
    const fate = fc.constantFrom(
      'well',
      'throws',
      'rejects',
      'hangs',
      'slow',
      'half',
      'of another',
      'undefined',
      'nonsense',
    )
    type Fate =
      | 'well'
      | 'throws'
      | 'rejects'
      | 'hangs'
      | 'slow'
      | 'half'
      | 'of another'
      | 'undefined'
      | 'nonsense'
    await fc.assert(
      fc.asyncProperty(
        fc.infiniteStream(fate),
        fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 15 }),
        async (fates, requests) => {
          const store = new OddStore()
          const spoiled = (work: () => unknown): unknown => {
            const next = fates.next().value as Fate
            if (next === 'throws') throw new Error('down')
            if (next === 'rejects') return Promise.reject(new Error('down'))
            if (next === 'hangs') return never()
            if (next === 'slow') return later(60, work)
            const value = work()
            if (next === 'half')
              return typeof value === 'string' ? value.slice(0, value.length / 2) : undefined
            if (next === 'of another') return [...store.kept.values()][0]
            return next === 'undefined'
              ? undefined
              : next === 'nonsense'
                ? '{"value":{"v":1}}'
                : value
          }
          store.onGet = (key) => spoiled(() => store.kept.get(key))
          store.onSet = (key, value) => spoiled(() => store.kept.set(key, value))
          const asked = new Map<number, number>()
          const ask = base(
            async (n: number) => {
              asked.set(n, (asked.get(n) ?? 0) + 1)
              return { to: n, list: [n] }
            },
            { key: String },
          )
          const cached = stack(ask, cache({ store, storeTimeoutMs: 50 }))
          for (const n of requests) {
            const call = watch(cached(n))
            await tick(50)
            expect(call.value).toEqual({ to: n, list: [n] })
          }
          // Whatever it has gone through: in good health, and left alone for long enough, it
          // serves.
          await tick(2_000)
          store.onGet = (key) => store.kept.get(key)
          store.onSet = (key, value) => void store.kept.set(key, value)
          await cached(9)
          await tick()
          expect(await cached(9)).toEqual({ to: 9, list: [9] })
          expect(asked.get(9)).toBe(1)
        },
      ),
      { numRuns: 60 },
    )
    expect(warnings.filter((text) => text !== SENTENCE)).toEqual([])
  })
})
