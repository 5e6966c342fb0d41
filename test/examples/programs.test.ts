import { once } from 'node:events'
import { connect } from 'node:net'
import type { LocalBlossom } from 'blossom-stack/testing'
import { describe, expect, it } from 'vitest'
import { FRAMEWORKS, post, run, upstreamFor } from '../support/example-process.js'

const statusOf = (answer: Promise<Response>): Promise<unknown> =>
  answer.then(({ status }) => status).catch(() => 'refused')

describe.each(FRAMEWORKS)('node --import tsx examples/%s.ts', (name) => {
  async function launch(upstream: LocalBlossom) {
    const env = {
      POLLINATIONS_API_KEY: 'sk_test',
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_QUEUE_CONCURRENCY: '20',
      BLOSSOM_POOL_CONNECTIONS: '20',
    }
    const running = run(['--import', 'tsx', `examples/${name}.ts`], env)
    await expect.poll(() => running.output, { timeout: 20_000 }).toContain('Listening')
    return { ...running, url: `http://127.0.0.1:${/port: (\d+)/.exec(running.output)![1]}` }
  }

  it('lets 20 open streams finish after SIGTERM, takes no new calls, and exits 0', async () => {
    // Those of the hand-written route are longer: only the client knows of them.
    const upstream = await upstreamFor({
      chunkDelayMs: 20,
      words: ({ rawBody }) => (rawBody.includes('by hand') ? 150 : 0),
    })
    const { child, exit, url } = await launch(upstream)
    const stories = Array.from({ length: 10 }, (_, i) => [
      post(`${url}/generate/stream`, { prompt: `Story ${i}`, max_tokens: 50 }),
      post(`${url}/hand/stream`, { prompt: `Story ${i} by hand` }),
    ])
    const streams = await Promise.all(stories.flat())
    child.kill('SIGTERM')
    await expect
      .poll(() => statusOf(fetch(`${url}/health/ready`)), { timeout: 5_000 })
      .not.toBe(200)
    expect(await statusOf(post(`${url}/generate/text`, { prompt: 'Late' }))).not.toBe(200)
    await expect(once(connect(Number(new URL(url).port), '127.0.0.1'), 'connect')).rejects.toThrow(
      'ECONNREFUSED',
    )
    for (const stream of streams) expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/)
    expect(await exit).toEqual([0, null])
    expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(Array(20).fill('complete'))
  })

  it('exits at once on a second SIGTERM', async () => {
    const upstream = await upstreamFor()
    const { child, exit, url } = await launch(upstream)
    upstream.fault({ stallAfterChunks: 2 })
    const streamed = await post(`${url}/hand/stream`, { prompt: 'Never ends' })
    child.kill('SIGTERM')
    await expect
      .poll(() => statusOf(fetch(`${url}/health/ready`)), { timeout: 5_000 })
      .not.toBe(200)
    expect(child.exitCode).toBe(null)
    child.kill('SIGTERM')
    expect(await exit).toEqual([1, null])
    await expect(streamed.text()).rejects.toThrow()
  })
})

describe('node --import tsx examples/any-function.ts', () => {
  it('shows what each layer does for a database', async () => {
    const running = run(['--import', 'tsx', 'examples/any-function.ts'], {})
    expect([await running.exit, running.output]).toEqual([[0, null], expect.any(String)])
    expect(running.output.trimEnd().split('\n')).toEqual([
      '200 callers: 10 queries, at most 4 at once',
      'two failures that pass: flower 11, after 2 retries',
      'a mistake: 42601 syntax error at or near "selec"',
      'it was asked 1 time; the breaker is closed',
      'a slow query: TIMEOUT after 100 ms; still running in the database: 0',
      expect.stringMatching(/^the server is down: BREAKER_OPEN, try again in \d+ s$/),
      'what the cache holds is served all the same: flower 3',
      'reads: 1 from the cache, 190 shared, 12 queries that went well',
    ])
  })
})
