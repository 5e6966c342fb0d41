import { afterEach, describe, expect, it } from 'vitest'
import {
  batcher,
  breaker,
  cache,
  createBlossom,
  dedupe,
  NetworkError,
  pool,
  queue,
  retry,
  standard,
  TimeoutError,
  timeout,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { everythingOf, KEY } from '../../support/secrets.js'
import { textOf } from '../../support/text-streams.js'
import { failure } from '../../support/watch.js'

const quick = { minDelayMs: 0, maxDelayMs: 0, budget: false } as const
const messages = [{ role: 'user', content: 'Hello' }]

describe('a client with layers', () => {
  let upstream: LocalBlossom
  const start = async (options: Parameters<typeof startLocalBlossom>[0] = {}) => {
    upstream = await startLocalBlossom({ coalesce: false, ...options })
    return createBlossom({ baseURL: upstream.url, apiKey: KEY })
  }
  afterEach(() => upstream.close())

  const all = () =>
    [
      cache({ ttlMs: 30 * 60_000 }),
      dedupe(),
      timeout({ ms: 60_000 }),
      retry({ retries: 2, ...quick }),
      breaker(),
      queue({ concurrency: 5, maxWaiting: 100 }),
      pool({ connections: 10 }),
    ] as const

  it('answers, streams, reports its stats and closes with every layer', async () => {
    const blossom = (await start()).use(...all())
    const { text, model, usage, cached } = await blossom.text.generate('Hello', { maxTokens: 100 })
    expect({ model, cached, total: usage?.totalTokens }).toEqual({
      model: 'openai',
      cached: false,
      total: expect.any(Number),
    })
    expect(await textOf(await blossom.text.stream('Hello', { maxTokens: 100 }))).toBe(text)
    expect(blossom.stats().queue.waiting).toBe(0)
    await blossom.close()
  })

  it('answers the second identical call from its cache', async () => {
    const blossom = (await start()).use(...all())
    const first = await blossom.text.generate('Hello')
    const second = await blossom.text.generate('Hello')
    expect(second).toEqual({ ...first, cached: true, attempts: 0, headers: {} })
    expect(upstream.requests).toHaveLength(1)
    expect(blossom.stats().cache).toMatchObject({ hits: 1, misses: 1, entries: 1 })
  })

  it('answers a plain call from a stream that was stored, and a stream from a plain answer', async () => {
    const blossom = (await start()).use(...all())
    const stream = await blossom.text.stream('Hello')
    const text = await textOf(stream)
    await expect(blossom.text.generate('Hello')).resolves.toMatchObject({
      text,
      cached: true,
      usage: stream.usage,
    })
    const whole = await blossom.text.generate('Hello again')
    const replayed = await blossom.text.stream('Hello again')
    expect(await textOf(replayed)).toBe(whole.text)
    expect(replayed).toMatchObject({ usage: whole.usage, finishReason: whole.finishReason })
    expect(upstream.requests).toHaveLength(2)
  })

  it('asks again for a different key or address', async () => {
    const shared = cache()
    const blossom = (await start()).use(shared)
    await blossom.text.generate('Hello')
    await createBlossom({ baseURL: upstream.url, apiKey: 'sk_another' })
      .use(shared)
      .text.generate('Hello')
    await createBlossom({
      baseURL: `${upstream.url.replace('127.0.0.1', 'localhost')}`,
      apiKey: KEY,
    })
      .use(shared)
      .text.generate('Hello')
      .catch(() => {})
    expect(shared.stats()).toMatchObject({ hits: 0, misses: 3 })
  })

  it('lets a call use another key, and keeps that key’s answers apart', async () => {
    const blossom = (await start({ keys: [KEY, 'sk_caller1'] })).use(...all())
    const mine = await blossom.text.generate('Hello')
    const theirs = await blossom.text.generate('Hello', { apiKey: 'sk_caller1' })
    expect([mine.cached, theirs.cached]).toEqual([false, false])
    expect(new Set(upstream.requests.map(({ keySha256 }) => keySha256)).size).toBe(2)
    await expect(blossom.text.generate('Hello', { apiKey: 'sk_caller1' })).resolves.toMatchObject({
      cached: true,
    })
    const error = await failure(blossom.chat.create({ messages }, { apiKey: 'sk_caller2' }))
    expect(error).toMatchObject({ code: 'AUTH' })
    expect(everythingOf(error)).not.toContain('sk_caller2')
  })

  it('frees its slot and stops upstream when a stream is abandoned half-way', async () => {
    const blossom = (await start({ chunkDelayMs: 5, words: 200 })).use(...all())
    for await (const { text } of await blossom.text.stream('Tell me a story')) {
      expect(text).not.toBe('')
      expect(blossom.stats().queue.running).toBe(1)
      break
    }
    await upstream.waitFor(({ active }) => active === 0)
    expect(upstream.requests[0]).toMatchObject({ outcome: 'aborted' })
    expect(blossom.stats().queue).toMatchObject({ running: 0, waiting: 0 })
    expect(blossom.stats().pool.active).toBe(0)
    expect(blossom.stats().cache.entries).toBe(0)
  })

  it('retries two 503s into one success with three identical requests', async () => {
    const blossom = (await start()).use(...all())
    upstream.fail(503, 2)
    await expect(
      blossom.text.generate('Hello', { seed: 3, temperature: 0.2 }),
    ).resolves.toMatchObject({ attempts: 3, cached: false })
    expect(upstream.requests).toHaveLength(3)
    const [first, ...rest] = upstream.requests.map(({ method, path, rawBody, headers }) => ({
      method,
      path,
      rawBody,
      headers,
    }))
    for (const request of rest) expect(request).toEqual(first)
  })

  it('opens its breaker in an outage after the minimum number of calls, and recovers by itself', async () => {
    const changes: string[] = []
    const layer = breaker({
      minimumCalls: 4,
      resetMs: 60,
      onStateChange: (state) => changes.push(state),
    })
    const blossom = (await start()).use(layer)
    upstream.fail(503, 4)
    for (let i = 0; i < 4; i++)
      expect(await failure(blossom.text.generate(`${i}`))).toMatchObject({ code: 'SERVER' })
    const refused = await failure(blossom.text.generate('refused'))
    expect(refused).toMatchObject({ code: 'BREAKER_OPEN', refused: true, status: 503 })
    expect(upstream.requests).toHaveLength(4)
    await new Promise((resolve) => setTimeout(resolve, 70))
    await expect(blossom.text.generate('again')).resolves.toMatchObject({ attempts: 1 })
    expect(blossom.stats().breaker).toMatchObject({ state: 'closed', opened: 1, rejected: 1 })
    expect(changes).toEqual(['open', 'half-open', 'closed'])
  })

  it('sends one request for 50 identical concurrent calls', async () => {
    const blossom = (await start({ latencyMs: 20 })).use(...all())
    const results = await Promise.all(
      Array.from({ length: 50 }, () => blossom.text.generate('Hello')),
    )
    expect(new Set(results.map(({ text }) => text)).size).toBe(1)
    expect(upstream.requests).toHaveLength(1)
    expect(blossom.stats().dedupe.joined).toBe(49)
  })

  it('gives the whole text to a caller who joins a stream late', async () => {
    const blossom = (await start({ chunkDelayMs: 3, words: 30 })).use(...all())
    const early = await blossom.text.stream('Tell me a story')
    let text = ''
    for (let i = 0; i < 8; i++) text += (await early.next()).value?.text ?? ''
    const late = textOf(await blossom.text.stream('Tell me a story'))
    text += await textOf(early)
    expect(await late).toBe(text)
    expect(upstream.requests).toHaveLength(1)
  })

  it('combines 100 concurrent single embeddings into few requests, each with its own answer', async () => {
    const blossom = (await start()).use(batcher())
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => blossom.embeddings.create(`text ${i}`)),
    )
    expect(upstream.requests.length).toBeLessThanOrEqual(4)
    const { embeddings } = await createBlossom({ baseURL: upstream.url }).embeddings.create([
      'text 0',
      'text 42',
      'text 99',
    ])
    expect([results[0], results[42], results[99]].map((result) => result?.embeddings[0])).toEqual(
      embeddings,
    )
    expect(results.every(({ embeddings: { length } }) => length === 1)).toBe(true)
  })

  it('batches the original inputs even when the caller changes the list afterwards', async () => {
    const blossom = (await start()).use(batcher({ maxDelayMs: 5 }))
    const list = ['one', 'two']
    const work = blossom.embeddings.create(list)
    list.length = 0
    await expect(work).resolves.toMatchObject({
      embeddings: [expect.any(Array), expect.any(Array)],
    })
    expect(upstream.requests[0]?.body).toMatchObject({ input: ['one', 'two'] })
  })

  it('works with the standard layers in their order', async () => {
    const blossom = (await start()).use(...standard())
    expect(blossom.describe().map(({ name, note }) => [name, note])).toEqual(
      ['cache', 'dedupe', 'timeout', 'retry', 'breaker', 'queue', 'attempt', 'pool'].map((name) => [
        name,
        undefined,
      ]),
    )
    await expect(blossom.text.generate('Hello')).resolves.toMatchObject({ cached: false })
    await expect(blossom.image.generate('a cat')).resolves.toMatchObject({
      contentType: 'image/png',
    })
    expect(JSON.parse(JSON.stringify(blossom.stats()))).toEqual(blossom.stats())
    await blossom.close()
  })

  it('keeps the time limit of a call, and the server sees it end', async () => {
    const blossom = (await start({ latencyMs: 5_000 })).use(...all())
    const before = performance.now()
    const error = await failure(blossom.text.generate('Hello', { timeoutMs: 50 }))
    expect(error).toBeInstanceOf(TimeoutError)
    expect(performance.now() - before).toBeLessThan(400)
    await upstream.waitFor(({ active }) => active === 0)
    expect(upstream.requests).toHaveLength(1)
  })

  it('passes the reason of the caller through, and the server sees the call end', async () => {
    const blossom = (await start({ latencyMs: 5_000 })).use(...all())
    const controller = new AbortController()
    const work = blossom.text.generate('Hello', { signal: controller.signal })
    await upstream.waitFor(({ active }) => active === 1)
    const reason = { odd: 'reason' }
    controller.abort(reason)
    expect(await failure(work)).toBe(reason)
    await upstream.waitFor(({ active }) => active === 0)
    expect(blossom.stats().breaker).toMatchObject({ successes: 0, failures: 0 })
  })

  it('sends to the members of a pool with their own keys and addresses', async () => {
    await using other = await startLocalBlossom({ keys: ['sk_member'] })
    const blossom = (await start()).use(
      pool({ members: [{ apiKey: 'sk_member', baseURL: other.url }] }),
    )
    await blossom.text.generate('Hello')
    expect([upstream.requests.length, other.requests.length]).toEqual([0, 1])
    upstream.fail(503)
    expect(
      await failure(createBlossom({ baseURL: `${upstream.url}` }).text.generate('Hello')),
    ).not.toBeInstanceOf(NetworkError)
    await blossom.close()
  })
})
