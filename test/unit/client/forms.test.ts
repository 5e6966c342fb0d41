import { describe, expect, it } from 'vitest'
import type { ChatChunk } from '../../../src/client/index.js'
import { createGateway } from '../../../src/gateway/index.js'
import { batcher, cache, collect, createBlossom } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { httpServer } from '../../support/bare-server.js'
import { turn } from '../../support/watch.js'
import { chatEvents } from '../../support/wire.js'

const messages = [{ role: 'user', content: 'Tell me about tulips.' }]
const withUsage = { messages, stream_options: { include_usage: true } }
const isUsage = ({ choices, usage }: ChatChunk) => choices.length === 0 && usage != null

async function site() {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url }).use(cache())
  const read = async (body: typeof messages | object) => {
    const chunks = await collect(await blossom.chat.stream(body as typeof withUsage))
    return {
      text: chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''),
      usage: chunks.filter(isUsage).length,
      requests: upstream.requests.length,
    }
  }
  return {
    blossom,
    upstream,
    read,
    async [Symbol.asyncDispose]() {
      await blossom.close()
      await upstream.close()
    },
  }
}

describe('a stored chat answer', () => {
  it('stored as JSON streams its usage only to callers who ask for it', async () => {
    await using one = await site()
    const whole = await one.blossom.chat.create({ messages })
    const text = whole.choices[0]?.message.content
    expect(await one.read({ messages })).toEqual({ text, usage: 0, requests: 1 })
    expect(await one.read(withUsage)).toEqual({ text, usage: 1, requests: 1 })
    expect(await one.read({ messages })).toEqual({ text, usage: 0, requests: 1 })
  })

  it('stored as a stream with usage streams its usage only to callers who ask for it', async () => {
    await using one = await site()
    const { text } = await one.read(withUsage)
    expect(await one.read({ messages })).toEqual({ text, usage: 0, requests: 1 })
    expect(await one.read({ messages, stream_options: { include_usage: false } })).toMatchObject({
      usage: 0,
      requests: 1,
    })
    expect(await one.read(withUsage)).toEqual({ text, usage: 1, requests: 1 })
    expect(await one.blossom.chat.create({ messages })).toHaveProperty('usage.total_tokens')
    expect(one.upstream.requests).toHaveLength(1)
  })

  it('stored as a stream without usage is requested again for callers who ask for usage', async () => {
    await using one = await site()
    expect(await one.read({ messages })).toMatchObject({ usage: 0, requests: 1 })
    expect(await one.read({ messages })).toMatchObject({ usage: 0, requests: 1 })
    expect(await one.read(withUsage)).toMatchObject({ usage: 1, requests: 2 })
    expect(await one.read({ messages })).toMatchObject({ usage: 0, requests: 2 })
    expect(await one.read(withUsage)).toMatchObject({ usage: 1, requests: 2 })
  })

  it('without usage serves callers who ask for it when upstream never reports any', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(chatEvents('Hello'))
    })
    for (const store of [undefined, new Map()]) {
      await using blossom = createBlossom({ baseURL: server.url }).use(cache({ store }))
      const before = server.requests.length
      for (let i = 0; i < 3; i++) {
        await collect(await blossom.chat.stream(withUsage))
        await turn()
      }
      expect(server.requests.length - before).toBe(1)
    }
  })

  it('has in the text of the gateway’s events what its client asked for', async () => {
    await using one = await site()
    const gateway = createGateway(one.blossom)
    const events = async (body: object) => {
      const response = await gateway(
        new Request('http://gateway/v1/chat/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ...body, stream: true }),
        }),
      )
      return response.text()
    }
    expect(await events(withUsage)).toContain('"choices":[]')
    expect(await events({ messages })).not.toContain('"choices":[]')
    expect(one.upstream.requests).toHaveLength(1)
  })
})

describe('embeddings', () => {
  const VECTORS = [
    [1, -0.5],
    [0.25, 2],
  ]
  const base64Of = (vector: readonly number[]) =>
    Buffer.from(Float32Array.from(vector).buffer).toString('base64')
  const answer = (embeddings: readonly unknown[], index = (i: number): number | undefined => i) =>
    JSON.stringify({
      object: 'list',
      model: 'm',
      data: embeddings.map((embedding, i) => ({ object: 'embedding', index: index(i), embedding })),
      usage: { prompt_tokens: 2, total_tokens: 2 },
    })
  const serving = (body: string) =>
    httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(body)
    })
  const ask = async (baseURL: string, encoding_format?: string) => {
    await using blossom = createBlossom({ baseURL })
    const body = { input: ['a', 'b'], encoding_format }
    const answered = await blossom.request<{ data: { embedding: unknown }[] }>({
      path: '/v1/embeddings',
      body,
    })
    return answered.data.map(({ embedding }) => embedding)
  }

  it.each([
    ['numbers', VECTORS],
    ['base64', VECTORS.map(base64Of)],
  ])('are returned in the requested format even when upstream sends %s', async (_name, sent) => {
    await using server = await serving(answer(sent))
    expect(await ask(server.url, 'base64')).toEqual(VECTORS.map(base64Of))
    expect(await ask(server.url, 'float')).toEqual(VECTORS)
    expect(await ask(server.url)).toEqual(VECTORS)
    expect(await ask(server.url, 'int8')).toEqual(sent)
    await using blossom = createBlossom({ baseURL: server.url })
    expect((await blossom.embeddings.create(['a', 'b'])).embeddings).toEqual(VECTORS)
  })

  it('that are not vectors are a failure', async () => {
    await using server = await serving(answer(['AAA=', 'AAA=']))
    await using blossom = createBlossom({ baseURL: server.url })
    await expect(blossom.embeddings.create(['a', 'b'])).rejects.toMatchObject({ code: 'PROTOCOL' })
  })

  it.each([
    ['all say index 0', () => 0],
    ['say no index', () => undefined],
  ])('are in the order of their inputs when they %s', async (_name, index) => {
    await using server = await serving(answer(VECTORS, index))
    await using blossom = createBlossom({ baseURL: server.url })
    expect((await blossom.embeddings.create(['a', 'b'])).embeddings).toEqual(VECTORS)
    await using batched = createBlossom({ baseURL: server.url }).use(batcher({ maxDelayMs: 20 }))
    const calls = ['a', 'b'].map((input) => batched.embeddings.create(input))
    const answers = await Promise.all(calls)
    expect(answers.map(({ embeddings }) => embeddings[0])).toEqual(VECTORS)
  })
})
