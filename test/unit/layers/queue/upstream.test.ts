import { describe, expect, it } from 'vitest'
import { createBlossom } from '../../../../src/client/client.js'
import { collect } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { startLocalBlossom } from '../../../../src/testing/local-blossom/index.js'

describe('queue', () => {
  describe('in front of a real upstream', () => {
    it('sends no second call before the stream of the first has ended', async () => {
      await using upstream = await startLocalBlossom({ concurrency: 1, words: 8, chunkDelayMs: 2 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        queue({ concurrency: 1 }),
      )
      const first = await blossom.text.stream('one')
      const second = blossom.text.generate('two')
      for await (const _ of first) expect(upstream.requests).toHaveLength(1)
      await second
      const [one, two] = upstream.requests
      expect(one!.outcome).toBe('complete')
      expect(two!.at).toBeGreaterThanOrEqual(one!.endedAt!)
      expect(upstream.maxActive).toBe(1)
    })

    it('never meets the limit of a free account', async () => {
      await using upstream = await startLocalBlossom({ freeAccount: true })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        queue({ concurrency: 1 }),
      )
      await Promise.all([
        ...Array.from({ length: 5 }, (_, i) => blossom.text.generate(`generate ${i}`)),
        ...Array.from({ length: 5 }, async (_, i) =>
          collect(await blossom.text.stream(`stream ${i}`)),
        ),
      ])
      expect(upstream.requests.map(({ status }) => status)).toEqual(
        Array.from({ length: 10 }, () => 200),
      )
    })
  })
})
