import { describe, expect, it, vi } from 'vitest'
import { cache, createBlossom, queue, retry } from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { keyedUpstream } from '../../../support/keyed-upstream.js'
import { KEY } from '../../../support/secrets.js'
import { textOf } from '../../../support/text-streams.js'
import { catchWarnings } from '../../../support/warnings.js'
import { completion } from '../../../support/wire.js'

const messages = [{ role: 'user', content: 'Hello' }]

describe('createBlossom', () => {
  const site = keyedUpstream()
  const { client } = site

  describe('text.generate', () => {
    it('returns text, model, usage, finish reason, request id and source', async () => {
      const result = await client().text.generate('Hello', { maxTokens: 100 })
      expect(result).toEqual({
        text: expect.stringContaining('Hello'),
        model: 'openai',
        usage: {
          promptTokens: 1,
          completionTokens: expect.any(Number),
          totalTokens: (result.usage?.completionTokens ?? 0) + 1,
        },
        finishReason: 'stop',
        requestId: 'req-local-000001',
        cached: false,
        attempts: 1,
        headers: {
          'x-cache': 'MISS',
          'x-model-used': 'openai',
          'x-request-id': 'req-local-000001',
        },
      })
    })

    it('sends one user message, its fields in a fixed order whatever the order of the options', async () => {
      const options = {
        stop: ['a'],
        seed: 7,
        topP: 0.5,
        temperature: 0,
        maxTokens: 9,
        model: 'mistral',
      }
      await client().text.generate('Hello', options)
      await client().text.generate('Hello', Object.fromEntries(Object.entries(options).reverse()))
      const body =
        '{"model":"mistral","messages":[{"role":"user","content":"Hello"}],"max_tokens":9,"temperature":0,"top_p":0.5,"seed":7,"stop":["a"]}'
      expect(site.upstream.requests.map(({ rawBody }) => rawBody)).toEqual([body, body])
    })

    it('sends nothing that was not requested', async () => {
      await client().text.generate('Hello')
      expect(site.upstream.requests[0]?.rawBody).toBe(
        '{"model":"openai","messages":[{"role":"user","content":"Hello"}]}',
      )
    })

    it('sends the key, the type of the body and its own name, and asks for no compression', async () => {
      await using server = await httpServer((_request, response) =>
        response.end(JSON.stringify(completion())),
      )
      const headers = { 'x-tag': 'one', accept: 'application/json' }
      await createBlossom({
        baseURL: server.url,
        apiKey: KEY,
        headers,
        userAgent: 'my-app/1',
      }).text.generate('Hello')
      await createBlossom({ baseURL: server.url })
        .models.list()
        .catch(() => {})
      const { host, connection, 'content-length': _, ...sent } = server.requests[0]?.headers ?? {}
      expect(sent).toEqual({
        authorization: `Bearer ${KEY}`,
        'accept-encoding': 'identity',
        'content-type': 'application/json',
        'user-agent': 'my-app/1',
        ...headers,
      })
      const { host: _host, connection: _connection, ...keyless } = server.requests[1]?.headers ?? {}
      expect(keyless).toEqual({
        'accept-encoding': 'identity',
        'user-agent': expect.stringMatching(/^blossom-stack\/\d/),
      })
      expect(host).toBe(`127.0.0.1:${server.port}`)
      expect(connection).toBe('keep-alive')
    })

    it('gives no usage when upstream gives none, and fills in missing counts', async () => {
      const usages = [
        undefined,
        null,
        'many',
        { prompt_tokens: 2, completion_tokens: 3 },
        { prompt_tokens: 'x', total_tokens: 9 },
      ]
      await using server = await httpServer((_request, response, nth) =>
        response.end(JSON.stringify(completion('a', {}, { usage: usages[nth] }))),
      )
      const blossom = createBlossom({ baseURL: server.url })
      const got = []
      for (const _ of usages) got.push((await blossom.text.generate('Hello')).usage)
      expect(got).toEqual([
        undefined,
        undefined,
        undefined,
        { promptTokens: 2, completionTokens: 3, totalTokens: 5 },
        { promptTokens: 0, completionTokens: 0, totalTokens: 9 },
      ])
    })

    it('leaves its notes in the caller’s map', async () => {
      const meta = new Map<string, unknown>()
      await client().use(cache(), retry()).text.generate('Hello', { meta })
      expect(meta.get('client')).toEqual({ attempts: 1, requestId: 'req-local-000001' })
      expect(meta.get('cache')).toMatchObject({ status: 'miss' })
    })
  })

  describe('text.stream', () => {
    it('gives the text in pieces, the same as generate; usage and finish reason at its end', async () => {
      const blossom = client()
      const stream = await blossom.text.stream('Tell me a story')
      expect([stream.usage, stream.finishReason]).toEqual([undefined, undefined])
      const pieces: string[] = []
      for await (const { text, ...rest } of stream) {
        expect(rest).toEqual({})
        pieces.push(text)
      }
      const whole = await blossom.text.generate('Tell me a story')
      expect(pieces.length).toBeGreaterThan(5)
      expect(pieces).not.toContain('')
      expect({
        text: pieces.join(''),
        usage: stream.usage,
        finishReason: stream.finishReason,
      }).toEqual({
        text: whole.text,
        usage: whole.usage,
        finishReason: 'stop',
      })
    })

    it('asks for a stream with its usage', async () => {
      await textOf(await client().text.stream('Hello', { maxTokens: 3 }))
      expect(site.upstream.requests[0]?.rawBody).toBe(
        '{"model":"openai","messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}',
      )
    })

    it('answers concurrent next() calls in order, one piece each', async () => {
      const stream = await client().text.stream('Hello')
      const results = await Promise.all([stream.next(), stream.next(), stream.next()])
      const { text } = await client().text.generate('Hello')
      expect(text.startsWith(results.map(({ value }) => value?.text).join(''))).toBe(true)
      expect(results.every(({ done }) => !done)).toBe(true)
      await stream.return(undefined)
    })

    it('can be left through `await using`', async () => {
      {
        await using stream = await client().text.stream('Hello', { maxTokens: 500 })
        await stream.next()
      }
      await site.upstream.waitFor(({ active }) => active === 0)
    })
  })

  describe('chat', () => {
    it('sends a body as it is and gives the completion as it is', async () => {
      const body = {
        seed: 4,
        messages,
        model: 'openai',
        unknown_field: { deep: [1, null] },
        temperature: 0.5,
      }
      const answer = await client().chat.create(body)
      expect(site.upstream.requests[0]?.rawBody).toBe(JSON.stringify(body))
      expect(answer).toMatchObject({
        object: 'chat.completion',
        choices: [{ message: { role: 'assistant' }, finish_reason: 'stop' }],
      })
    })

    it('streams chunks as they are', async () => {
      const chunks = []
      for await (const chunk of await client().chat.stream({
        messages,
        stream_options: { include_usage: true },
      }))
        chunks.push(chunk)
      expect(chunks[0]).toMatchObject({
        object: 'chat.completion.chunk',
        choices: [{ delta: { role: 'assistant' } }],
      })
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 1 } })
      expect(site.upstream.requests[0]?.body).toEqual({
        messages,
        stream: true,
        stream_options: { include_usage: true },
      })
    })

    it('is identified by its original messages even if the caller changes the list while it waits', async () => {
      const said = catchWarnings()
      const slow = await startLocalBlossom({ latencyMs: 30 })
      const blossom = createBlossom({ baseURL: slow.url }).use(queue({ concurrency: 1 }), cache())
      const talk = [...messages]
      const first = blossom.chat.create({ messages: talk })
      const second = blossom.chat.create({ messages: talk })
      talk.push({ role: 'user', content: 'And more' })
      const [a, b] = await Promise.all([first, second])
      const third = await blossom.chat.create({ messages: talk })
      expect(b).toEqual(a)
      expect(third).not.toEqual(a)
      expect(said.join()).toContain('cache is inside queue')
      vi.restoreAllMocks()
      expect(
        slow.requests.map(({ body }) => (body as { messages: unknown[] }).messages.length),
      ).toEqual([1, 2])
      await slow.close()
    })
  })
})
