import { afterEach, describe, expect, it } from 'vitest'
import { createBlossom, dedupe } from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { sharedRedis } from './shared-redis.js'

const redis = sharedRedis()
let upstream: LocalBlossom

afterEach(() => upstream.close())

async function processes(count: number, options = {}) {
  upstream = await startLocalBlossom(options)
  const states = await Promise.all(Array.from({ length: count }, () => redis.connected()))
  return states.map((shared) => createBlossom({ baseURL: upstream.url }).use(dedupe({ shared })))
}

describe('single-flight over processes', () => {
  it('makes one call for forty identical ones of four processes', async () => {
    const blossoms = await processes(4)
    const calls = blossoms.flatMap((blossom) =>
      Array.from({ length: 10 }, () => blossom.text.generate('Hi')),
    )
    const answers = await Promise.all(calls)
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(upstream.requests).toHaveLength(1)
  })

  it('makes one call for forty identical streams', async () => {
    const blossoms = await processes(4)
    const calls = blossoms.flatMap((blossom) =>
      Array.from({ length: 10 }, async () => {
        let text = ''
        for await (const piece of await blossom.text.stream('Hi there, tell me a lot'))
          text += piece.text
        return text
      }),
    )
    const texts = await Promise.all(calls)
    expect(new Set(texts).size).toBe(1)
    expect(upstream.requests).toHaveLength(1)
  })
})
