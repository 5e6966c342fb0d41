import Keyv from 'keyv'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  base,
  type CacheStore,
  cache,
  collect,
  createBlossom,
  isStream,
  stack,
} from '../../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { named, OddStore } from '../../../support/store.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { turn } from '../../../support/watch.js'

const warnings = catchWarningsInEachTest()

afterEach(() => {
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  expect(([] as { polluted?: unknown }).polluted).toBeUndefined()
})

interface Stored {
  value: { v: number; k: string; f: string; at: number; d: unknown }
  expires?: unknown
}

const ask = () =>
  base(async (_: string) => 'fresh', { key: (request) => request, streams: () => false })

/** A store with one entry, for the request `q`, as an honest cache has written it. */
async function written(): Promise<{ key: string; text: string; stored: Stored }> {
  const store = new OddStore()
  await stack(
    base(async (_: string) => 'stored', { key: (request) => request }),
    cache({ store }),
  )('q')
  await turn()
  const [[key, text]] = [...store.kept] as [[string, string]]
  return { key, text, stored: JSON.parse(text) as Stored }
}

/** What a call gets of a store that holds this in the place of its entry. */
async function answerTo(
  make: (honest: Awaited<ReturnType<typeof written>>) => unknown,
): Promise<unknown> {
  const honest = await written()
  const store = new OddStore()
  store.kept.set(honest.key, make(honest))
  return stack(ask(), cache({ store }))('q')
}

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

describe('an entry that somebody has tampered with', () => {
  it('is served when it looks as a cache would write it', async () => {
    expect(await answerTo(({ text }) => text)).toBe('stored')
  })

  it.each<[string, (honest: Awaited<ReturnType<typeof written>>) => unknown]>([
    ['that has no envelope', ({ stored }) => JSON.stringify({ value: stored.value.d })],
    [
      'whose envelope is a list',
      ({ stored }) => JSON.stringify({ value: Object.values(stored.value) }),
    ],
    [
      'without its version',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, v: undefined } }),
    ],
    [
      'whose version is a text',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, v: '1' } }),
    ],
    ['of another key', ({ stored, text }) => text.replaceAll(stored.value.k, 'A'.repeat(43))],
    [
      'whose key is a list',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, k: [stored.value.k] } }),
    ],
    [
      'whose form is inherited',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, f: 'constructor' } }),
    ],
    [
      'whose time is infinite',
      ({ text, stored }) => text.replace(String(stored.value.at), '1e999'),
    ],
    [
      'that claims to be a stream',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, f: 'stream', d: 'text' } }),
    ],
    ['that has expired', ({ stored }) => JSON.stringify({ ...stored, expires: 1 })],
    [
      'that is old, whatever the store says',
      ({ stored }) => JSON.stringify({ value: { ...stored.value, at: 1 }, expires: 9e15 }),
    ],
    ['cut in its middle', ({ text }) => text.slice(0, -9)],
    ['with bytes behind it', ({ text }) => `${text}\0`],
    ['that is bytes', ({ text }) => Buffer.from(text)],
    ['that is half a surrogate pair', () => '"\ud800'],
    ['of a megabyte of nonsense', () => 'x'.repeat(2 ** 20)],
    ['of a hundred thousand brackets', () => deep(100_000)],
    ['of unclosed brackets', () => '['.repeat(100_000)],
    [
      'whose answer is nested a hundred thousand deep',
      ({ text }) => text.replace('"stored"', deep(100_000)),
    ],
    ['that throws when it is looked at', () => new Proxy({}, { get: () => JSON.parse('no') })],
  ])('%s is a miss', async (_, make) => {
    expect(await answerTo(make)).toBe('fresh')
    expect(warnings.every((text) => text.startsWith('cache: the store failed'))).toBe(true)
  })

  it('of many megabytes is served as it is', async () => {
    expect(
      await answerTo(({ text }) => text.replace('"stored"', JSON.stringify('x'.repeat(5_000_000)))),
    ).toHaveLength(5_000_000)
  })

  it('with fields that could pollute prototypes keeps them as plain fields', async () => {
    const evil =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":{"__proto__":{"polluted":1}}}'
    const answer = (await answerTo(({ text }) => text.replace('"stored"', evil))) as { a: object }
    expect(Object.getPrototypeOf(answer)).toBe(Object.prototype)
    expect(Object.getPrototypeOf(answer.a)).toBe(Object.prototype)
    expect((answer as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('whose getters throw, in a store that keeps live objects, is a miss', async () => {
    const { stored } = await written()
    for (const field of ['v', 'k', 'f', 'at', 'd'] as const) {
      const live = Object.defineProperty({ ...stored.value }, field, {
        get: () => JSON.parse('no'),
        enumerable: true,
      })
      const keyv = new Keyv({ serialize: undefined, deserialize: undefined } as object)
      vi.spyOn(keyv, 'get').mockResolvedValue(live as never)
      expect([field, await stack(ask(), cache({ store: keyv }))('q')]).toEqual([field, 'fresh'])
    }
    const inner = Object.defineProperty({}, 'text', {
      get: () => JSON.parse('no'),
      enumerable: true,
    })
    const keyv = new Keyv({ serialize: undefined, deserialize: undefined } as object)
    vi.spyOn(keyv, 'get').mockResolvedValue({ ...stored.value, d: inner } as never)
    expect(await stack(ask(), cache({ store: keyv }))('q')).toBe('fresh')
  })
})

describe('a store that changes what it is given', () => {
  const kinds: [string, () => CacheStore & { kept: Map<string, unknown> }][] = [
    ['a store', () => new OddStore()],
    [
      'a Keyv that keeps live objects',
      () => {
        const kept = new Map<string, unknown>()
        return Object.assign(
          new Keyv({ store: kept, serialize: undefined, deserialize: undefined } as object),
          { kept },
        )
      },
    ],
  ]
  it.each(kinds)('%s does not change the answer a caller holds', async (_, make) => {
    const store = make()
    const original = () => ({ text: 'right', list: [1, 2], bytes: Buffer.from([1, 2, 3]) })
    const cached = stack(
      named(async () => original()),
      cache({ store }),
    )
    const first = await cached()
    await turn()
    const spoil = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      if (value instanceof Uint8Array) return void value.fill(9)
      for (const [name, field] of Object.entries(value)) {
        spoil(field)
        Reflect.set(value, name, 'spoiled')
      }
    }
    for (const value of store.kept.values()) spoil(value)
    expect(first).toEqual(original())
    const next = await cached()
    expect([original(), expect.objectContaining({ text: 'right', list: [1, 2] })]).toContainEqual(
      next,
    )
  })
})

describe('a poisoned entry of the client', () => {
  let upstream: LocalBlossom
  beforeAll(async () => {
    upstream = await startLocalBlossom()
  })
  afterAll(() => upstream.close())

  const clientOf = (store: CacheStore) =>
    createBlossom({ baseURL: upstream.url }).use(cache({ store }))

  const value = (d: unknown) => ({ f: 'value', d })
  const stream = (...d: unknown[]) => ({ f: 'stream', d })
  const chunk = (delta: unknown, finish_reason: unknown = null) => ({
    choices: [{ index: 0, delta, finish_reason }],
  })
  const good = { data: { choices: [{ message: { content: 'x' } }] } }

  it.each<[string, object]>([
    ['nothing', value(null)],
    ['a text', value('Hello')],
    ['a list', value([good])],
    ['no data', value({})],
    ['data that is a text', value({ data: 'Hello' })],
    ['an error', value({ data: { choices: [], error: { message: 'x' } } })],
    ['choices that are none', value({ data: { choices: 'x' } })],
    ['no choices', value({ data: { choices: [] } })],
    ['a choice that is none', value({ data: { choices: [null] } })],
    ['a choice without a message', value({ data: { choices: [{ text: 'x' }] } })],
    ['bytes that are a text', value({ bytes: 'x', contentType: 'image/png' })],
    ['chunks that are none', stream(1, 2, 3)],
    ['no chunks', stream()],
    ['chunks without an end', stream(chunk({ content: 'Hel' }))],
    ['chunks whose choices are none', stream({ choices: 'x' }, chunk({}, 'stop').choices)],
    ['an end that is no text', stream(chunk({ content: 'x' }, { stop: true }))],
  ])('that holds %s is a miss for calls and streams', async (_, poison) => {
    const store = new OddStore()
    const client = clientOf(store)
    const honest = await client.text.generate('Hello', { maxTokens: 4 })
    await turn()
    for (const [key, text] of store.kept) {
      const stored = JSON.parse(text as string) as Stored
      store.kept.set(key, JSON.stringify({ value: { ...stored.value, ...poison } }))
    }
    const before = new Map(store.kept)
    expect(await client.text.generate('Hello', { maxTokens: 4 })).toMatchObject({
      text: honest.text,
      cached: false,
      attempts: 1,
    })
    await turn()
    // What was put right is poisoned again.
    for (const [key, text] of before) store.kept.set(key, text)
    const pieces = await collect(await client.text.stream('Hello', { maxTokens: 4 }))
    expect(pieces.map(({ text }) => text).join('')).toBe(honest.text)
    await client.close()
  })

  it('pollutes no prototype with the fields of its chunks', async () => {
    const store = new OddStore()
    const client = clientOf(store)
    await client.text.generate('Hello', { maxTokens: 4 })
    await turn()
    const evil =
      '{"__proto__":{"polluted":1},"role":"assistant","content":"x","tool_calls":[{"index":"__proto__","function":{"name":"polluted"}}]}'
    for (const [key, text] of store.kept) {
      const { value } = JSON.parse(text as string) as Stored
      const entry = JSON.stringify({
        value: {
          ...value,
          f: 'stream',
          d: ['PLACE', chunk({}, 'stop'), { choices: [], usage: { total_tokens: 1 } }],
        },
      })
      store.kept.set(
        key,
        entry.replace(
          '"PLACE"',
          `{"choices":[{"index":"__proto__","delta":${evil}},{"index":0,"delta":${evil}}]}`,
        ),
      )
    }
    const before = new Map(store.kept)
    await client.text.generate('Hello', { maxTokens: 4 })
    for (const [key, text] of before) store.kept.set(key, text)
    const answer = await client.chat.stream({
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 4,
    })
    if (isStream(answer)) await collect(answer)
    await client.close()
  })
})
