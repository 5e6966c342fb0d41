import { getEventListeners } from 'node:events'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as ours from '../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'
import { failure } from '../support/watch.js'

vi.resetModules()
/** Another copy of the library, as its CommonJS files are beside the ES modules. */
const theirs: typeof ours = await import('../../src/index.js')

const { base, cache, collect, createBlossom, stack, timeout } = ours

let local: LocalBlossom

beforeAll(async () => {
  local = await startLocalBlossom()
})
afterAll(() => local.close())

describe('two copies of the library', () => {
  it('are distinct, which these tests rely on', () => {
    expect(theirs.stack).not.toBe(stack)
    expect(theirs.StackError).not.toBe(ours.StackError)
  })

  it.each([
    ['stack() of one', theirs.base, stack, cache],
    ['stack() and cache() of one', theirs.base, stack, theirs.cache],
    ['base() and cache() of one', base, theirs.stack, cache],
  ])('read the traits of each other: %s', async (_, makeBase, makeStack, makeCache) => {
    let calls = 0
    const told = makeBase(async (_: { id: string; at: number }) => ++calls, {
      key: ({ id }) => id,
      valid: (answer) => answer === 1,
    })
    const ask = makeStack(told, makeCache())
    expect(await ask({ id: 'a', at: 1 })).toBe(1)
    expect(await ask({ id: 'a', at: 2 })).toBe(1)
    expect(await ask({ id: 'b', at: 3 })).toBe(2)
    expect(await ask({ id: 'b', at: 4 })).toBe(3)
  })

  it("never give another function's answer from a cache that both use", async () => {
    const layer = cache()
    const first = stack(async (_: string) => 'first', layer)
    const second = theirs.stack(async (_: string) => 'second', layer)
    expect([await first('q'), await second('q')]).toEqual(['first', 'second'])
    expect([await first('q'), await second('q')]).toEqual(['first', 'second'])
    expect(layer.stats()).toMatchObject({ hits: 2, misses: 2 })
  })

  it('close a layer that both use with the last of its stacks', async () => {
    const layer = ours.breaker()
    const first = stack(async () => 1, layer)
    const second = theirs.stack(async () => 2, layer)
    await first.close()
    expect(() => stack(async () => 3, layer)).not.toThrow()
    expect(await second()).toBe(2)
    await second.close()
  })

  it('share one listener on a signal', async () => {
    const { signal } = new AbortController()
    const never = () => new Promise<never>(() => {})
    const calls = [
      failure(stack(never, timeout({ ms: 20 }))(undefined, { signal })),
      failure(theirs.stack(never, timeout({ ms: 20 }))(undefined, { signal })),
    ]
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    expect(await Promise.all(calls)).toMatchObject([{ code: 'TIMEOUT' }, { code: 'TIMEOUT' }])
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it.each([
    ['client', 'layers', ours.createBlossom, theirs.cache, theirs.dedupe],
    ['layers', 'client', theirs.createBlossom, cache, ours.dedupe],
  ])("serve a client's answers in both forms: %s of one, %s of the other", async (...parts) => {
    const [, , make, makeCache, makeDedupe] = parts
    const blossom = make({ baseURL: local.url, layers: [makeCache(), makeDedupe()] })
    const streamed = await collect(await blossom.text.stream('Hello there'))
    const again = await collect(await blossom.text.stream('Hello there'))
    expect(again).toEqual(streamed)
    const plain = await blossom.text.generate('Another question')
    const asStream = await collect(await blossom.text.stream('Another question'))
    expect(asStream.map(({ text }) => text).join('')).toBe(plain.text)
    expect(blossom.stats().cache).toMatchObject({ hits: 2, misses: 2 })
    await blossom.close()
  })

  it('nest, passing on deadlines and aborts', async () => {
    const inner = stack(() => new Promise<never>(() => {}))
    const outer = theirs.stack(inner, theirs.timeout({ ms: 20 }))
    expect(await failure(outer())).toMatchObject({ code: 'TIMEOUT' })
    await inner.close({ timeoutMs: 0 })
  })

  it('leave no timeline for notes of their own', async () => {
    const blossom = createBlossom({ baseURL: local.url })
    const { Notes } = await import('../../src/core/index.js')
    const meta = new Notes()
    await blossom.text.generate('Hello', { meta })
    expect(meta.has('client')).toBe(true)
    expect(meta.has('timeline')).toBe(false)
    await blossom.close()
  })
})
