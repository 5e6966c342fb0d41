import { createHash } from 'node:crypto'
import fc from 'fast-check'
import Keyv from 'keyv'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import {
  base,
  type CallOptions,
  type Context,
  collect,
  Frame,
  replay,
  type Stream,
  type StreamEnd,
  stack,
  streamOver,
} from '../../../../src/core/index.js'
import { type CacheNote, cache } from '../../../../src/layers/cache/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { gate, never } from '../../../support/gate.js'
import { scripted } from '../../../support/scripted.js'
import { fail, OddStore } from '../../../support/store.js'
import { breaking, driven, numbers } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, turn, watch } from '../../../support/watch.js'

let warnings: string[]

beforeEach(() => {
  vi.useFakeTimers()
  warnings = catchWarnings()
})

afterEach(() => {
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const flush = () => vi.advanceTimersByTimeAsync(0)

/** A base that numbers its answers. */
const counting = () => {
  const counted = Object.assign(async (_request?: unknown) => ({ n: ++counted.calls }), {
    calls: 0,
  })
  return counted
}

/** The cache's note on a call. */
async function noteOf(
  ask: (request: string, options: CallOptions) => Promise<unknown>,
  request: string,
  options: CallOptions = {},
) {
  const meta = new Map<string, unknown>()
  await ask(request, { ...options, meta })
  return meta.get('cache') as CacheNote | undefined
}

describe('cache', () => {
  describe('hits and misses', () => {
    it('asks once for equal requests and gives the same answer again', async () => {
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

    it('reads nothing stored for a reload, but stores its answer', async () => {
      const cached = stack(counting(), cache())
      await cached('q')
      expect(await cached('q', { cache: 'reload' })).toEqual({ n: 2 })
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('passes a no-store call by, both ways, and counts nothing', async () => {
      const cached = stack(counting(), cache())
      await cached('q', { cache: 'no-store' })
      expect(cached.stats().cache).toMatchObject({ hits: 0, misses: 0, entries: 0 })
      expect(await cached('q')).toEqual({ n: 2 })
      expect(await cached('q', { cache: 'no-store' })).toEqual({ n: 3 })
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('tells a call by its meta whether it was a miss, a hit or stale, under its name', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000, staleMs: 1_000 }))
      expect((await noteOf(cached, 'q'))?.status).toBe('miss')
      expect((await noteOf(cached, 'q'))?.status).toBe('hit')
      await vi.advanceTimersByTimeAsync(1_500)
      expect((await noteOf(cached, 'q'))?.status).toBe('stale')
      expect((await noteOf(cached, 'q', { cache: 'reload' }))?.status).toBe('miss')
      const named = stack(counting(), cache({ name: 'memory' }))
      const meta = new Map<string, unknown>()
      await named('q', { meta })
      expect(meta.get('memory')).toMatchObject({ status: 'miss' })
      expect(named.stats().memory.misses).toBe(1)
    })

    it('serves a hit although the base has no answer any more', async () => {
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
      await vi.advanceTimersByTimeAsync(1_000)
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

  describe('forms', () => {
    interface Question {
      q: string
      stream?: boolean
    }
    const converting = () => {
      const calls: boolean[] = []
      const ask = base(
        async ({ q, stream = false }: Question): Promise<unknown> => {
          calls.push(stream)
          return stream ? replay([...q]) : { text: q }
        },
        {
          streams: ({ stream = false }) => stream,
          key: ({ q }) => q,
          toStream: (answer) => [(answer as { text: string }).text],
          fromStream: (chunks) => ({ text: chunks.join('') }),
        },
      )
      return { cached: stack(ask, cache()), calls }
    }
    const read = async (answer: unknown) => collect(answer as AsyncIterable<unknown>)

    it('serves a plain call from a stored stream, frozen', async () => {
      const { cached, calls } = converting()
      expect(await read(await cached({ q: 'abc', stream: true }))).toEqual(['a', 'b', 'c'])
      const answer = await cached({ q: 'abc' })
      expect(answer).toEqual({ text: 'abc' })
      expect(Object.isFrozen(answer)).toBe(true)
      expect(calls).toEqual([true])
    })

    it('serves a stream from a stored plain answer', async () => {
      const { cached, calls } = converting()
      await cached({ q: 'abc' })
      expect(await read(await cached({ q: 'abc', stream: true }))).toEqual(['abc'])
      expect(calls).toEqual([false])
    })

    it.each([
      ['cannot be converted', () => undefined],
      [
        'fail to be converted',
        () => {
          throw named(`Conversion ${Math.random()}`)
        },
      ],
    ])('misses when the stored chunks %s', async (_, convert) => {
      const ask = base(
        async ({ stream }: { stream: boolean }): Promise<unknown> =>
          stream ? numbers(2) : 'plain',
        {
          streams: ({ stream }) => stream,
          key: () => 'one',
          toStream: convert,
          fromStream: convert,
        },
      )
      const cached = stack(ask, cache())
      await read(await cached({ stream: true }))
      expect(await cached({ stream: false })).toBe('plain')
      expect(await read(await cached({ stream: true }))).toEqual([0, 1])
    })

    it('does not give a stream to a plain call when the base cannot convert', async () => {
      const ask = base(
        async (stream: boolean): Promise<unknown> => (stream ? numbers(2) : 'plain'),
        {
          streams: (stream) => stream,
          key: () => 'one',
        },
      )
      const cached = stack(ask, cache())
      await read(await cached(true))
      expect(await cached(false)).toBe('plain')
      expect(cached.stats().cache).toMatchObject({ hits: 0, misses: 2 })
    })

    describe('of the client', () => {
      const client = async (layers = [cache()] as const) => {
        vi.useRealTimers()
        const upstream = await startLocalBlossom({ coalesce: false })
        const blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' }).use(...layers)
        return {
          upstream,
          blossom,
          [Symbol.asyncDispose]: async () => {
            await blossom.close()
            await upstream.close()
          },
        }
      }

      it('serves text.generate from a stored text.stream and the reverse', async () => {
        await using of = await client()
        const { blossom, upstream } = of
        const stream = await blossom.text.stream('one')
        let text = ''
        for await (const piece of stream) text += piece.text
        const hit = await blossom.text.generate('one')
        expect(hit).toMatchObject({
          text,
          cached: true,
          attempts: 0,
          finishReason: stream.finishReason,
          usage: stream.usage,
        })
        const plain = await blossom.text.generate('two')
        expect(plain).toMatchObject({ cached: false, attempts: 1 })
        const replayed = await blossom.text.stream('two')
        let again = ''
        for await (const piece of replayed) again += piece.text
        expect(again).toBe(plain.text)
        expect(replayed.usage).toEqual(plain.usage)
        expect(replayed.finishReason).toBe(plain.finishReason)
        expect(upstream.requests.length).toBe(2)
      })

      it('replays the very chunks of a chat stream', async () => {
        await using of = await client()
        const body = { messages: [{ role: 'user' as const, content: 'Hello' }] }
        const first = await collect(await of.blossom.chat.stream(body))
        expect(await collect(await of.blossom.chat.stream(body))).toEqual(first)
        expect(of.upstream.requests.length).toBe(1)
      })

      it('does not keep a stream that came without [DONE], or was cut', async () => {
        await using of = await client()
        const body = { messages: [{ role: 'user' as const, content: 'Hello' }] }
        of.upstream.fault({ noDone: true })
        await collect(await of.blossom.chat.stream(body))
        of.upstream.fault({ cutAfterChunks: 2 })
        await failure(collect(await of.blossom.chat.stream(body)))
        expect(of.blossom.stats().cache.entries).toBe(0)
        await collect(await of.blossom.chat.stream(body))
        expect(of.upstream.requests.length).toBe(3)
        expect(of.blossom.stats().cache.entries).toBe(1)
      })

      it('copies the bytes of an image for each caller', async () => {
        await using of = await client()
        const first = await of.blossom.image.generate('a cat')
        const whole = Buffer.from(first.bytes)
        first.bytes.fill(0)
        expect(Buffer.compare((await of.blossom.image.generate('a cat')).bytes, whole)).toBe(0)
        expect(of.upstream.requests.length).toBe(1)
      })

      it('names the default model and knows it unnamed as the same, but another as another', async () => {
        await using of = await client()
        const messages = [{ role: 'user' as const, content: 'Hello' }]
        await of.blossom.chat.create({ messages })
        await of.blossom.chat.create({ messages, model: 'openai' })
        expect(of.upstream.requests.length).toBe(1)
        await of.blossom.chat.create({ messages, model: 'mistral' }).catch(() => {})
        await of.blossom.chat.create({ messages, temperature: 1 })
        expect(of.upstream.requests.length).toBe(3)
      })

      it('passes by what belongs to the caller alone, and counts it', async () => {
        await using of = await client()
        await of.blossom.account.balance()
        await of.blossom.account.balance()
        expect(of.upstream.requests.length).toBe(2)
        expect(of.blossom.stats().cache).toMatchObject({ unkeyed: 2, entries: 0 })
      })

      it('shares answers between the members of a pool, and not between clients with other keys', async () => {
        const shared = cache()
        await using of = await client([shared])
        const { url } = of.upstream
        const layers = () =>
          [shared, pool({ members: [{ apiKey: 'sk_one' }, { apiKey: 'sk_two' }] })] as const
        const pooled = createBlossom({ baseURL: url, apiKey: 'sk_caller' }).use(...layers())
        const other = createBlossom({ baseURL: url, apiKey: 'sk_other' }).use(shared)
        for (let i = 0; i < 4; i++) await pooled.text.generate('Hello')
        expect(of.upstream.requests.length).toBe(1)
        expect(pooled.stats().cache).toMatchObject({ hits: 3, misses: 1 })
        await other.text.generate('Hello')
        expect(of.upstream.requests.length).toBe(2)
        const again = createBlossom({ baseURL: url, apiKey: 'sk_caller' }).use(shared)
        expect(await again.text.generate('Hello')).toMatchObject({ cached: true })
        await Promise.all([pooled.close(), other.close(), again.close()])
      })

      it('keeps neither keys nor prompts readable in a store', async () => {
        const store = new OddStore()
        await using of = await client([cache({ store })])
        const meta = new Map<string, unknown>()
        await of.blossom.text.generate('my secret prompt', { meta })
        await vi.waitFor(() => expect(store.kept.size).toBe(1))
        const [key] = store.kept.keys()
        expect(key).toMatch(/^blossom-stack:[\w-]{43}$/)
        expect(JSON.stringify([...store.kept])).not.toContain('sk_test')
        expect(key).not.toContain('secret')
      })
    })
  })

  describe('keys', () => {
    it('does not care for the order of fields, at any depth, nor for undefined ones', async () => {
      const ask = counting()
      const cached = stack(ask, cache())
      await cached({ a: 1, b: { c: [1, 2], d: 2 } })
      await cached({ b: { d: 2, c: [1, 2], e: undefined }, a: 1 })
      expect(ask.calls).toBe(1)
      await cached({ b: { d: 2, c: [2, 1] }, a: 1 })
      expect(ask.calls).toBe(2)
    })

    it('never shares between tenants, nor with calls that have none', async () => {
      const ask = counting()
      const cached = stack(ask, cache())
      const answers = [
        await cached('q'),
        await cached('q', { tenant: 'a' }),
        await cached('q', { tenant: 'b' }),
      ]
      expect(new Set(answers).size).toBe(3)
      expect(await cached('q', { tenant: 'a' })).toBe(answers[1])
      expect(await cached('q')).toBe(answers[0])
      await cached('q', { tenant: 'tenant a' })
      expect(ask.calls).toBe(4)
    })

    it('is a digest of fixed length, without anything of the request or the tenant in it', async () => {
      const cached = stack(counting(), cache())
      const notes = [
        await noteOf(cached, 'a secret'),
        await noteOf(cached, 'x'.repeat(10_000), { tenant: 'acme' }),
      ]
      for (const note of notes) expect(note!.key).toMatch(/^[\w-]{43}$/)
    })

    it.each([
      ['a function', () => {}],
      ['a class instance', new Date(0)],
      ['a bigint', 1n],
      ['NaN', Number.NaN],
      ['a Map', new Map([[1, 2]])],
    ])('passes by a request that holds %s, and counts it', async (_, odd) => {
      const ask = counting()
      const cached = stack(ask, cache())
      await cached({ odd })
      await cached({ odd })
      expect(ask.calls).toBe(2)
      expect(cached.stats().cache).toMatchObject({ unkeyed: 2, hits: 0, misses: 0, entries: 0 })
    })

    it("goes by the base's own key, or its own key option, to which the tenant is added", async () => {
      const ask = counting()
      const byBase = stack(base(ask, { key: (request) => String(request).slice(0, 1) }), cache())
      expect(await byBase('apple')).toBe(await byBase('apricot'))
      const seen: unknown[] = []
      const key = (request: string, { tenant }: Context) => {
        seen.push(tenant)
        return request.length > 9 ? undefined : request.slice(0, 1)
      }
      const byOption = stack(async (request: string) => ({ request }), cache({ key }))
      expect(await byOption('apple')).toBe(await byOption('apricot'))
      expect(await byOption('apple', { tenant: 'a' })).not.toBe(await byOption('apple'))
      expect(seen).toContain('a')
      await byOption('a long request')
      expect(byOption.stats().cache.unkeyed).toBe(1)
    })

    it.each([null, 1, {}, ['a']])('passes by a call whose key is %j and no string', async (key) => {
      const ask = counting()
      const cached = stack(ask, cache({ key: () => key as never }))
      await cached('a')
      await cached('b')
      expect(ask.calls).toBe(2)
      expect(cached.stats().cache.unkeyed).toBe(2)
    })

    it('never mixes two functions that share one cache', async () => {
      const shared = cache()
      const one = stack(async (q: string) => `one ${q}`, shared)
      const two = stack(async (q: string) => `two ${q}`, shared)
      expect([await one('q'), await two('q'), await one('q'), await two('q')]).toEqual([
        'one q',
        'two q',
        'one q',
        'two q',
      ])
      expect(one.stats().cache).toMatchObject({ hits: 2, misses: 2, entries: 2 })
    })

    it('shares between two stacks around the same function, and around bases that tell the same key', async () => {
      const shared = cache()
      const ask = counting()
      await stack(ask, shared)('q')
      expect(await stack(ask, shared)('q')).toEqual({ n: 1 })
      const keyed = () => base(counting(), { key: () => 'the same' })
      expect(await stack(keyed(), shared)('q')).toBe(await stack(keyed(), shared)('q'))
    })

    it.each([
      ['a Map', () => new Map()],
      ['a Keyv', () => new Keyv()],
      ['a Keyv store', () => new OddStore()],
    ])('refuses a function without a name of its own around a store: %s', (_, make) => {
      async function lookUp(q: string) {
        return q
      }
      for (const fn of [lookUp, async (q: string) => q, base(lookUp, { unreadMs: 5 })]) {
        expect(() => stack(fn, cache({ store: make() }))).toThrow(
          expect.objectContaining({
            code: 'CONFIG',
            message: expect.stringMatching(
              /^cache: with a store, .* base\(fn, \{ name: "ask" \}\)/,
            ),
          }),
        )
        expect(() => stack(fn, cache())).not.toThrow()
      }
    })

    it('takes a name, or a key of the base or of the layer, for enough', async () => {
      const ask = async (q: string) => `to ${q}`
      const key = (q: string) => q
      for (const cached of [
        stack(base(ask, { name: 'ask' }), cache({ store: new Map() })),
        stack(base(ask, { key }), cache({ store: new Map() })),
        stack(ask, cache({ store: new Map(), key })),
      ]) {
        await cached('q')
        await flush()
        expect(await cached('q')).toBe('to q')
        expect(cached.stats().cache).toMatchObject({ hits: 1, misses: 1 })
      }
    })

    it("never gives another function's answer from one store, each with a layer of its own", async () => {
      const store = new Map()
      const make = (n: number) =>
        stack(
          base(async (q: string) => `${n} ${q}`, { name: `fn${n}` }),
          cache({ store }),
        )
      const [one, two] = [make(1), make(2)]
      for (let i = 0; i < 2; i++) {
        expect([await one('q'), await two('q')]).toEqual(['1 q', '2 q'])
        await flush()
      }
      expect(two.stats().cache).toMatchObject({ hits: 1, misses: 1 })
    })

    it('finds what an earlier process has stored for the function of that name', async () => {
      const store = new Map()
      await stack(
        base(async (q: string) => `fresh ${q}`, { name: 'lookUp' }),
        cache({ store }),
      )('q')
      await flush()
      const later = base(
        async (_: string): Promise<string> => {
          throw new Error('asked again')
        },
        { name: 'lookUp' },
      )
      expect(await stack(later, cache({ store }))('q')).toBe('fresh q')
    })

    const requests = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), {
      maxKeys: 5,
      noNullPrototype: true,
    })
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled)
      if (typeof value !== 'object' || value === null) return value
      const fields = Object.entries(value).toReversed()
      return Object.fromEntries(fields.map(([key, field]) => [key, shuffled(field)]))
    }
    const keyOf = async (request: unknown) =>
      (await noteOf(stack(scriptedKey, keying) as never, request as never))!.key
    const scriptedKey = async (_: unknown) => 'answer'
    const keying = cache()

    it('gives requests with the same fields in another order the same key', async () => {
      await fc.assert(
        fc.asyncProperty(requests, async (request) => {
          expect(await keyOf(shuffled(request))).toBe(await keyOf(request))
        }),
      )
    })

    it('gives different requests different keys', async () => {
      // JSON knows no negative zero.
      const canonical = (value: unknown) => JSON.stringify(sorted(value))
      const sorted = (value: unknown): unknown => {
        if (Array.isArray(value)) return value.map(sorted)
        if (typeof value !== 'object' || value === null) return value
        const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
        return fields.map(([key, field]) => [
          key,
          sorted(field),
          createHash('sha1').update(key).digest('hex'),
        ])
      }
      await fc.assert(
        fc.asyncProperty(requests, requests, async (a, b) => {
          expect((await keyOf(a)) === (await keyOf(b))).toBe(
            canonical(a) === canonical(b) && Array.isArray(a) === Array.isArray(b),
          )
        }),
      )
    })
  })

  describe('time', () => {
    it('keeps an answer for ttlMs, and then asks again', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_000)
      expect(await cached('q')).toEqual({ n: 1 })
      await vi.advanceTimersByTimeAsync(1)
      expect(await cached('q')).toEqual({ n: 2 })
      await vi.advanceTimersByTimeAsync(999)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('keeps an answer for 30 minutes unless told otherwise', async () => {
      const cached = stack(counting(), cache())
      await cached('q')
      await vi.advanceTimersByTimeAsync(30 * 60_000)
      expect(await cached('q')).toEqual({ n: 1 })
      await vi.advanceTimersByTimeAsync(1)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('takes a time that is no whole number', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1.5, staleMs: 0.25 }))
      await cached('q')
      expect(await cached('q')).toEqual({ n: 1 })
    })

    it('does not let a hit lengthen the time', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      await vi.advanceTimersByTimeAsync(900)
      await cached('q')
      await vi.advanceTimersByTimeAsync(200)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('does not mind in memory that the clock on the wall jumps', async () => {
      const cached = stack(counting(), cache({ ttlMs: 1_000 }))
      await cached('q')
      vi.setSystemTime(Date.now() + 365 * 24 * 3_600_000)
      expect(await cached('q')).toEqual({ n: 1 })
      vi.setSystemTime(0)
      await vi.advanceTimersByTimeAsync(1_001)
      expect(await cached('q')).toEqual({ n: 2 })
    })

    it('counts the time of a stream from its end', async () => {
      const cached = stack(async () => numbers(2), cache({ ttlMs: 1_000 }))
      const stream = await cached('q')
      await stream.next()
      await vi.advanceTimersByTimeAsync(5_000)
      await collect(stream)
      await vi.advanceTimersByTimeAsync(1_000)
      await collect(await cached('q'))
      expect(cached.stats().cache).toMatchObject({ hits: 1, misses: 1 })
    })
  })

  describe('bounds', () => {
    it('holds at most maxEntries, those used last', async () => {
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

  describe('staleMs', () => {
    const stale = (ask: (q: string, context: Context) => Promise<unknown>) =>
      stack(ask, cache({ ttlMs: 1_000, staleMs: 1_000 }))

    it('serves an old answer at once and renews it once behind the scenes', async () => {
      const renewal = gate<string>()
      const ask = scripted<string>('old', () => renewal.promise)
      const cached = stale(ask)
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_500)
      expect(await Promise.all([cached('q'), cached('q'), cached('q')])).toEqual([
        'old',
        'old',
        'old',
      ])
      expect(ask.calls.length).toBe(2)
      expect(cached.stats().cache).toMatchObject({ hits: 3, stale: 3, misses: 1 })
      renewal.open('new')
      await flush()
      expect(await cached('q')).toBe('new')
      expect((await noteOf(cached, 'q'))?.status).toBe('hit')
      expect(ask.calls.length).toBe(2)
    })

    it('keeps the old answer when the renewal fails, and tries again with the next call', async () => {
      const cached = stale(scripted<string>('old', new Error('on purpose'), 'new'))
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_500)
      expect(await cached('q')).toBe('old')
      await flush()
      expect(await cached('q')).toBe('old')
      await flush()
      expect(await cached('q')).toBe('new')
      expect(cached.stats().cache).toMatchObject({ stale: 2, hits: 3 })
    })

    it('gives up a renewal that hangs, and tries again with the next stale hit', async () => {
      const reasons: unknown[] = []
      const ask = vi.fn(async (_q: string, { cancel }: Context) => {
        if (ask.mock.calls.length !== 2) return ask.mock.calls.length
        return new Promise<never>((_, reject) =>
          cancel.onAbort((reason) => reject(reasons[reasons.push(reason) - 1])),
        )
      })
      const cached = stack(ask, cache({ ttlMs: 1_000, staleMs: 3_600_000 }))
      await cached('q')
      vi.advanceTimersByTime(1_001)
      expect(await cached('q')).toBe(1)
      await vi.advanceTimersByTimeAsync(299_999)
      expect(reasons).toEqual([])
      await vi.advanceTimersByTimeAsync(1)
      expect(reasons).toEqual([expect.objectContaining({ code: 'TIMEOUT', layer: 'cache' })])
      expect(await cached('q')).toBe(1)
      await flush()
      expect(await cached('q')).toBe(3)
    })

    it('does not serve an answer beyond ttlMs and staleMs together', async () => {
      const cached = stale(scripted<string>('old', 'new'))
      await cached('q')
      await vi.advanceTimersByTimeAsync(2_001)
      expect(await cached('q')).toBe('new')
      expect(cached.stats().cache).toMatchObject({ stale: 0, misses: 2 })
    })

    it('renews a stream that is stale by reading it to its end', async () => {
      const lengths = [2, 3]
      const cached = stale(async () => numbers(lengths.shift()!))
      await collect((await cached('q')) as AsyncIterable<number>)
      await vi.advanceTimersByTimeAsync(1_500)
      expect(await collect((await cached('q')) as AsyncIterable<number>)).toEqual([0, 1])
      await flush()
      expect(await collect((await cached('q')) as AsyncIterable<number>)).toEqual([0, 1, 2])
    })

    it("renews without the caller's signal, deadline or notes, but for his tenant", async () => {
      const contexts: Context[] = []
      const cached = stale(async (_, context) => {
        contexts.push(context)
        context.meta.set('base', contexts.length)
        return 'answer'
      })
      const meta = new Map<string, unknown>()
      await cached('q', { tenant: 'a' })
      await vi.advanceTimersByTimeAsync(1_500)
      const caller = new AbortController()
      await cached('q', { signal: caller.signal, timeoutMs: 10, meta, tenant: 'a' })
      caller.abort()
      await flush()
      expect(contexts[1]).toMatchObject({ tenant: 'a', deadline: Number.POSITIVE_INFINITY })
      expect(contexts[1]!.signal.aborted).toBe(false)
      expect([...meta.keys()]).toEqual(['timeline', 'cache'])
    })

    it('lets close() wait for a renewal', async () => {
      const renewal = gate<string>()
      const cached = stale(scripted<string>('old', () => renewal.promise))
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_500)
      await cached('q')
      const closed = watch(cached.close())
      await flush()
      expect(closed.state).toBe('pending')
      renewal.open('new')
      await flush()
      expect(closed.state).toBe('resolved')
    })

    it('cuts a renewal that outlasts close()', async () => {
      const cut = gate<unknown>()
      const hang = (_: string, { signal }: Context) =>
        new Promise<string>((_, reject) =>
          signal.addEventListener('abort', () => {
            cut.open(signal.reason)
            reject(signal.reason)
          }),
        )
      const cached = stale(scripted<string>('old', hang))
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_500)
      await cached('q')
      const closed = cached.close({ timeoutMs: 100 })
      await vi.advanceTimersByTimeAsync(100)
      await closed
      expect(await cut.promise).toMatchObject({ code: 'CLOSED' })
    })

    it('survives a base that throws without a promise behind a stale answer', async () => {
      let asked = 0
      const cached = stale(() => {
        if (asked++ > 0) throw new Error('on purpose')
        return Promise.resolve('old')
      })
      await cached('q')
      await vi.advanceTimersByTimeAsync(1_500)
      expect(await cached('q')).toBe('old')
    })
  })

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

    it('keeps answers under way from being stored: values, streams and renewals', async () => {
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
      await vi.advanceTimersByTimeAsync(1_500)
      await renewed('q')
      await layer.clear()
      renewal.open('begun before the clearing')
      await flush()
      expect(cached.stats().cache.entries).toBe(0)
    })

    it('forgets what a store outside holds, although its clear() fails or a slow write arrives later', async () => {
      const store = new OddStore()
      store.onClear = fail
      const layer = cache({ store })
      const cached = stack(base(counting(), { name: 'ask' }), layer)
      await cached('a')
      await flush()
      store.onSet = async (key, value) => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        store.kept.set(key, value)
      }
      await cached('b')
      await vi.advanceTimersByTimeAsync(1)
      await layer.clear()
      await vi.advanceTimersByTimeAsync(200)
      expect(store.kept.size).toBe(2)
      expect(await cached('a')).toEqual({ n: 3 })
      expect(await cached('b')).toEqual({ n: 4 })
      await vi.advanceTimersByTimeAsync(200)
      expect(await cached('a')).toEqual({ n: 3 })
    })

    it('clears a store that is being left alone after it hung', async () => {
      const store = new OddStore()
      const layer = cache({ store, storeTimeoutMs: 50 })
      const cached = stack(base(counting(), { name: 'ask' }), layer)
      store.onGet = () => never()
      const call = cached('a')
      await vi.advanceTimersByTimeAsync(50)
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
      await flush()
      expect(await layer.delete(note!.key)).toBe(true)
      expect(await layer.delete(note!.key)).toBe(false)
      expect(await cached('b')).toEqual({ n: 2 })
      expect(await cached('a')).toEqual({ n: 3 })
    })
  })

  describe('hooks that throw', () => {
    it('passes the cache by when key() throws, with a warning', async () => {
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
      expect(warnings).toEqual(['cache: key() threw KeyMishap; the call went on.'])
    })

    it('does not keep what valid() or complete() throws at, with a warning', async () => {
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
        'cache: valid() threw ValidMishap; the call went on.',
        'cache: complete() threw CompleteMishap; the call went on.',
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

  it('keeps the turn of the event loop free between a hit and its answer', async () => {
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
  ])('leaves as text byte for byte as it came, names included: %s', async (_, make) => {
    const ask = stack(base(streaming, { name: 'ask' }), make())
    const came = texts.map((text, i) => ({ text, event: i === 1 ? 'named' : undefined }))
    for (let i = 0; i < 3; i++) {
      expect(framesOf(await ask('one'))).toEqual(came)
      await flush()
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

  it('is judged by another base than the one it came from, by the values of its chunks', async () => {
    const judged: unknown[] = []
    const complete = (all: readonly unknown[]) => judged.push(...all) < 0
    const ask = stack(base(streaming, { complete }), cache())
    for (let i = 0; i < 2; i++) await collect(await ask('one'))
    expect(calls).toBe(2)
    expect(judged).toEqual([...chunks, ...chunks])
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
