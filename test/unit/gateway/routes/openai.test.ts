import { describe, expect, test } from 'vitest'
import {
  answerOf,
  comparable,
  everyHeader,
  said,
  sameFromEach,
} from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'

describe('the OpenAI routes', () => {
  const messages = [{ role: 'user', content: prompt }]

  test('chat is forwarded unchanged, unknown fields included', async () => {
    const outcome = await sameFromEach(said('Hello.'), async ({ ask, upstream }) => {
      const answer = comparable(
        await ask('/v1/chat/completions', { body: { messages, seed: 4, made_up: { deep: [1] } } }),
      )
      return { answer, sent: upstream.requests[0]!.body }
    })
    expect(outcome.sent).toEqual({ messages, seed: 4, made_up: { deep: [1] } })
    expect(outcome.answer.body).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { content: 'Hello.' }, finish_reason: 'stop' }],
    })
    expect(outcome.answer.headers).toMatchObject({ ...everyHeader, 'x-cache': 'MISS' })
  })

  test('a streamed chat has upstream’s chunks and [DONE]', async () => {
    const events = await sameFromEach(said('Hello there.'), async ({ ask }) => {
      return (await ask('/v1/chat/completions', { body: { messages, stream: true } })).events
    })
    const chunks = events.slice(0, -1).map(({ data }) => JSON.parse(data))
    expect(events.at(-1)).toEqual({ event: 'message', data: '[DONE]' })
    expect(chunks.every(({ object }) => object === 'chat.completion.chunk')).toBe(true)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
      'Hello there.',
    )
  })

  test('a streamed chat that breaks ends with an error of OpenAI’s shape and without [DONE]', async () => {
    const outcome = await sameFromEach(
      { upstream: { words: 30 } },
      async ({ ask, upstream, log, logged }) => {
        upstream.faults.push({ cutAfterChunks: 2, chunkDelayMs: 5 })
        const { events, text } = await ask('/v1/chat/completions', {
          body: { messages, stream: true },
        })
        await logged(1)
        return { last: events.at(-1), done: text.includes('[DONE]'), code: log[0]!.code }
      },
    )
    expect(outcome).toMatchObject({ done: false, code: 'STREAM', last: { event: 'message' } })
    expect(JSON.parse(outcome.last!.data)).toEqual({
      error: { message: expect.any(String), type: 'server_error', code: 'stream', param: null },
    })
  })

  test('images, speech, embeddings and models are returned unchanged', async () => {
    const outcome = await sameFromEach({}, async ({ ask }) => {
      const image = await ask('/v1/images/generations', { body: { prompt, size: '8x8' } })
      const speech = await ask('/v1/audio/speech', { body: { input: 'Hello.', voice: 'alloy' } })
      const embedding = await ask('/v1/embeddings', { body: { input: ['a', 'b'], dimensions: 3 } })
      const models = await ask('/v1/models')
      return {
        image: [image.status, image.json.data.length],
        speech: [speech.status, speech.headers['content-type'], speech.text.slice(0, 4)],
        embedding: [
          embedding.status,
          embedding.json.data.map((one: { embedding: number[] }) => one.embedding.length),
        ],
        models: [models.status, models.json.object, models.json.data[0].id],
      }
    })
    expect(outcome).toEqual({
      image: [200, 1],
      speech: [200, 'audio/wav', 'RIFF'],
      embedding: [200, [3, 3]],
      models: [200, 'list', 'openai'],
    })
  })

  test.each([
    ['/v1/chat/completions', {}, 'messages'],
    ['/v1/chat/completions', { messages: [] }, 'messages'],
    ['/v1/chat/completions', { messages: 'hello' }, 'messages'],
    ['/v1/chat/completions', { messages, model: 5 }, 'model'],
    ['/v1/embeddings', {}, 'input'],
    ['/v1/images/generations', { prompt: {} }, 'prompt'],
    ['/v1/audio/speech', { input: '' }, 'input'],
  ])('POST %s with %j is 400 of OpenAI’s shape and names the field', async (path, body, field) => {
    const answer = await answerOf(path, { body })
    expect(answer).toMatchObject({
      status: 400,
      headers: { 'content-type': 'application/json; charset=utf-8' },
    })
    expect(answer.body).toEqual({
      error: {
        message: expect.stringContaining(`: ${field} `),
        type: 'invalid_request_error',
        code: 'validation',
        param: field,
      },
    })
  })

  test('404, 405, 413 and 415 below /v1 have OpenAI’s shape, too', async () => {
    const outcome = await sameFromEach({ gateway: { mediaBodyLimit: 500 } }, async ({ ask }) => {
      const answers = [
        await ask('/v1/nothing', { body: {} }),
        await ask('/v1/chat/completions'),
        await ask('/v1/chat/completions', { body: { messages: 'x'.repeat(600) } }),
        await ask('/v1/chat/completions', {
          body: '{}',
          headers: { 'content-type': 'text/plain' },
        }),
      ]
      return answers.map(({ status, headers, json }) => [
        status,
        headers['content-type'],
        json.error.type,
        json.error.code,
      ])
    })
    const type = 'application/json; charset=utf-8'
    expect(outcome).toEqual([
      [404, type, 'invalid_request_error', 'not_found'],
      [405, type, 'invalid_request_error', 'validation'],
      [413, type, 'invalid_request_error', 'too_large'],
      [415, type, 'invalid_request_error', 'validation'],
    ])
  })

  test('an answer that does not fit the request is 502, whatever its type', async () => {
    const outcome = await sameFromEach({ layers: () => [] }, async ({ ask, upstream }) => {
      const seen = []
      for (const fault of [
        { json: 'html' },
        { status: 200, body: '<script>alert(1)</script>', contentType: 'text/html' },
        { status: 200, body: '<svg/>', contentType: 'image/svg+xml' },
        { status: 200, body: 'null', contentType: 'application/json' },
        { status: 200, body: '5', contentType: 'application/json' },
        { status: 200, body: 'plain words', contentType: 'text/plain' },
      ] as const) {
        upstream.faults.push(fault)
        const { status, headers, json } = await ask('/v1/audio/speech', {
          body: { input: 'Hello.' },
        })
        seen.push([status, headers['content-type'], json.error.code])
      }
      return seen
    })
    for (const seen of outcome)
      expect(seen).toEqual([502, 'application/json; charset=utf-8', 'protocol'])
  })
})
