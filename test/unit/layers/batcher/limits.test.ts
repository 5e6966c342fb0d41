import { describe, expect, it } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import { stack } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'

// Not done yet: a call of more than `maxItems` inputs goes upstream as it is. A base has no trait
// that cuts one request into several, nor one that joins their answers. Whoever adds it turns
// `it.fails` into `it`.
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

describe('a call of more inputs than a batch may hold', () => {
  it.fails('is sent as several, and answered as one, in order', async () => {
    const sizes: number[] = []
    const ask = stack(
      async (inputs: readonly number[]) => {
        sizes.push(inputs.length)
        return inputs.map((n) => n * n)
      },
      batcher({ maxItems: 4, maxDelayMs: 0 }),
    )
    expect(await ask(range(10))).toEqual(range(10).map((n) => n * n))
    expect(sizes).toEqual([4, 4, 2])
  })

  it.fails("never makes a request of the client's embeddings too large", async () => {
    await using local = await startLocalBlossom()
    await using blossom = createBlossom({
      baseURL: local.url,
      layers: [batcher({ maxItems: 4, maxDelayMs: 0 })],
    })
    const inputs = range(10).map((n) => `text ${n}`)
    const { embeddings } = await blossom.embeddings.create(inputs)
    expect(embeddings).toHaveLength(10)
    const sizes = local.requests.map(({ body }) => (body as { input: string[] }).input.length)
    expect(sizes).toEqual([4, 4, 2])
  })
})
