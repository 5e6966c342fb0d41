import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { chat, start } from './requests.js'

afterEach(() => void vi.useRealTimers())

describe('keys and limits', () => {
  it('lets any key or none pass unless keys are given, and never keeps one', async () => {
    const free = await start()
    expect((await chat(free, {}, { authorization: 'Bearer sk_anything' })).status).toBe(200)
    const blossom = await start({ keys: ['sk_secret'] })
    const statuses = [
      (await chat(blossom)).status,
      (await chat(blossom, {}, { authorization: 'Bearer sk_wrong' })).status,
      (await chat(blossom, {}, { authorization: 'Bearer sk_secret' })).status,
      (await fetch(`${blossom.url}/text/x?key=sk_secret&seed=1`)).status,
      (await fetch(`${blossom.url}/account/balance`)).status,
      (await fetch(`${blossom.url}/v1/models`)).status,
    ]
    expect(statuses).toEqual([401, 401, 200, 200, 401, 200])
    const digest = createHash('sha256').update('sk_secret').digest('hex')
    expect(blossom.requests.map(({ keySha256 }) => keySha256 === digest)).toEqual([
      false,
      false,
      true,
      true,
      false,
      false,
    ])
    expect(blossom.requests[3]?.query).toEqual({ seed: '1' })
    expect(JSON.stringify(blossom.requests)).not.toContain('sk_')
  })

  it('runs one generation at a time on a free account, to the end of a stream', async () => {
    const blossom = await start({ freeAccount: true, words: 5000 })
    blossom.faults.push({ stallAfterChunks: 1 })
    const leave = new AbortController()
    const first = await fetch(`${blossom.url}/text/a?stream=true`, { signal: leave.signal })
    await blossom.waitFor(() => blossom.requests[0]?.chunksSent === 2)
    const second = await chat(blossom)
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1'])
    expect(await second.json()).toEqual({
      error: 'concurrency_limit_exceeded',
      message: expect.any(String),
    })
    expect((await fetch(`${blossom.url}/models`)).status).toBe(200)
    leave.abort()
    await expect(first.text()).rejects.toThrow()
    await blossom.waitFor(({ active }) => active === 0)
    // One after the other, as fast as they come: the place is free as soon as an end can have been
    // seen.
    for (let seed = 0; seed < 30; seed++) {
      const answer = await chat(blossom, { seed, stream: seed % 2 === 0 })
      expect(answer.status).toBe(200)
      await answer.text()
    }
  })

  it('lets as many run as `concurrency` says, and cached answers beside them', async () => {
    const blossom = await start({ concurrency: 2 })
    const cached = await (await chat(blossom)).text()
    blossom.faults.push({ stallAfterChunks: 0, times: 2 })
    await Promise.all([chat(blossom, { stream: true }), chat(blossom, { stream: true })])
    expect((await chat(blossom, { seed: 1 })).status).toBe(429)
    expect(await (await chat(blossom)).text()).toBe(cached)
    expect(blossom.maxActive).toBe(3)
  })

  it('refuses calls beyond the rate and says when to retry', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const blossom = await start({ rate: { limit: 2, intervalMs: 1500 } })
    const status = async (seed: number) => (await chat(blossom, { seed })).status
    expect([await status(1), await status(2)]).toEqual([200, 200])
    const refused = await chat(blossom, { seed: 3 })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2'])
    expect(await refused.json()).toMatchObject({
      error: 'Rate limit exceeded',
      retryAfterSeconds: 1.5,
    })
    vi.advanceTimersByTime(1500)
    expect(await status(3)).toBe(200)
  })
})

describe('identical requests', () => {
  it('join while in progress and are answered from the cache later, for one generation', async () => {
    const blossom = await start({ latencyMs: 20 })
    const answers = await Promise.all([chat(blossom), chat(blossom), chat(blossom)])
    const later = await chat(blossom)
    const hits = [...answers, later].map((answer) => answer.headers.get('x-cache')).sort()
    expect(hits).toEqual(['HIT', 'HIT', 'HIT', 'MISS'])
    expect(
      new Set(await Promise.all([...answers, later].map((answer) => answer.text()))).size,
    ).toBe(1)
    expect([blossom.generations, blossom.requests.length]).toEqual([1, 4])
    await chat(blossom, { seed: 1 })
    await (await chat(blossom, { stream: true })).text()
    await (await chat(blossom, { stream: true })).text()
    expect(blossom.generations).toBe(4)
    blossom.reset()
    expect((await chat(blossom)).headers.get('x-cache')).toBe('MISS')
    expect([blossom.generations, blossom.requests.length]).toEqual([1, 1])
  })

  it('continue after their client leaves, so that a retry gets the answer, and then free the slot', async () => {
    const blossom = await start({ latencyMs: 40, freeAccount: true })
    const leave = new AbortController()
    const first = fetch(`${blossom.url}/text/a`, { signal: leave.signal })
    await blossom.waitFor(({ generations }) => generations === 1)
    leave.abort()
    await expect(first).rejects.toThrow()
    await blossom.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
    const [again, other] = await Promise.all([
      fetch(`${blossom.url}/text/a`),
      fetch(`${blossom.url}/text/b`),
    ])
    expect([again.headers.get('x-cache'), other.status, blossom.generations]).toEqual([
      'HIT',
      200,
      2,
    ])
  })

  it('are kept apart with `coalesce: false`, and after a fault', async () => {
    const apart = await start({ coalesce: false })
    expect((await chat(apart)).headers.get('x-cache')).toBe('MISS')
    expect((await chat(apart)).headers.get('x-cache')).toBe('MISS')
    const blossom = await start()
    blossom.faults.push({ splitBytes: 100 }, { status: 500 })
    await (await chat(blossom)).text()
    expect((await chat(blossom)).status).toBe(500)
    expect((await chat(blossom)).headers.get('x-cache')).toBe('MISS')
    blossom.fail(503)
    expect((await chat(blossom)).status).toBe(503)
  })
})
