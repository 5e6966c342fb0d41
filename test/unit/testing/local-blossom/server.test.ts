import { request } from 'undici'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../../../src/testing/local-blossom/index.js'
import { turn } from '../../../support/watch.js'
import { bodyOf, chat, chunksOf, post, start, textOf } from './requests.js'

afterEach(() => void vi.useRealTimers())

describe('pace', () => {
  it('runs on the global timers, latency and pauses by request', async () => {
    // The first fetch of a process starts timers of its own, which must not be fake ones.
    await (await fetch((await start()).url)).text()
    await turn()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const blossom = await start({
      latencyMs: ({ query }) => Number(query.seed),
      chunkDelayMs: 100,
      wordsPerChunk: 2,
      reply: () => 'a b c d',
    })
    const answer = fetch(`${blossom.url}/text/x?seed=5000&stream=true`)
    await blossom.waitFor(() => vi.getTimerCount() === 1 && blossom.generations === 1)
    expect(blossom.requests[0]?.status).toBeUndefined()
    await vi.advanceTimersByTimeAsync(5000)
    await blossom.waitFor(({ requests }) => requests[0]?.chunksSent === 1)
    await vi.advanceTimersByTimeAsync(99)
    expect(blossom.requests[0]?.chunksSent).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(blossom.requests[0]?.chunksSent).toBe(2)
    await vi.advanceTimersByTimeAsync(200)
    expect(textOf(chunksOf(await (await answer).text()))).toBe('a b c d')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('stops when the client leaves, whatever it was waiting for', async () => {
    const blossom = await start({ latencyMs: 60_000, coalesce: false })
    const leave = new AbortController()
    const gone = Promise.allSettled([
      chat(blossom),
      fetch(`${blossom.url}/text/x?stream=true`, { signal: leave.signal }),
    ])
    await blossom.waitFor(({ generations }) => generations === 2)
    leave.abort()
    await blossom.waitFor(({ requests }) =>
      requests.some(({ path, outcome }) => path === '/text/x' && outcome === 'aborted'),
    )
    expect(blossom.active).toBe(1)
    await blossom.close()
    await gone
    expect(blossom.requests.map(({ outcome, bytesSent }) => [outcome, bytesSent])).toEqual([
      ['aborted', 0],
      ['aborted', 0],
    ])
  })

  it('sends no faster than the client reads', async () => {
    const blossom = await start()
    blossom.faults.push({ bigBody: Infinity })
    const answer = await request(`${blossom.url}/text/x?stream=true`)
    const reader = answer.body[Symbol.asyncIterator]()
    await reader.next()
    let turns = 0
    let before = -1
    // Nobody reads: buffers fill, and then the count stands still for many turns of the event loop.
    while (turns++ < 50 || blossom.requests[0]?.bytesSent !== before) {
      if (turns % 50 === 0) before = blossom.requests[0]?.bytesSent ?? 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(before).toBeLessThan(32 * 1024 * 1024)
    answer.body.on('error', () => undefined).destroy()
    await blossom.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
  })
})

describe('the server itself', () => {
  it('keeps what was sent, byte for byte', async () => {
    const blossom = await start()
    const text = '{ "model":"openai", "messages":[{"role":"user","content":"ä"}] }'
    await post(blossom, '/v1/chat/completions?a=1&a=2', text)
    expect(blossom.requests[0]).toMatchObject({
      id: 1,
      method: 'POST',
      path: '/v1/chat/completions',
      query: { a: '2' },
      rawBody: text,
      cache: 'MISS',
    })
    expect(blossom.requests[0]?.body).toEqual(JSON.parse(text))
    expect(blossom.requests[0]?.endedAt).toBeGreaterThanOrEqual(blossom.requests[0]?.at ?? Infinity)
  })

  it('waits until a predicate holds, and reports when it never does', async () => {
    const blossom = await start()
    await blossom.waitFor(() => true)
    await expect(blossom.waitFor(() => false, 5)).rejects.toThrow(
      'the predicate was not true within 5 ms (0 requests, 0 active)',
    )
    await expect(blossom.waitFor(() => JSON.parse('{'))).rejects.toThrow(SyntaxError)
    const never = expect(blossom.waitFor(() => false)).rejects.toThrow('closed')
    await blossom.close()
    await never
    await expect(blossom.waitFor(() => false)).rejects.toThrow('closed')
  })

  it('closes with requests in progress, twice, and frees port and timers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const blossom = await start({ latencyMs: 60_000 })
    const waiting = expect(chat(blossom)).rejects.toThrow()
    await blossom.waitFor(() => vi.getTimerCount() === 1 && blossom.generations === 1)
    await Promise.all([blossom.close(), blossom.close()])
    await waiting
    expect([blossom.active, vi.getTimerCount()]).toEqual([0, 0])
    {
      await using next = await startLocalBlossom({ port: blossom.port })
      expect(next.url).toBe(blossom.url)
    }
    await expect(fetch(blossom.url)).rejects.toThrow()
  })

  it('rejects when the port is taken', async () => {
    const { port } = await start()
    await expect(startLocalBlossom({ port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(String(port)),
    })
  })

  it.each<[string, unknown]>([
    ['port', { port: -1 }],
    ['port', { port: '80' }],
    ['host', { host: '' }],
    ['keys', { keys: ['sk_', 1] }],
    ['models', { models: 'openai' }],
    ['concurrency', { concurrency: 0 }],
    ['limit', { rate: { limit: Number.NaN, intervalMs: 1 } }],
    ['intervalMs', { rate: { limit: 1, intervalMs: 0 } }],
    ['latencyMs', { latencyMs: -1 }],
    ['latencyMs', { latencyMs: 2 ** 31 }],
    ['chunkDelayMs', { chunkDelayMs: Infinity }],
    ['wordsPerChunk', { wordsPerChunk: 0 }],
    ['words', { words: 1.5 }],
    ['reply', { reply: 'hello' }],
    ['coalesce', { coalesce: 1 }],
    ['latency', { latency: 1 }],
  ])('refuses a wrong `%s`: %j', async (name, options) => {
    const refused = startLocalBlossom(options as LocalBlossomOptions)
    await expect(refused).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(`option "${name}"`),
    })
  })

  it('answers 500 when a function in its options fails, and keeps running', async () => {
    const blossom = await start({ latencyMs: () => Number.NaN })
    const answer = await chat(blossom)
    expect([answer.status, (await bodyOf(answer)).error.message]).toEqual([
      500,
      expect.stringContaining('latencyMs()'),
    ])
    expect((await fetch(`${blossom.url}/models`)).status).toBe(200)
  })
})
