import { describe, expect, it } from 'vitest'
import { createGateway, type GatewayOptions, toNode } from '../../../src/gateway/index.js'
import { limitHeaders } from '../../../src/gateway/server/limit-headers.js'
import { type BlossomLayer, createBlossom, rateLimit, standard } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { listen } from '../../support/http-frameworks.js'

async function openServer(layers: readonly BlossomLayer[], options: GatewayOptions = {}) {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url, layers })
  const server = await listen(toNode(createGateway(blossom, options)))
  const chat = async (content: string, body: object = {}, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content }], ...body }),
    })
    await answer.text()
    return answer
  }
  return {
    upstream,
    chat,
    async [Symbol.asyncDispose]() {
      await server.close()
      await blossom.close()
      await upstream.close()
    },
  }
}

const shown = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => /ratelimit/.test(name)))

describe('the headers of a limit', () => {
  it.each([
    ['an answer', {}],
    ['a stream', { stream: true }],
  ])('describe the outermost limit, with %s', async (_, body) => {
    const limits = { rateLimit: { requests: 60 }, providerLimit: { requests: 6_000 } }
    await using server = await openServer(standard(limits))
    expect(shown(await server.chat('Hello', body))).toEqual({
      'ratelimit-policy': '"requests";q=60;w=60',
      ratelimit: '"requests";r=9;t=1',
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '9',
      'x-ratelimit-reset-requests': expect.stringMatching(/^(\d{1,3}ms|1s)$/),
    })
  })

  it('are sent with a refusal, beside retry-after', async () => {
    await using server = await openServer([rateLimit({ requests: 6, mode: 'reject' })])
    expect((await server.chat('one')).status).toBe(200)
    const refused = await server.chat('two')
    expect(refused.status).toBe(429)
    expect(shown(refused)).toMatchObject({
      ratelimit: '"requests";r=0;t=10',
      'x-ratelimit-remaining-requests': '0',
    })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(server.upstream.requests).toHaveLength(1)
  })

  it("are each tenant's own", async () => {
    const call: GatewayOptions['call'] = ({ headers }) => ({
      tenant: headers.get('x-tenant') ?? 'none',
    })
    await using server = await openServer([rateLimit({ requests: 60 })], { call })
    await server.chat('one', {}, { 'x-tenant': 'alice' })
    const again = await server.chat('two', {}, { 'x-tenant': 'alice' })
    const other = await server.chat('one', {}, { 'x-tenant': 'bob' })
    expect(again.headers.get('x-ratelimit-remaining-requests')).toBe('8')
    expect(other.headers.get('x-ratelimit-remaining-requests')).toBe('9')
  })

  it('are missing when nothing is limited, and from cached answers', async () => {
    await using plain = await openServer([])
    expect(shown(await plain.chat('Hello'))).toEqual({})
    await using cached = await openServer(standard({ rateLimit: { requests: 60 } }))
    await cached.chat('Hello')
    expect(shown(await cached.chat('Hello'))).toEqual({})
  })

  it.each([
    [0, '0s'],
    [0.2, '1ms'],
    [20, '20ms'],
    [1_000, '1s'],
    [59_001, '1m0s'],
    [360_000, '6m0s'],
    [3_725_000, '1h2m5s'],
  ])('write %d ms as OpenAI does: %s', (resetMs, text) => {
    const headers: Record<string, string> = {}
    const level = { unit: 'tokens', limit: 600, intervalMs: 60_000, remaining: 3 } as const
    limitHeaders([{ ...level, resetMs }], headers)
    expect(headers['x-ratelimit-reset-tokens']).toBe(text)
  })
})
