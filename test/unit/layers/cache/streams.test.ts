import { beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  collect,
  Frame,
  replay,
  type Stream,
  type StreamEnd,
  stack,
  streamOver,
} from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, driven, numbers } from '../../../support/streams.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

describe('cache', () => {
  describe('streams', () => {
    it('stores a stream chunk by chunk and replays it as a stream', async () => {
      let calls = 0
      async function* chunks() {
        calls++
        yield 'a'
        yield ''
        yield { n: 1 }
        yield 'a'
      }
      const cached = stack(async () => chunks(), cache())
      for (let i = 0; i < 3; i++)
        expect(await collect(await cached('q'))).toEqual(['a', '', { n: 1 }, 'a'])
      expect(calls).toBe(1)
    })

    it('gives each hit a stream of its own', async () => {
      const cached = stack(async () => numbers(3), cache())
      await collect(await cached('q'))
      const [one, two] = [await cached('q'), await cached('q')]
      expect(await one.next()).toEqual({ done: false, value: 0 })
      expect(await collect(two)).toEqual([0, 1, 2])
      expect(await collect(one)).toEqual([1, 2])
    })

    it('stores a stream without chunks', async () => {
      const ask = scripted<AsyncGenerator<number>>(() => numbers(0))
      const cached = stack(ask, cache())
      expect(await collect(await cached('q'))).toEqual([])
      expect(await collect(await cached('q'))).toEqual([])
      expect(ask.calls.length).toBe(1)
    })

    it('ends a hit that nobody reads, and one whose caller aborts', async () => {
      const cached = stack(
        base(async () => numbers(3), { unreadMs: 1_000 }),
        cache(),
      )
      await collect(await cached('q'))
      const unread = await cached('q')
      await tick(1_000)
      expect(await failure(unread.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
      const caller = new AbortController()
      const left = await cached('q', { signal: caller.signal })
      caller.abort(new Error('the caller has left'))
      expect(await failure(left.next())).toBe(caller.signal.reason)
    })

    const leaveEarly = async (stream: AsyncGenerator<number>) => {
      await stream.next()
      await stream.return(undefined)
    }
    const incomplete: [
      string,
      (streams: number) => AsyncIterable<number>,
      (stream: AsyncGenerator<number>) => Promise<unknown>,
    ][] = [
      [
        'that fails half-way',
        () => breaking(2, new Error('broken')),
        (stream) => failure(collect(stream)),
      ],
      ['that its reader leaves', () => numbers(3), leaveEarly],
      [
        'that ended as not to be kept',
        () =>
          replay([1, 2], { end: { outcome: 'complete', cacheable: false } as StreamEnd } as object),
        collect,
      ],
    ]
    it.each(incomplete)('does not keep a stream %s', async (_, make, read) => {
      const ask = scripted<AsyncIterable<number>>(() => make(1))
      const cached = stack(ask, cache())
      await read(await cached('q'))
      await read(await cached('q'))
      expect(ask.calls.length).toBe(2)
      expect(cached.stats().cache.entries).toBe(0)
    })

    it('does not keep a stream whose caller aborts before its end', async () => {
      const cached = stack(async () => numbers(3), cache())
      const caller = new AbortController()
      const stream = await cached('q', { signal: caller.signal })
      await stream.next()
      caller.abort()
      await failure(stream.next())
      expect(cached.stats().cache.entries).toBe(0)
    })

    it('does not keep a stream that the base calls incomplete', async () => {
      const complete = vi.fn((chunks: readonly number[]) => chunks.includes(3))
      const lengths = [3, 4]
      const ask = scripted<AsyncGenerator<number>>(() => numbers(lengths.shift() ?? 0))
      const cached = stack(base(ask, { complete }), cache())
      expect(await collect(await cached('q'))).toEqual([0, 1, 2])
      expect(await collect(await cached('q'))).toEqual([0, 1, 2, 3])
      expect(await collect(await cached('q'))).toEqual([0, 1, 2, 3])
      expect(complete.mock.calls).toEqual([[[0, 1, 2]], [[0, 1, 2, 3]]])
      expect(ask.calls.length).toBe(2)
    })

    it('does not keep a value that the base calls invalid', async () => {
      const ask = scripted<string>('half', 'whole')
      const cached = stack(base(ask, { valid: (answer) => answer === 'whole' }), cache())
      expect(await cached('q')).toBe('half')
      expect(await cached('q')).toBe('whole')
      expect(await cached('q')).toBe('whole')
      expect(ask.calls.length).toBe(2)
    })

    it('keeps a stream only when its last chunk has been read', async () => {
      const source = driven<number>({ committed: true })
      const cached = stack(async () => source.stream, cache())
      const stream = await cached('q')
      source.stream.log.push(1)
      expect(cached.stats().cache.entries).toBe(0)
      await stream.next()
      source.stream.log.end()
      expect(cached.stats().cache.entries).toBe(1)
    })

    it('forgets the chunks of a stream that is larger than the cache', async () => {
      async function* large() {
        for (let i = 0; i < 10; i++) yield 'x'.repeat(100)
      }
      const cached = stack(async () => large(), cache({ maxBytes: 1_000 }))
      expect(await collect(await cached('q'))).toHaveLength(10)
      expect(cached.stats().cache).toMatchObject({ entries: 0, bytes: 0 })
    })
  })
})

describe('a stream of frames, which came as text', () => {
  const chunks = [
    { id: 1, list: [{ text: 'a' }] },
    { id: 2, list: [] },
    { id: 3, list: [{ text: 'é' }] },
  ]
  const texts = [
    '{"id": 1, "list": [{"text":"a"}]}',
    '{"id":2,"list":[ ]}',
    '{"id":3,"list":[{"text":"\\u00e9"}]}',
  ]
  let calls = 0
  beforeEach(() => {
    calls = 0
  })
  const streaming = async (_: string): Promise<AsyncIterable<unknown>> => {
    calls++
    return streamOver(texts.map((text, i) => Frame.read(text, i === 1 ? 'named' : undefined)))
  }
  const framesOf = (answer: unknown) =>
    (answer as Stream<unknown>).readFrames().map(({ text, event }) => ({ text, event }))

  it('gives every caller objects of its own, again and again', async () => {
    const ask = stack(streaming, cache())
    for (let i = 0; i < 4; i++) {
      const answer = (await collect(await ask('one'))) as typeof chunks
      expect(answer).toEqual(chunks)
      // Whoever changes its own changes nobody else's.
      answer[0]!.list[0]!.text = 'changed'
      answer[1]!.list.push({ text: 'more' })
    }
    expect(calls).toBe(1)
    expect(ask.stats().cache).toMatchObject({ hits: 3, misses: 1, entries: 1 })
    expect(ask.stats().cache.bytes).toBeGreaterThan(texts.join('').length)
  })

  it.each([
    ['in memory', () => cache()],
    ['in a store outside the process', () => cache({ store: new Map() })],
  ])('is sent on as text byte for byte as it came, event names included: %s', async (_, make) => {
    const ask = stack(base(streaming, { name: 'ask' }), make())
    const came = texts.map((text, i) => ({ text, event: i === 1 ? 'named' : undefined }))
    for (let i = 0; i < 3; i++) {
      expect(framesOf(await ask('one'))).toEqual(came)
      await tick()
    }
    expect(calls).toBe(1)
  })

  it('is renewed and forgotten like any other', async () => {
    const layer = cache({ ttlMs: 1_000 })
    const ask = stack(streaming, layer)
    await collect(await ask('one'))
    vi.advanceTimersByTime(900)
    await collect(await ask('one'))
    vi.advanceTimersByTime(200)
    await collect(await ask('one'))
    expect(calls).toBe(2)
    await layer.clear()
    await collect(await ask('one'))
    expect(calls).toBe(3)
  })

  it('is not kept when it is larger than the cache', async () => {
    const ask = stack(streaming, cache({ maxBytes: 60 }))
    for (let i = 0; i < 2; i++) expect(await collect(await ask('one'))).toEqual(chunks)
    expect(calls).toBe(2)
  })

  it('is judged by the values of its chunks when read through another base', async () => {
    const judged: unknown[] = []
    const complete = (all: readonly unknown[]) => judged.push(...all) < 0
    const ask = stack(base(streaming, { complete }), cache())
    for (let i = 0; i < 2; i++) await collect(await ask('one'))
    expect(calls).toBe(2)
    expect(judged).toEqual([...chunks, ...chunks])
  })
})
