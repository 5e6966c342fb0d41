import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type * as library from '../../../src/index.js'
import { gate } from '../../support/gate.js'
import { catchWarnings } from '../../support/warnings.js'

let warnings: string[]
let { base, cache, collect, dedupe, stack }: typeof library = {} as never

beforeEach(async () => {
  // Each text is told once in a process.
  vi.resetModules()
  ;({ base, cache, collect, dedupe, stack } = await import('../../../src/index.js'))
  warnings = catchWarnings()
})
afterEach(() => {
  vi.restoreAllMocks()
})

const kinds: [string, (n: number) => unknown, (answer: never) => Promise<string>][] = [
  ['a Response', (n) => new Response(`${n}`), (answer: Response) => answer.text()],
  [
    'an object with a Node stream',
    (n) => ({ statusCode: 200, body: Readable.from([`${n}`]) }),
    ({ body }: { body: Readable }) => text(body),
  ],
  [
    'an object with a web stream',
    (n) => ({ body: new Blob([`${n}`]).stream() }),
    ({ body }: { body: ReadableStream<Uint8Array> }) => new Response(body as never).text(),
  ],
  [
    'an iterator',
    (n) => [`${n}`].values(),
    async (answer: IterableIterator<string>) => [...answer].join(''),
  ],
]

/** A function whose answers are numbered, each readable once. */
function numbered(make: (n: number) => unknown) {
  let calls = 0
  const opened = gate()
  const ask = async (_: string) => {
    const n = ++calls
    await opened.promise
    return make(n)
  }
  return { ask, open: opened.open, count: () => calls }
}

describe.each(kinds)('%s', (_, make, read) => {
  it('goes to the first caller of a shared call, while the others ask again', async () => {
    const { ask, open, count } = numbered(make)
    const deduped = stack(ask, dedupe())
    const calls = ['q', 'q', 'q'].map((request) => deduped(request))
    expect(count()).toBe(1)
    open()
    const texts = await Promise.all(calls.map(async (call) => read((await call) as never)))
    expect(texts).toEqual(['1', '2', '3'])
    expect(await read((await deduped('q')) as never)).toBe('4')
    expect(deduped.stats().dedupe).toEqual({
      joined: 2,
      elsewhere: 0,
      inFlight: 0,
      unkeyed: 0,
      oneShot: 3,
    })
  })

  it('bypasses the cache, in memory or outside', async () => {
    for (const store of [undefined, new Map()]) {
      const { ask, open, count } = numbered(make)
      open()
      const cached = stack(base(ask, { name: 'ask' }), cache({ store }))
      for (const n of ['1', '2', '3']) expect(await read((await cached('q')) as never)).toBe(n)
      expect(count()).toBe(3)
      expect(cached.stats().cache).toMatchObject({ hits: 0, misses: 1, oneShot: 2, entries: 0 })
    }
  })

  it('causes one warning that says what to do', async () => {
    const { ask, open } = numbered(make)
    open()
    const both = stack(ask, cache(), dedupe())
    for (let i = 0; i < 3; i++) await read((await both('q')) as never)
    expect(warnings).toEqual([
      expect.stringMatching(/^ask returned an answer that can be read only once/),
    ])
  })
})

describe('an answer that can be read only once', () => {
  it('leaves no joined note on a caller that asks again', async () => {
    const { ask, open } = numbered((n) => new Response(`${n}`))
    const deduped = stack(ask, dedupe())
    const metas = [new Map<string, unknown>(), new Map<string, unknown>()]
    const calls = metas.map((meta) => deduped('q', { meta }))
    open()
    await Promise.all(calls)
    expect(metas.map((meta) => meta.has('dedupe'))).toEqual([false, false])
  })

  it('leaves other functions around the same layers as they are', async () => {
    const layer = cache()
    await stack(async (_: string) => new Response('x'), layer)('q')
    let calls = 0
    const plain = stack(async (_: string) => ++calls, layer)
    expect([await plain('q'), await plain('q')]).toEqual([1, 1])
  })

  it('lets callers that ask again fail on their own', async () => {
    let calls = 0
    const opened = gate()
    const deduped = stack(async (_: string) => {
      if (++calls > 1) throw new Error(`failure ${calls}`)
      await opened.promise
      return new Response('x')
    }, dedupe())
    const all = Promise.allSettled([deduped('q'), deduped('q'), deduped('q')])
    opened.open()
    const [first, ...others] = await all
    expect(first.status).toBe('fulfilled')
    expect(others).toMatchObject([
      { reason: { message: 'failure 2' } },
      { reason: { message: 'failure 3' } },
    ])
  })

  it('is not kept as the chunk of a stream', async () => {
    let calls = 0
    const cached = stack(async function* (_: string) {
      yield new Response(`${++calls}`)
    }, cache())
    for (const n of ['1', '2', '3']) {
      const [chunk] = await collect(await cached('q'))
      expect(await chunk?.text()).toBe(n)
    }
  })

  it.each([
    ['a Node stream', () => Readable.from(['a', 'b'])],
    ['a web stream', () => ReadableStream.from(['a', 'b'])],
  ])('is shared and kept when it is the stream itself: %s', async (_, make) => {
    let calls = 0
    const ask = async (_: string) => {
      calls++
      return make() as AsyncIterable<string>
    }
    const both = stack(ask, cache(), dedupe())
    const streams = await Promise.all([both('q'), both('q')])
    expect(await Promise.all(streams.map(collect))).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
    expect(await collect(await both('q'))).toEqual(['a', 'b'])
    expect(calls).toBe(1)
    expect(warnings).toEqual([])
  })
})
