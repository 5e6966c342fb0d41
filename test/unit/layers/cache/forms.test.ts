import { describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import { base, collect, replay, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { OddStore } from '../../../support/store.js'
import { numbers } from '../../../support/streams.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()
catchWarningsInEachTest()

describe('cache', () => {
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

      it('treats a missing model as the default model, and another model as different', async () => {
        await using of = await client()
        const messages = [{ role: 'user' as const, content: 'Hello' }]
        await of.blossom.chat.create({ messages })
        await of.blossom.chat.create({ messages, model: 'openai' })
        expect(of.upstream.requests.length).toBe(1)
        await of.blossom.chat.create({ messages, model: 'mistral' }).catch(() => {})
        await of.blossom.chat.create({ messages, temperature: 1 })
        expect(of.upstream.requests.length).toBe(3)
      })

      it('bypasses calls that belong to the caller alone, and counts them', async () => {
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
})
