import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { createBlossom } from '../../../src/client/index.js'
import { createGateway, toNode } from '../../../src/gateway/index.js'
import { breaker } from '../../../src/layers/breaker/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'

const model = 'qwen/qwen3-coder'
const other = 'qwen/qwen3'

/** A local Blossom that knows models with a slash in their ids, and a client of it. */
async function setUp() {
  const local = await startLocalBlossom({ models: [model, other] })
  const blossom = createBlossom({
    baseURL: local.url,
    layers: [cache(), breaker({ key: 'model' })],
  })
  const close = async () => {
    await blossom.close()
    await local.close()
  }
  return { local, blossom, [Symbol.asyncDispose]: close }
}

describe('a model whose id holds a slash', () => {
  it('answers texts, streams, embeddings, pictures and speech by its own name', async () => {
    await using at = await setUp()
    const { text, embeddings, image, audio } = at.blossom
    expect((await text.generate('tulips', { model })).model).toBe(model)
    for await (const piece of await text.stream('roses', { model }))
      expect(piece.text).toBeDefined()
    expect((await embeddings.create('tulips', { model })).model).toBe(model)
    await image.generate('tulips', { model, width: 8, height: 8 })
    await audio.speech('tulips', { model })
    const named = at.local.requests.map(({ body, path, query }) => {
      const asked = (body as { model?: string } | undefined)?.model
      return asked ?? new URLSearchParams(query ?? path.split('?')[1]).get('model')
    })
    expect(named).toEqual([model, model, model, model, model])
  })

  it('gets a picture address that leads back to it', async () => {
    await using at = await setUp()
    const url = at.blossom.image.url('a/b', { model, width: 8, height: 8 })
    expect(new URL(url).searchParams.get('model')).toBe(model)
    expect((await fetch(url)).headers.get('content-type')).toBe('image/png')
  })

  it('is kept apart from other models in the cache and in the breaker', async () => {
    await using at = await setUp()
    const { text } = at.blossom
    const answers = [
      await text.generate('tulips', { model }),
      await text.generate('tulips', { model: other }),
      await text.generate('tulips', { model }),
    ]
    expect(answers.map(({ cached }) => cached)).toEqual([false, false, true])
    expect(answers[2]?.text).toBe(answers[0]?.text)
    expect(answers[1]?.text).not.toBe(answers[0]?.text)
    expect(at.blossom.stats().breaker.circuits.total).toBe(2)
  })

  it('is served and listed by the gateway', async () => {
    await using at = await setUp()
    const server = createServer(toNode(createGateway(at.blossom))).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const openai = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none' })
    const messages = [{ role: 'user' as const, content: 'tulips' }]
    expect((await openai.chat.completions.create({ model, messages })).model).toBe(model)
    const ids: string[] = []
    for await (const { id } of openai.models.list()) ids.push(id)
    expect(ids).toContain(model)
    server.close()
    server.closeAllConnections()
  })
})
