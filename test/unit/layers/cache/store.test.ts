import { EventEmitter } from 'node:events'
import Keyv from 'keyv'
import { describe, expect, it, vi } from 'vitest'
import { base, collect, type Stream, stack, streamOver } from '../../../../src/core/index.js'
import { type CacheStore, cache } from '../../../../src/layers/cache/index.js'
import { counting, noteOf } from '../../../support/cached.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { fail, named, OddStore } from '../../../support/store.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

describe('store', () => {
  it('asks upstream when the store throws or rejects, and warns once', async () => {
    for (const down of [fail, () => Promise.reject(new Error('the store is down'))]) {
      const store = new OddStore()
      Object.assign(store, { onGet: down, onSet: down, onDelete: down, onClear: down })
      const layer = cache({ store })
      const cached = stack(named(counting()), layer)
      for (let i = 1; i <= 3; i++) expect(await cached('q')).toEqual({ n: i })
      await tick()
      expect(await layer.delete('key')).toBe(false)
      await layer.clear()
    }
    expect(warnings).toEqual([
      'cache: the store failed or did not answer in time. Calls go upstream until it answers again.',
    ])
  })

  const kinds: [string, () => CacheStore][] = [
    ['a Map', () => new Map()],
    ['a Keyv', () => new Keyv()],
    [
      'a Keyv without serialisation',
      () => new Keyv({ serialize: undefined, deserialize: undefined } as object),
    ],
    ['a Keyv store', () => new OddStore()],
  ]
  it.each(kinds)('keeps values, bytes and streams in %s', async (_, make) => {
    const layer = cache({ store: make() })
    const value = {
      text: ':base64: not bytes',
      list: [null, 1, ':'],
      bytes: Buffer.from([0, 255]),
      none: undefined,
    }
    const values = stack(named(scripted<unknown>(structuredClone(value), fail)), layer)
    const first = await values('value')
    await tick()
    const hit = (await values('value')) as typeof value
    expect(hit).toEqual(first)
    expect(Buffer.isBuffer(hit.bytes)).toBe(true)
    expect(Object.isFrozen(hit)).toBe(true)
    hit.bytes[0] = 9
    expect(((await values('value')) as typeof value).bytes[0]).toBe(0)

    const chunks = [{ delta: 'a' }, Buffer.from([1]), '', 'end']
    const streams = stack(
      named(scripted<Stream<unknown>>(() => streamOver<unknown>(chunks), fail)),
      cache({ store: make(), name: 'other' }),
    )
    await collect(await streams('stream'))
    await tick()
    expect(await collect(await streams('stream'))).toEqual(chunks)
  })

  it.each(['', 0, false, null, undefined])('returns %j from a store as a hit', async (value) => {
    const ask = scripted<unknown>(value, fail)
    const cached = stack(named(ask), cache({ store: new Map() }))
    await cached('q')
    await tick()
    expect(await cached('q')).toEqual(value)
  })

  it('passes the lifetime of an entry to the store, and goes by the date stored with it', async () => {
    const store = new Keyv()
    const set = vi.spyOn(store, 'set')
    const cached = stack(named(counting()), cache({ store, ttlMs: 1_000, staleMs: 500 }))
    await cached('q')
    await tick()
    expect(set).toHaveBeenCalledWith(expect.any(String), expect.anything(), 1_500)
    await tick(1_200)
    expect((await noteOf(cached, 'q'))?.status).toBe('stale')
    await tick()
    vi.setSystemTime(Date.now() + 2_000)
    expect((await noteOf(cached, 'q'))?.status).toBe('miss')
  })

  it('rounds the lifetime of an entry up, as a store may refuse fractions of a millisecond', async () => {
    const store = new OddStore()
    const lifetimes: unknown[] = []
    Object.assign(store, {
      set: (key: string, value: unknown, ttl: number) => {
        lifetimes.push(ttl)
        if (!Number.isInteger(ttl)) throw new Error('value is not an integer or out of range')
        store.kept.set(key, value)
      },
    })
    const cached = stack(named(counting()), cache({ store, ttlMs: 58_388.4 }))
    await cached('q')
    await tick()
    expect((await noteOf(cached, 'q'))?.status).toBe('hit')
    expect(lifetimes).toEqual([58_389])
  })

  it('reads and writes a store that holds nothing but answers it can hold', async () => {
    const store = new OddStore()
    const cached = stack(
      named(async () => ({ when: new Date(0) })),
      cache({ store }),
    )
    await cached('q')
    await tick()
    expect(store.sets).toBe(0)
    expect(cached.stats().cache).toMatchObject({ entries: 0, bytes: 0 })
  })

  it('waits for a hanging store no longer than storeTimeoutMs, and then leaves it alone for a second', async () => {
    const store = new OddStore()
    Object.assign(store, { onGet: () => never(), onSet: () => never() })
    const cached = stack(named(counting()), cache({ store, storeTimeoutMs: 100 }))
    const first = watch(cached('a'))
    await tick(99)
    expect(first.state).toBe('pending')
    await tick(1)
    expect(first.value).toEqual({ n: 1 })
    expect(watch(cached('b'))).toBeDefined()
    await tick()
    expect(store.gets).toBe(1)
    await tick(1_000)
    store.onGet = () => undefined
    await cached('c')
    expect(store.gets).toBe(2)
    await tick(100)
  })

  it('gives a store 250 ms by default', async () => {
    const store = new OddStore()
    store.onGet = () => never()
    const call = watch(stack(named(counting()), cache({ store }))('q'))
    await tick(249)
    expect(call.state).toBe('pending')
    await tick(1)
    expect(call.state).toBe('resolved')
  })

  it('does not hold a call for a slow write', async () => {
    const store = new OddStore()
    const writing = gate()
    store.onSet = () => writing.promise
    const cached = stack(named(counting()), cache({ store }))
    const call = watch(cached('q'))
    await tick()
    expect(call.state).toBe('resolved')
    writing.open()
    await tick()
  })

  it('lets the caller leave while the store is being read', async () => {
    const store = new OddStore()
    store.onGet = () => never()
    const ask = counting()
    const cached = stack(named(ask), cache({ store }))
    const caller = new AbortController()
    const failed = failure(cached('q', { signal: caller.signal }))
    caller.abort(new Error('the caller has left'))
    expect(await failed).toBe(caller.signal.reason)
    await tick(250)
    expect(ask.calls).toBe(0)
  })

  it('survives a store that emits errors', async () => {
    class Emitting extends EventEmitter {
      readonly #kept = new Map<string, unknown>()
      get = (key: string) => this.#kept.get(key)
      set = (key: string, value: unknown) => void this.#kept.set(key, value)
      delete = (key: string) => this.#kept.delete(key)
      clear = () => this.#kept.clear()
    }
    const store = new Emitting()
    const cached = stack(named(counting()), cache({ store }))
    await cached('q')
    store.emit('error', new Error('connection lost'))
    await tick()
    expect(await cached('q')).toEqual({ n: 1 })
  })

  const key = async () => {
    const store = new OddStore()
    await stack(named(named1), cache({ store }))('q')
    await tick()
    const [[name, text]] = [...store.kept] as [[string, string]]
    return {
      name,
      envelope: JSON.parse(text) as { value: Record<string, unknown>; expires: number },
    }
  }
  async function named1(_: string): Promise<unknown> {
    return 'good'
  }

  it.each<
    [string, (stored: string, envelope: Awaited<ReturnType<typeof key>>['envelope']) => unknown]
  >([
    ['half an entry', (text) => text.slice(0, text.length / 2)],
    ['no JSON', () => '<html>'],
    ['nothing', () => ''],
    ['a number', () => 7],
    ['JSON of another kind', () => '{"value":[1,2]}'],
    ['null', () => '{"value":null}'],
    ['another version', (_, { value }) => JSON.stringify({ value: { ...value, v: 1 } })],
    ["another entry's", (_, { value }) => JSON.stringify({ value: { ...value, k: 'other' } })],
    ['an unknown form', (_, { value }) => JSON.stringify({ value: { ...value, f: 'image' } })],
    [
      'a stream that is no list',
      (_, { value }) => JSON.stringify({ value: { ...value, f: 'stream', d: { 0: 'a' } } }),
    ],
    [
      'a time that is no number',
      (_, { value }) => JSON.stringify({ value: { ...value, at: '2026' } }),
    ],
    ['a time that is none', (_, { value }) => JSON.stringify({ value: { ...value, at: null } })],
    [
      'fields behind __proto__',
      (_, { value }) => `{"value":{"__proto__":${JSON.stringify(value)}}}`,
    ],
  ])('treats it as a miss when the store holds %s', async (_, spoil) => {
    const { name, envelope } = await key()
    const store = new OddStore()
    store.kept.set(name, spoil(JSON.stringify(envelope), envelope))
    const ask = vi.fn(async (_: string) => 'fresh')
    expect(await stack(named(ask), cache({ store }))('q')).toBe('fresh')
    expect(ask).toHaveBeenCalledTimes(1)
    expect(({} as { v?: unknown; polluted?: unknown }).v).toBeUndefined()
  })

  it('returns an answer with a field named __proto__ as it is, and pollutes no prototype', async () => {
    const answer = JSON.parse(
      '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"bytes":1}',
    )
    const cached = stack(named(scripted<unknown>(answer, fail)), cache({ store: new Map() }))
    await cached('q')
    await tick()
    const hit = (await cached('q')) as object
    expect(JSON.stringify(hit)).toBe(JSON.stringify(answer))
    expect(Object.getPrototypeOf(hit)).toBe(Object.prototype)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  it('validates again what a store returns', async () => {
    const store = new Map()
    let isGood = true
    const fn = base(scripted<unknown>('stored', 'fresh'), { valid: () => isGood, key: () => 'one' })
    const cached = stack(fn, cache({ store }))
    await cached('q')
    await tick()
    expect(await cached('q')).toBe('stored')
    isGood = false
    expect(await cached('q')).toBe('fresh')
  })

  it('serves the answer that another cache has put into a Keyv store', async () => {
    const store = new OddStore()
    await stack(named(named1), cache({ store }))('q')
    await tick()
    const cached = stack(named(named1), cache({ store }))
    expect((await noteOf(cached, 'q'))?.status).toBe('hit')
  })
})
