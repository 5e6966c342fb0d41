import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import Keyv from 'keyv'
import { describe, expect, it } from 'vitest'
import { base, collect, Json, replay, share, stack } from '../../../src/core/index.js'
import { odditiesIn, withOddities } from '../../../src/layers/beyond-json.js'
import { type CacheStore, cache } from '../../../src/layers/cache/index.js'
import { write } from '../../../src/layers/stored-form.js'
import { OddStore } from '../../support/store.js'
import { turn } from '../../support/watch.js'

/** An answer, and what a second call gets of it from a store outside the process. */
async function throughStore(answer: unknown, store: CacheStore = new OddStore()) {
  let calls = 0
  const work = async (_: string) => {
    calls++
    return answer
  }
  const ask = stack(base(work, { name: 'ask' }), cache({ store }))
  const first = await ask('q')
  await turn()
  return { first, second: await ask('q'), isStored: calls === 1 }
}

const bareObject = Object.assign(Object.create(null) as object, { a: 1, b: undefined })

const equal: [string, unknown][] = [
  ['undefined in a list', [1, undefined, 2]],
  ['undefined in a field', { text: 'x', usage: undefined }],
  ['undefined alone', undefined],
  ['-0 and 0', { a: -0, b: 0, c: [-0] }],
  ['numbers that are none', [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
  ['an object without a prototype', { groups: bareObject }],
  ['bytes', { bytes: Buffer.from([0, 255]), none: undefined }],
  ['a field named __proto__', JSON.parse('{"__proto__":{"a":1},"b":2}')],
  ['a lone surrogate', { text: 'a\ud83c' }],
]

const never: [string, unknown][] = [
  ['a Date', { at: new Date(0) }],
  ['a Map', { map: new Map([['a', 1]]) }],
  ['a class instance', { url: new URL('http://localhost') }],
  ['a bigint', [1n]],
  ['a function', { f: () => 1 }],
  ['a symbol', [Symbol('s')]],
  ['a field named by a symbol', { a: 1, [Symbol('s')]: 2 }],
  ['holes', Object.assign(new Array(3), { 0: 1, 2: 2 })],
  ['a list with a field', Object.assign([1], { extra: 1 })],
  ['bytes of another kind', { floats: new Float32Array([1]) }],
  ['an object that holds itself', loop()],
]

function loop() {
  const node: Record<string, unknown> = {}
  node.left = node
  node.right = node
  return node
}

describe('a store outside the process', () => {
  it.each(equal)('gives back what was given: %s', async (_, value) => {
    for (const store of [
      new OddStore(),
      new Keyv(),
      new Keyv({ serialize: undefined, deserialize: undefined } as object),
    ]) {
      const { first, second, isStored } = await throughStore(value, store)
      expect(isStored).toBe(true)
      expect(isDeepStrictEqual(second, first)).toBe(true)
    }
  })

  it.each(never)('does not receive a value that it would change: %s', async (_, value) => {
    const store = new OddStore()
    const { second, isStored } = await throughStore(value, store)
    expect(isStored).toBe(false)
    expect(store.sets).toBe(0)
    expect(isDeepStrictEqual(second, value)).toBe(true)
  })

  it('gives the chunks of a stream back as they were', async () => {
    const chunks = [undefined, { a: undefined, n: -0 }, [undefined], 'end']
    let calls = 0
    const ask = stack(
      base(
        async (_: string) => {
          calls++
          return replay<unknown>(chunks)
        },
        { name: 'ask' },
      ),
      cache({ store: new Map() }),
    )
    await collect(await ask('q'))
    await turn()
    expect(isDeepStrictEqual(await collect(await ask('q')), chunks)).toBe(true)
    expect(calls).toBe(1)
  })

  it('gives back an equal value or none, whatever the value', async () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSparseArray: true,
    })
    await fc.assert(
      fc.asyncProperty(anything, async (value) => {
        const { first, second, isStored } = await throughStore(value, new Map())
        expect(!isStored || isDeepStrictEqual(second, first)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

it('notes nothing beside an answer of JSON, which is kept as its text', () => {
  const shared = share({ data: Json.of({ a: 1 }), requestId: 'r1' })
  expect(write({ form: 'value', value: shared })).toEqual({
    form: 'json',
    content: { text: '{"a":1}', rest: { requestId: 'r1' } },
  })
})

describe('odditiesIn and withOddities', () => {
  it('list nothing for plain JSON', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const value: unknown = JSON.parse(text.replaceAll('-0', '0'))
        expect(odditiesIn(value)).toEqual([])
      }),
    )
  })

  it('terminate on parts that are used again and again', () => {
    let tree: unknown = 'leaf'
    for (let i = 0; i < 60; i++) tree = [tree, tree]
    expect(odditiesIn(tree)).toBeUndefined()
  })

  it.each<[string, unknown]>([
    ['no list', 5],
    ['no place', [[['a', 'b'], 'undefined']]],
    ['a place beyond the end of a list', [[['list', 4_294_967_294], 'undefined']]],
    ['an unknown word', [[['a'], 'toString']]],
    ["an object's prototype", [[['__proto__', 'polluted'], 'NaN']]],
    ["a function's prototype", [[['constructor', 'prototype', 'polluted'], 'NaN']]],
  ])('refuse %s, which a store may hold', (_, oddities) => {
    expect(() => withOddities({ a: 1, list: [] }, oddities)).toThrow(TypeError)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('know an object of another realm for what it is', () => {
    expect(odditiesIn(runInNewContext('({ a: [undefined] })'))).toEqual([[['a', '0'], 'undefined']])
  })
})
