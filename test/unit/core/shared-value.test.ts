import { Stream as OldStream, Readable, Writable } from 'node:stream'
import fc from 'fast-check'
import { Response as UndiciResponse } from 'undici'
import { describe, expect, it } from 'vitest'
import { share } from '../../../src/core/index.js'

/** Whether a value and all that is in it is frozen. */
const isDeeplyFrozen = (value: unknown): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen))

const thrower = () => {
  throw new Error('on purpose')
}

describe('share', () => {
  it('gives JSON as the same object, deeply frozen', () => {
    const answer = { a: [{ b: ['c'] }, null], d: 'text' }
    const shared = share(answer)
    expect(shared.take()).toBe(answer)
    expect(shared.take()).toBe(answer)
    expect(isDeeplyFrozen(answer)).toBe(true)
    expect(() => {
      ;(answer.a as unknown[]).push(1)
    }).toThrow(TypeError)
  })

  it('freezes the contents of an object that is already frozen', () => {
    const answer = Object.freeze({ inner: { list: [1] } })
    share(answer)
    expect(isDeeplyFrozen(answer)).toBe(true)
  })

  it.each([undefined, null, '', 'text', 0, -1, true, Symbol.iterator, 10n])(
    'gives %s unchanged',
    (value) => {
      expect(share(value).take()).toBe(value)
    },
  )

  it('keeps its own copy of bytes and copies them for each caller', () => {
    const bytes = new Uint8Array([1, 2, 3])
    const shared = share(bytes)
    bytes[0] = 9
    const first = shared.take() as Uint8Array
    first[1] = 9
    expect(Buffer.isBuffer(first)).toBe(true)
    expect([...(shared.take() as Uint8Array)]).toEqual([1, 2, 3])
  })

  it('copies deeply nested bytes, and freezes the objects around them', () => {
    const shared = share({
      contentType: 'image/png',
      list: [{ bytes: Buffer.from([1]) }],
      text: ['same'],
    })
    const [one, two] = [shared.take(), shared.take()] as {
      list: { bytes: Buffer }[]
      text: string[]
    }[]
    one!.list[0]!.bytes[0] = 9
    expect(two!.list[0]!.bytes[0]).toBe(1)
    expect(one).toHaveProperty('contentType', 'image/png')
    expect(Object.isFrozen(one)).toBe(true)
    expect(Object.isFrozen(one!.list[0])).toBe(true)
    expect(Object.isFrozen(one!.text)).toBe(true)
  })

  it.each([
    ['a Float32Array', new Float32Array([1, 2])],
    ['a BigInt64Array', new BigInt64Array([1n])],
    ['an ArrayBuffer', new Uint8Array([1, 2]).buffer],
    ['a DataView', new DataView(new Uint8Array([1, 2]).buffer)],
  ])('copies %s and counts its bytes', (_, value) => {
    const shared = share({ value })
    const { value: taken } = shared.take() as { value: typeof value }
    expect(taken).toEqual(value)
    expect(taken).not.toBe(value)
    expect(Object.getPrototypeOf(taken)).toBe(Object.getPrototypeOf(value))
    expect((shared.take() as { value: unknown }).value).not.toBe(taken)
    expect(shared.bytes).toBeGreaterThanOrEqual(value.byteLength)
  })

  it('neither freezes nor copies class instances', () => {
    class Answer {
      list = [1]
    }
    class Rows extends Map<string, number> {}
    const answer = { made: new Answer(), rows: new Rows([['a', 1]]) }
    const shared = share(answer)
    expect(shared.take()).toBe(answer)
    expect(Object.isFrozen(answer)).toBe(true)
    expect(Object.isFrozen(answer.made)).toBe(false)
    expect(shared.isOneShot).toBe(false)
  })

  it('copies dates, maps and sets for each caller, and freezes what is in them', () => {
    const row = { id: 1, at: new Date(5) }
    const shared = share({ when: new Date(0), rows: new Map([['a', row]]), ids: new Set([1]) })
    const take = () =>
      shared.take() as { when: Date; rows: Map<string, typeof row>; ids: Set<number> }
    const one = take()
    one.when.setTime(9)
    one.rows.get('a')!.at.setTime(9)
    one.rows.delete('a')
    one.ids.add(2)
    expect(take()).toEqual({
      when: new Date(0),
      rows: new Map([['a', { id: 1, at: new Date(5) }]]),
      ids: new Set([1]),
    })
    expect(Object.isFrozen(row)).toBe(true)
    expect(shared.isOneShot).toBe(false)
  })

  it.each([new Date(0), new Map([['a', 1]]), new Set([1])])(
    'leaves %o without a prototype as it is',
    (value) => {
      Object.setPrototypeOf(value, null)
      expect((share({ value }).take() as { value: unknown }).value).toBe(value)
    },
  )

  it('detects one-shot values in a map and in a set', () => {
    expect(share(new Map([['a', new Response('x')]])).isOneShot).toBe(true)
    expect(share({ all: new Set([new Response('x')]) }).isOneShot).toBe(true)
  })

  it('terminates for maps and sets that contain themselves', () => {
    const map = new Map<string, unknown>()
    map.set('self', map)
    const set = new Set<unknown>([map])
    map.set('set', set)
    const taken = share(map).take() as typeof map
    expect(taken.get('self')).toBe(taken)
    expect(taken.get('set')).toEqual(new Set([taken]))
    expect(taken).not.toBe(map)
  })

  it.each<[string, () => unknown]>([
    ['a Response', () => new Response('x')],
    ['a Request', () => new Request('http://localhost', { method: 'POST', body: 'x' })],
    ["a Response of undici's own", () => new UndiciResponse('x')],
    ['a Node stream in an object', () => ({ statusCode: 200, body: Readable.from(['x']) })],
    ['an old Node stream', () => ({ body: Object.assign(new OldStream(), { readable: true }) })],
    ['a web stream in a list', () => [new Blob(['x']).stream()]],
    ['a generator', () => ({ items: (function* () {})() })],
    ['an async generator', () => ({ textStream: (async function* () {})() })],
    ["a Map's iterator", () => new Map().entries()],
    ['an iterator made by hand', () => ({ inner: { next: () => ({ done: true }) } })],
    ['an async iterable made by hand', () => ({ inner: { [Symbol.asyncIterator]() {} } })],
  ])('detects a one-shot value: %s', (_, make) => {
    expect(share(make()).isOneShot).toBe(true)
  })

  it.each([
    ['a Blob', { blob: new Blob(['x']) }],
    ['a Map and a Date', { map: new Map([['a', 1]]), date: new Date(0) }],
    ['a stream to write to', { to: new Writable() }],
    ['an object whose getters throw', { odd: new Proxy(new (class A {})(), { get: thrower }) }],
    ['a field that is called so', { next: 'page', bodyUsed: false, readable: true }],
  ])('does not treat %s as one-shot', (_, value) => {
    expect(share(value).isOneShot).toBe(false)
  })

  it('keeps a field named __proto__ as a field when it copies', () => {
    const taken = share({
      bytes: Buffer.from([1]),
      inner: JSON.parse('{"__proto__": {"polluted": true}}'),
    }).take() as { inner: object }
    expect(Object.getPrototypeOf(taken.inner)).toBe(Object.prototype)
    expect(Object.keys(taken.inner)).toEqual(['__proto__'])
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  it('terminates for values that contain themselves', () => {
    const node: Record<string, unknown> = { bytes: Buffer.from([1]) }
    node.left = node
    node.right = node
    const taken = share(node).take() as { bytes: Buffer }
    expect([...taken.bytes]).toEqual([1])
    expect(Object.isFrozen(node)).toBe(true)
  })

  it('terminates for parts that are reused many times', () => {
    let tree: Record<string, unknown> = { bytes: Buffer.from([1]) }
    for (let i = 0; i < 60; i++) tree = { left: tree, right: tree }
    expect(share(tree).take()).toHaveProperty('left.right.left.right')
  })

  it('terminates for values of any depth', () => {
    let deep: unknown = 'bottom'
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(share(deep).take()).toBe(deep)
  })

  it('counts bytes roughly: text by its length, binary by its size', () => {
    expect(share('x'.repeat(1_000)).bytes).toBeGreaterThanOrEqual(2_000)
    expect(share(Buffer.alloc(5_000)).bytes).toBeGreaterThanOrEqual(5_000)
    expect(share({ a: ['x'.repeat(500)] }).bytes).toBeGreaterThanOrEqual(1_000)
    expect(share(1).bytes).toBeLessThan(100)
    const once = { text: 'x'.repeat(100) }
    expect(share(Array.from({ length: 100 }, () => ({ ...once }))).bytes).toBeGreaterThanOrEqual(
      100 * 200,
    )
  })

  it('gives any JSON value unchanged and frozen', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const before = structuredClone(value)
        const shared = share(value)
        expect(shared.take()).toEqual(before)
        expect(isDeeplyFrozen(shared.take())).toBe(true)
        expect(shared.isOneShot).toBe(false)
      }),
    )
  })
})
