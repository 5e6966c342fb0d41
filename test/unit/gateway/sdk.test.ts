import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { Pollinations, PollinationsError } from '@pollinations/sdk'
import { APICallError, generateText, streamText } from 'ai'
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { frameworks } from '../../support/http-frameworks.js'
import { openSite, type Site } from '../../support/http-site.js'

const messages = [{ role: 'user' as const, content: 'Tell me about tulips' }]
const text = 'Tulips come from Turkey.'

describe.each(frameworks)('clients pointed at a server of $name', (framework) => {
  let site: Site
  beforeEach(async () => {
    site = await openSite(framework, {
      upstream: { reply: ({ rawBody }) => (rawBody.includes('tulips') ? text : undefined) },
    })
  })
  afterEach(() => site[Symbol.asyncDispose]())

  /** Attempts made at the gateway, each of which is a line of its log. */
  const visits = async (count: number) => {
    await site.logged(count)
    return site.log.length
  }

  describe('openai', () => {
    const client = () => new OpenAI({ apiKey: 'any', baseURL: `${site.url}/v1` })

    test('gets a chat completion, its usage and our request id', async () => {
      const completion = await client().chat.completions.create({ model: 'openai', messages })
      expect(completion.choices[0]!.message.content).toBe(text)
      expect(completion.usage).toMatchObject({
        prompt_tokens: expect.any(Number),
        total_tokens: expect.any(Number),
      })
      expect(completion._request_id).toBe(site.log[0]!.requestId)
    })

    test('gets a streamed chat completion, with usage at its end', async () => {
      const stream = await client().chat.completions.create({
        model: 'openai',
        messages,
        stream: true,
        stream_options: { include_usage: true },
      })
      let streamed = ''
      let total: number | undefined
      for await (const chunk of stream) {
        streamed += chunk.choices[0]?.delta.content ?? ''
        total = chunk.usage?.total_tokens ?? total
      }
      expect(streamed).toBe(text)
      expect(total).toBeGreaterThan(0)
    })

    test('gets embeddings, which it requests as base64 by default', async () => {
      const { data } = await client().embeddings.create({
        model: 'text-embedding-3-small',
        input: ['one', 'two'],
        dimensions: 4,
      })
      expect(site.upstream.requests[0]!.body).toMatchObject({ encoding_format: 'base64' })
      expect(data.map(({ embedding }) => embedding.length)).toEqual([4, 4])
      for (const { embedding } of data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 5)
    })

    test('gets models, images and speech', async () => {
      const openai = client()
      const ids: string[] = []
      for await (const { id } of openai.models.list()) ids.push(id)
      expect(ids).toContain('openai')
      const image = await openai.images.generate({
        model: 'flux',
        prompt: 'a tulip',
        size: '256x256',
      })
      expect(Buffer.from(image.data![0]!.b64_json!, 'base64').subarray(1, 4).toString()).toBe('PNG')
      const speech = await openai.audio.speech.create({
        model: 'openai-audio',
        voice: 'alloy',
        input: 'Tulips',
      })
      expect(
        Buffer.from(await speech.arrayBuffer())
          .subarray(0, 4)
          .toString(),
      ).toBe('RIFF')
    })

    test('stops upstream when it leaves a stream', async () => {
      site.upstream.faults.push({ stallAfterChunks: 2 })
      const stream = await client().chat.completions.create({
        model: 'openai',
        messages,
        stream: true,
      })
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
      await site.upstream.waitFor(({ active }) => active === 0)
      await site.logged(1)
      expect(site.log[0]).toMatchObject({ status: 499 })
    })

    test.each([
      [400, OpenAI.BadRequestError, 400, 'bad_request', 1],
      [401, OpenAI.InternalServerError, 502, 'auth', 1],
      [404, OpenAI.NotFoundError, 404, 'not_found', 1],
      [422, OpenAI.UnprocessableEntityError, 422, 'bad_request', 1],
      [429, OpenAI.RateLimitError, 429, 'rate_limited', 1],
      [500, OpenAI.InternalServerError, 502, 'server', 3],
      [503, OpenAI.InternalServerError, 503, 'server', 3],
    ])(
      'throws its own typed error for upstream’s %i, without multiplying our retries',
      async (upstreams, kind, status, code, requests) => {
        site.upstream.faults.push({
          status: upstreams,
          times: 10,
          ...(upstreams === 429 && { retryAfter: 1 }),
        })
        const error: unknown = await client()
          .chat.completions.create({ model: 'openai', messages })
          .catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(kind)
        expect(error).toMatchObject({
          status,
          code,
          type: expect.any(String),
          requestID: site.log[0]!.requestId,
        })
        expect(site.upstream.requests).toHaveLength(requests)
        expect(await visits(1)).toBe(1)
      },
    )

    test('throws for a request that we refuse', async () => {
      const wrong = client().chat.completions.create({ model: 'openai', messages: [] })
      await expect(wrong).rejects.toThrow(/messages must be a non-empty list of objects/)
      await expect(client().get('/nothing')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    })

    test('throws in the middle of a stream that broke', async () => {
      site.upstream.faults.push({ cutAfterChunks: 2, chunkDelayMs: 5 })
      const stream = await client().chat.completions.create({
        model: 'openai',
        messages,
        stream: true,
      })
      let streamed = ''
      const reading = async () => {
        for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? ''
      }
      await expect(reading()).rejects.toThrow(OpenAI.APIError)
      expect(text.startsWith(streamed)).toBe(true)
      expect(streamed).not.toBe('')
    })
  })

  describe('Vercel AI', () => {
    const model = () =>
      createOpenAICompatible({
        name: 'gateway',
        apiKey: 'any',
        baseURL: `${site.url}/v1`,
        includeUsage: true,
      })('openai')

    test('generates text', async () => {
      const result = await generateText({ model: model(), prompt: 'tulips' })
      expect(result).toMatchObject({ text, finishReason: 'stop' })
      expect(result.usage.totalTokens).toBeGreaterThan(0)
    })

    test('streams text', async () => {
      const result = streamText({ model: model(), prompt: 'tulips' })
      const pieces: string[] = []
      for await (const piece of result.textStream) pieces.push(piece)
      expect(pieces.join('')).toBe(text)
      expect(pieces.length).toBeGreaterThan(1)
      expect(await result.finishReason).toBe('stop')
    })

    test('throws its own error with our status and sentence', async () => {
      site.upstream.fail(422)
      const error: unknown = await generateText({
        model: model(),
        prompt: 'tulips',
        maxRetries: 0,
      }).catch((thrown: unknown) => thrown)
      expect(APICallError.isInstance(error)).toBe(true)
      expect(error).toMatchObject({
        statusCode: 422,
        message: expect.stringMatching(/^Upstream answered 422/),
      })
    })

    test('reports a broken stream', async () => {
      site.upstream.faults.push({ cutAfterChunks: 2, chunkDelayMs: 5 })
      const errors: unknown[] = []
      const result = streamText({
        model: model(),
        prompt: 'tulips',
        onError: ({ error }) => void errors.push(error),
      })
      await result.consumeStream()
      expect(errors).toHaveLength(1)
    })
  })

  describe('@pollinations/sdk', () => {
    const client = () => new Pollinations({ apiKey: 'any', baseUrl: site.url, maxRetries: 1 })

    test('gets text and chats, plain and streamed', async () => {
      const pollinations = client()
      expect(await pollinations.text('tulips')).toBe(text)
      expect((await pollinations.chat(messages)).choices[0]!.message.content).toBe(text)
      let streamed = ''
      for await (const piece of pollinations.textStream('tulips')) streamed += piece
      expect(streamed).toBe(text)
      streamed = ''
      for await (const chunk of pollinations.chatStream(messages))
        streamed += chunk.choices[0]?.delta.content ?? ''
      expect(streamed).toBe(text)
    })

    test('gets models, images and speech', async () => {
      const pollinations = client()
      // It hands on whatever came, which is OpenAI's list.
      expect(await pollinations.models()).toMatchObject({
        object: 'list',
        data: expect.arrayContaining([expect.objectContaining({ id: 'openai' })]),
      })
      const image = await pollinations.imageGenerate('a tulip', {
        model: 'flux',
        width: 16,
        height: 16,
      })
      expect(image).toMatchObject({ contentType: 'image/png' })
      const { buffer, contentType } = await pollinations.audioSpeech('Tulips', {
        voice: 'nova',
        model: 'openai-audio',
      })
      expect(Buffer.from(buffer).subarray(0, 4).toString()).toBe('RIFF')
      expect(contentType).toBe('audio/wav')
    })

    test('throws its own error with our sentence and code', async () => {
      site.upstream.fail(400)
      const error: unknown = await client()
        .text('tulips')
        .catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(PollinationsError)
      expect(error).toMatchObject({
        status: 400,
        code: 'bad_request',
        message: expect.stringMatching(/^Upstream answered 400/),
      })
    })
  })
})
