import { describe, expect, it } from 'vitest'
import type { ChatCompletion } from '../../../../src/client/index.js'
import {
  cache,
  collect,
  createBlossom,
  dedupe,
  fallback,
  retry,
  standard,
} from '../../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { httpServer, type Seen } from '../../../support/bare-server.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'
import { chatEvents, completion } from '../../../support/wire.js'

const warnings = catchWarningsInEachTest()

const modelIn = ({ body }: Seen): unknown => JSON.parse(body || '{}').model
const authIn = ({ headers }: Seen) => headers.authorization

/** A server that answers these models with a text, and all others with a status. */
const serving = (models: readonly string[], status = 503, error: unknown = 'down') =>
  httpServer((request, response) => {
    const body = JSON.parse(request.body || '{}')
    response.setHeader('content-type', 'application/json')
    if (!models.includes(body.model)) {
      response.statusCode = status
      response.end(JSON.stringify({ error }))
    } else if (body.stream) {
      response.setHeader('content-type', 'text/event-stream')
      response.end(chatEvents(`from ${body.model}`))
    } else response.end(JSON.stringify(completion(`from ${body.model}`)))
  })

describe('fallback around the client', () => {
  it('asks another model with the same body, and returns its answer as usual', async () => {
    await using server = await serving(['mistral'])
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      fallback({ to: ['mistral'] }),
    )
    const meta = new Map<string, unknown>()
    const result = await blossom.text.generate('Hi', { temperature: 0.5, meta })
    expect(result).toMatchObject({ text: 'from mistral', attempts: 2, cached: false })
    expect(meta.get('fallback')).toEqual({ candidate: 1, model: 'mistral' })
    const [first, second] = server.requests.map(({ body }) => JSON.parse(body))
    expect(second).toEqual({ ...first, model: 'mistral' })
    expect(blossom.stats().fallback).toMatchObject({ used: 1, byCandidate: { mistral: 1 } })
  })

  it('streams from another model before the commit', async () => {
    await using server = await serving(['mistral'])
    await using blossom = createBlossom({ baseURL: server.url }).use(fallback({ to: ['mistral'] }))
    const pieces = await collect(await blossom.text.stream('Hi'))
    expect(pieces.map(({ text }) => text).join('')).toBe('from mistral')
  })

  it('keeps the key of the call', async () => {
    await using server = await serving(['mistral'], 402)
    await using other = await serving(['openai'])
    await using backup = createBlossom({ baseURL: other.url, apiKey: 'sk_backup' })
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      fallback({ to: [{ client: backup }, 'mistral'] }),
    )
    const body = { messages: [{ role: 'user' as const, content: 'Hi' }], model: 'openai' }
    await blossom.chat.create(body, { apiKey: 'sk_visitor' })
    expect(server.requests.map(authIn)).toEqual(['Bearer sk_visitor', 'Bearer sk_visitor'])
    expect(other.requests.length).toBe(0)
    await blossom.chat.create(body)
    expect(other.requests.map(authIn)).toEqual(['Bearer sk_backup'])
  })

  it('hands the call to another client, which uses its own key and layers and stays open', async () => {
    await using server = await serving([])
    await using other = await serving(['openai'])
    await using backup = createBlossom({ baseURL: other.url, apiKey: 'sk_backup' }).use(
      ...standard(),
    )
    const meta = new Map<string, unknown>()
    {
      await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
        cache(),
        fallback({ to: [backup] }),
        retry({ retries: 1, minDelayMs: 0 }),
      )
      expect(await blossom.text.generate('Hi', { meta, tenant: 'a' })).toMatchObject({
        text: 'from openai',
        attempts: 3,
      })
    }
    expect(server.requests.map(authIn)).toEqual(['Bearer sk_own', 'Bearer sk_own'])
    expect(other.requests.map(authIn)).toEqual(['Bearer sk_backup'])
    // Its cache has noted a miss of its own; the one that the caller knows is ours.
    expect(meta.get('cache')).toMatchObject({ status: 'miss' })
    expect(meta.get('fallback')).toEqual({ candidate: 1, model: 'openai' })
    expect((await backup.text.generate('Hi', { tenant: 'a' })).cached).toBe(true)
  })

  it('lets two clients stand in for each other', async () => {
    await using server = await serving([])
    const first = createBlossom({ baseURL: server.url, apiKey: 'sk_first' })
    const second = createBlossom({ baseURL: server.url, apiKey: 'sk_second' })
    first.use(dedupe(), fallback({ to: [second] }))
    second.use(dedupe(), fallback({ to: [first] }))
    const both = await Promise.all(
      [first, second].map((client) => failure(client.text.generate('Hi'))),
    )
    expect(both).toMatchObject([{ code: 'SERVER' }, { code: 'SERVER' }])
    expect(server.requests.map(authIn).toSorted()).toEqual(
      ['first', 'first', 'first', 'second', 'second', 'second'].map((name) => `Bearer sk_${name}`),
    )
    await first.close()
    await second.close()
  })

  it('never changes the model of embeddings, and that of images only if it is listed', async () => {
    await using server = await serving([])
    await using blossom = createBlossom({ baseURL: server.url }).use(
      fallback({
        to: [
          'mistral',
          { model: 'kontext', endpoints: ['/image', '/v1/images/generations', '/v1/embeddings'] },
        ],
      }),
    )
    await failure(blossom.embeddings.create('Hi', { model: 'small' }))
    await failure(blossom.image.generate('Roses & tulips', { width: 64 }))
    const body = { prompt: 'Roses', model: 'flux' }
    await failure(blossom.request({ path: '/v1/images/generations', body }))
    await failure(
      blossom.request({ path: '/v1/responses', body: { input: 'Hi', model: 'openai' } }),
    )
    expect(server.requests.map((seen) => [seen.path, modelIn(seen)])).toEqual([
      ['/v1/embeddings', 'small'],
      ['/image/Roses%20%26%20tulips?model=flux&width=64', undefined],
      ['/image/Roses%20%26%20tulips?model=kontext&width=64', undefined],
      ['/v1/images/generations', 'flux'],
      ['/v1/images/generations', 'kontext'],
      ['/v1/responses', 'openai'],
      ['/v1/responses', 'mistral'],
    ])
  })

  it('asks no other client for what belongs to an account', async () => {
    await using server = await serving([], 500)
    await using other = await startLocalBlossom()
    await using backup = createBlossom({ baseURL: other.url, apiKey: 'sk_backup' })
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      fallback({ to: [backup] }),
    )
    expect(await failure(blossom.account.balance())).toMatchObject({ code: 'SERVER' })
    expect(other.requests.length).toBe(0)
  })

  it.each([
    [{ code: 'content_policy_violation', message: 'no' }, 500],
    [{ code: 'content_filter' }, 403],
    [{ type: 'safety_error', code: 'BAD_GATEWAY' }, 502],
    [{ type: 'safety_error' }, 429],
  ])('asks no other candidate after the content is refused: %j, %i', async (error, status) => {
    await using server = await serving(['mistral'], status, error)
    await using blossom = createBlossom({ baseURL: server.url }).use(fallback({ to: ['mistral'] }))
    expect(await failure(blossom.text.generate('Hi'))).toMatchObject({ upstreamStatus: status })
    expect(server.requests.length).toBe(1)
  })

  it('asks another candidate after a 404 for a model, but not for an address', async () => {
    await using server = await serving(['mistral'], 404)
    await using blossom = createBlossom({ baseURL: server.url }).use(
      fallback({ to: ['mistral', () => ({ made: 'up' })] }),
    )
    expect((await blossom.text.generate('Hi')).text).toBe('from mistral')
    const unknown = blossom.request({ path: '/nowhere' })
    expect(await failure(unknown)).toMatchObject({ code: 'NOT_FOUND' })
  })

  it('asks another candidate after a notice about the account', async () => {
    await using local: LocalBlossom = await startLocalBlossom()
    local.fault({ odd: 'notice' })
    await using blossom = createBlossom({ baseURL: local.url }).use(fallback({ to: ['mistral'] }))
    expect((await blossom.text.generate('Hi')).model).toBeDefined()
  })

  it('judges the body of the answers', async () => {
    await using server = await serving(['openai', 'mistral'])
    const accept = ({ choices }: ChatCompletion) => choices[0]?.message.content !== 'from openai'
    await using blossom = createBlossom({ baseURL: server.url }).use(
      fallback({ to: ['mistral'], accept }),
    )
    expect((await blossom.text.generate('Hi')).text).toBe('from mistral')
  })

  describe('a function', () => {
    it('may return a text, which is delivered as an answer or as a stream', async () => {
      await using server = await serving([])
      await using blossom = createBlossom({ baseURL: server.url }).use(
        fallback({ to: [() => 'Try again later.'] }),
      )
      expect(await blossom.text.generate('Hi')).toMatchObject({
        text: 'Try again later.',
        cached: false,
        attempts: 1,
        finishReason: 'stop',
        usage: { totalTokens: 0 },
      })
      const stream = await blossom.text.stream('Hi')
      expect((await collect(stream)).map(({ text }) => text).join('')).toBe('Try again later.')
      expect(stream.finishReason).toBe('stop')
    })

    it('may return a body, of which every caller gets a copy', async () => {
      await using server = await serving([])
      const body = completion('Canned.')
      await using blossom = createBlossom({ baseURL: server.url }).use(
        fallback({ to: [() => body] }),
      )
      const messages = [{ role: 'user' as const, content: 'Hi' }]
      const [one, two] = await Promise.all([0, 1].map(() => blossom.chat.create({ messages })))
      expect(one).toEqual(body)
      expect(one).not.toBe(two)
      expect(one!.choices).not.toBe(body.choices)
      const chunks = await collect(await blossom.chat.stream({ messages }))
      expect(chunks[0]!.choices[0]!.delta.content).toBe('Canned.')
    })

    it('may return bytes for an image', async () => {
      await using server = await serving([])
      const bytes = new Uint8Array([1, 2])
      await using blossom = createBlossom({ baseURL: server.url }).use(
        fallback({ to: [() => ({ bytes, contentType: 'image/png' })] }),
      )
      expect(await blossom.image.generate('Roses')).toEqual({
        bytes,
        contentType: 'image/png',
        headers: {},
      })
    })

    it('is skipped with a warning when it does not return an answer', async () => {
      await using server = await serving([])
      await using blossom = createBlossom({ baseURL: server.url }).use(
        fallback({ to: [() => 'Try again later.'] }),
      )
      expect(await failure(blossom.embeddings.create('Hi'))).toMatchObject({ code: 'SERVER' })
      expect(await failure(blossom.image.generate('Roses'))).toMatchObject({ code: 'SERVER' })
      expect(warnings.filter((text) => text.includes('candidate 1')).length).toBe(1)
    })
  })
})
