import { expect, it } from 'vitest'
import { blossomFromEnv, createGateway, toNode } from '../../../src/gateway/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { listen } from '../../support/http-frameworks.js'

async function openServer(env: Record<string, string> = {}) {
  const upstream = await startLocalBlossom()
  const blossom = blossomFromEnv({
    POLLINATIONS_API_KEY: 'sk_of_the_server',
    BLOSSOM_BASE_URL: upstream.url,
    BLOSSOM_RETRIES: '0',
    ...env,
  })
  const server = await listen(toNode(createGateway(blossom)))
  const chat = (body: object) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'openai',
        messages: [{ role: 'user', content: 'Hi' }],
        ...body,
      }),
    })
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

it.each([
  ['an answer', {}],
  ['a stream', { stream: true }],
])(
  'x-blossom-model names the model that gave %s when the requested one failed',
  async (_, body) => {
    await using server = await openServer({ BLOSSOM_FALLBACK_MODELS: 'mistral, openai-large' })
    server.upstream.fail(503)
    const answer = await server.chat(body)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-blossom-model')).toBe('mistral')
    expect(await answer.text()).toContain('"model":"mistral"')
  },
)

it('x-blossom-model is missing when no other model was asked or allowed', async () => {
  await using plain = await openServer()
  expect((await plain.chat({})).headers.get('x-blossom-model')).toBeNull()
  plain.upstream.fail(503)
  expect((await plain.chat({ seed: 2 })).status).toBe(503)
})
