import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { range } from '../../../support/squares.js'

describe('batcher', () => {
  describe("around the client's embeddings", () => {
    let upstream: LocalBlossom

    beforeEach(async () => {
      upstream = await startLocalBlossom({ coalesce: false })
    })

    afterEach(() => upstream.close())

    const connect = () => createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' }).use(batcher())
    const plain = () => createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' })

    it('turns 100 calls into 4 requests, with the same vectors as one by one', async () => {
      await using blossom = connect()
      await using single = plain()
      const words = range(100).map((n) => `word ${n}`)
      const results = await Promise.all(words.map((word) => blossom.embeddings.create(word)))
      expect(upstream.requests.length).toBe(4)
      for (const n of [0, 31, 32, 99]) {
        expect(results[n]!.embeddings).toEqual(
          (await single.embeddings.create(words[n]!)).embeddings,
        )
      }
    })

    it('shares the usage of a merged request by length', async () => {
      await using blossom = connect()
      await using single = plain()
      const texts = ['one two three four five six', 'seven', 'eight nine ten']
      const results = await Promise.all(texts.map((text) => blossom.embeddings.create(text)))
      expect(upstream.requests.length).toBe(1)
      const tokens = results.map(({ usage }) => usage!.promptTokens)
      const whole = (await single.embeddings.create(texts)).usage!
      expect(
        Math.abs(tokens.reduce((sum, n) => sum + n, 0) - whole.promptTokens),
      ).toBeLessThanOrEqual(2)
      expect(tokens[0]).toBeGreaterThan(tokens[2]!)
      expect(tokens[2]).toBeGreaterThan(tokens[1]!)
    })

    it('merges lists and single texts, but not calls with another model or size, nor other kinds of call', async () => {
      await using blossom = connect()
      const results = await Promise.all([
        blossom.embeddings.create('a'),
        blossom.embeddings.create(['b', 'c']),
        blossom.embeddings.create('d', { dimensions: 4 }),
        blossom.embeddings.create('e', { tenant: 'other' }),
        blossom.text.generate('f'),
      ])
      expect(upstream.requests.length).toBe(4)
      expect(
        results.slice(0, 4).map((result) => 'embeddings' in result && result.embeddings.length),
      ).toEqual([1, 2, 1, 1])
      expect('embeddings' in results[2]! && results[2].embeddings[0]!.length).toBe(4)
      expect(blossom.stats().batcher).toEqual({ batches: 3, items: 5 })
    })

    it('fails only the one input that upstream refuses', async () => {
      await using blossom = connect()
      const isBad = (body: unknown) => JSON.stringify(body).includes('poison')
      upstream.fault({
        status: 400,
        times: Number.POSITIVE_INFINITY,
        match: ({ body }) => isBad(body),
      })
      const outcomes = await Promise.allSettled(
        ['a', 'b', 'poison', 'd'].map((word) => blossom.embeddings.create(word)),
      )
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ])
      expect(outcomes[2]).toMatchObject({ reason: { code: 'BAD_REQUEST' } })
    })

    it('fails all calls with a 503 after one request', async () => {
      await using blossom = connect()
      upstream.fail(503, 10)
      const outcomes = await Promise.allSettled(
        ['a', 'b', 'c'].map((word) => blossom.embeddings.create(word)),
      )
      expect(
        outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code),
      ).toEqual(['SERVER', 'SERVER', 'SERVER'])
      expect(upstream.requests.length).toBe(1)
    })
  })
})
