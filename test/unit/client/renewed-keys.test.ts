import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cache, createBlossom, isStackError, retry, timeout } from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { failure } from '../../support/watch.js'

describe('a key that is a function', () => {
  let upstream: LocalBlossom
  beforeEach(async () => {
    upstream = await startLocalBlossom({ keys: ['sk_one', 'sk_two'] })
  })
  afterEach(() => upstream.close())

  it('supplies the key for each attempt, synchronously or asynchronously', async () => {
    const keys = ['sk_one', 'sk_two']
    let asked = 0
    const apiKey = () => {
      const key = keys[asked++ % 2] as string
      return asked > 1 ? Promise.resolve(key) : key
    }
    await using blossom = createBlossom({ apiKey, baseURL: upstream.url }).use(
      retry({ minDelayMs: 1, maxDelayMs: 1 }),
    )
    upstream.fail(503, 1)
    await blossom.text.generate('Hello')
    const [first, second] = upstream.requests.map(({ keySha256 }) => keySha256)
    expect(first).not.toBe(second)
    expect([asked, upstream.requests.length]).toEqual([2, 2])
  })

  it('is not called for a cache hit, and another key still finds the cached answer', async () => {
    let asked = 0
    await using blossom = createBlossom({
      apiKey: async () => (++asked > 1 ? 'sk_two' : 'sk_one'),
      baseURL: upstream.url,
    }).use(cache())
    for (let i = 0; i < 2; i++) await blossom.text.generate('Hello')
    expect([asked, upstream.requests.length]).toEqual([1, 1])
  })

  it.each([
    ['nothing', () => undefined],
    ['an empty text', () => ''],
    ['a line break', async () => 'sk_\nx'],
  ])('that gives %s fails the call without revealing the value', async (_, apiKey) => {
    await using blossom = createBlossom({ apiKey: apiKey as () => string, baseURL: upstream.url })
    const error = await failure(blossom.text.generate('Hello'))
    expect(isStackError(error, 'CONFIG')).toBe(true)
    expect(String(error)).not.toContain('sk_')
    expect(upstream.requests).toHaveLength(0)
  })

  it('that throws fails the attempt with its error, and the attempt is retried', async () => {
    let asked = 0
    await using blossom = createBlossom({
      apiKey: () => {
        if (++asked === 1) throw new Error('The vault is closed.')
        return 'sk_one'
      },
      baseURL: upstream.url,
    }).use(retry({ minDelayMs: 1, maxDelayMs: 1 }))
    await blossom.text.generate('Hello')
    expect(asked).toBe(2)
  })

  it('that hangs is abandoned when the call ends', async () => {
    await using blossom = createBlossom({
      apiKey: () => new Promise<string>(() => {}),
      baseURL: upstream.url,
    }).use(timeout({ ms: 20 }))
    expect(isStackError(await failure(blossom.text.generate('Hello')), 'TIMEOUT')).toBe(true)
  })
})
