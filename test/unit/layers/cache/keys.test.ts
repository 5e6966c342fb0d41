import { createHash } from 'node:crypto'
import fc from 'fast-check'
import Keyv from 'keyv'
import { describe, expect, it } from 'vitest'
import { base, type Context, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { counting, noteOf } from '../../../support/cached.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { OddStore } from '../../../support/store.js'

useFakeTimers()

describe('cache', () => {
  describe('keys', () => {
    it('ignores the order of fields, at any depth, and undefined fields', async () => {
      const ask = counting()
      const cached = stack(ask, cache())
      await cached({ a: 1, b: { c: [1, 2], d: 2 } })
      await cached({ b: { d: 2, c: [1, 2], e: undefined }, a: 1 })
      expect(ask.calls).toBe(1)
      await cached({ b: { d: 2, c: [2, 1] }, a: 1 })
      expect(ask.calls).toBe(2)
    })

    it('never shares between tenants, nor with calls without a tenant', async () => {
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

    it('are digests of fixed length that reveal nothing of the request or the tenant', async () => {
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
    ])('bypasses a request that holds %s, and counts it', async (_, odd) => {
      const ask = counting()
      const cached = stack(ask, cache())
      await cached({ odd })
      await cached({ odd })
      expect(ask.calls).toBe(2)
      expect(cached.stats().cache).toMatchObject({ unkeyed: 2, hits: 0, misses: 0, entries: 0 })
    })

    it("uses the base's key or its own key option, and adds the tenant", async () => {
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

    it.each([null, 1, {}, ['a']])(
      'bypasses a call whose key is %j instead of a string',
      async (key) => {
        const ask = counting()
        const cached = stack(ask, cache({ key: () => key as never }))
        await cached('a')
        await cached('b')
        expect(ask.calls).toBe(2)
        expect(cached.stats().cache.unkeyed).toBe(2)
      },
    )

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

    it('shares between two stacks around the same function, or around bases with the same key', async () => {
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
              /^cache: with option "store" or "shared", .* base\(fn, \{ name: "ask" \}\)/,
            ),
          }),
        )
        expect(() => stack(fn, cache())).not.toThrow()
      }
    })

    it('accepts a name, or a key of the base or of the layer, as enough', async () => {
      const ask = async (q: string) => `to ${q}`
      const key = (q: string) => q
      for (const cached of [
        stack(base(ask, { name: 'ask' }), cache({ store: new Map() })),
        stack(base(ask, { key }), cache({ store: new Map() })),
        stack(ask, cache({ store: new Map(), key })),
      ]) {
        await cached('q')
        await tick()
        expect(await cached('q')).toBe('to q')
        expect(cached.stats().cache).toMatchObject({ hits: 1, misses: 1 })
      }
    })

    it("never returns another function's answer when two layers share one store", async () => {
      const store = new Map()
      const make = (n: number) =>
        stack(
          base(async (q: string) => `${n} ${q}`, { name: `fn${n}` }),
          cache({ store }),
        )
      const [one, two] = [make(1), make(2)]
      for (let i = 0; i < 2; i++) {
        expect([await one('q'), await two('q')]).toEqual(['1 q', '2 q'])
        await tick()
      }
      expect(two.stats().cache).toMatchObject({ hits: 1, misses: 1 })
    })

    it('finds what an earlier process stored for the function of the same name', async () => {
      const store = new Map()
      await stack(
        base(async (q: string) => `fresh ${q}`, { name: 'lookUp' }),
        cache({ store }),
      )('q')
      await tick()
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
})
