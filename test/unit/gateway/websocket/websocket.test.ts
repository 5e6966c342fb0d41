import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { cache } from '../../../../src/layers/cache/index.js'
import { bench, type Message } from './bench.js'

const ID = expect.stringMatching(/^[\w-]{36}$/)

describe('generate', () => {
  test('returns the text, and sends upstream the same as the HTTP routes', async () => {
    await using it = await bench({ upstream: { reply: () => 'A petal opens.' } })
    const caller = await it.connect()
    expect(await caller.ask({ type: 'generate', prompt: 'Hello' })).toEqual({
      type: 'result',
      text: 'A petal opens.',
    })
    expect(it.upstream.requests[0]?.body).toMatchObject({
      model: 'openai',
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 100,
      temperature: 0.7,
    })
  })

  test('passes on max_tokens, temperature and model, and ignores unknown fields', async () => {
    await using it = await bench()
    const caller = await it.connect()
    const said = {
      type: 'generate',
      prompt: 'Hello',
      max_tokens: 3,
      temperature: 0,
      model: 'openai-fast',
      baseURL: 'http://x',
      apiKey: 'k',
    }
    expect((await caller.ask(said)).type).toBe('result')
    expect(it.upstream.requests[0]?.body).toMatchObject({
      max_tokens: 3,
      temperature: 0,
      model: 'openai-fast',
    })
    expect(it.upstream.requests[0]?.rawBody).not.toContain('baseURL')
  })

  test('runs several at once, each answered under its id', async () => {
    await using it = await bench({
      upstream: {
        reply: ({ body }) => String((body as { messages: Message[] }).messages[0]?.content),
      },
    })
    it.upstream.fault({ hang: true, match: ({ rawBody }) => rawBody.includes('slow') })
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'slow', id: 'a' })
    await it.upstream.waitFor(({ active }) => active === 1)
    expect(await caller.ask({ type: 'generate', prompt: 'one', id: 'b' })).toEqual({
      type: 'result',
      text: 'one',
      id: 'b',
    })
    expect(await caller.ask({ type: 'generate', prompt: 'two', id: 7 })).toEqual({
      type: 'result',
      text: 'two',
      id: 7,
    })
    expect(await caller.ask({ type: 'generate', prompt: 'three', id: '7' })).toEqual({
      type: 'result',
      text: 'three',
      id: '7',
    })
    expect(it.upstream.active).toBe(1)
  })

  test('bypasses the cache', async () => {
    await using it = await bench({ layers: [cache({ ttlMs: 60_000 })] })
    const caller = await it.connect()
    for (let i = 0; i < 2; i++)
      expect((await caller.ask({ type: 'generate', prompt: 'same' })).type).toBe('result')
    expect(it.upstream.requests).toHaveLength(2)
  })

  test('refuses models that are not on the list', async () => {
    await using it = await bench({ gateway: { models: ['openai'] } })
    const caller = await it.connect()
    expect(await caller.ask({ type: 'generate', prompt: 'Hello', model: 'else' })).toMatchObject({
      type: 'error',
      code: 'NOT_FOUND',
    })
    expect(it.upstream.requests).toHaveLength(0)
  })
})

describe('stream', () => {
  test('sends the chunks and then how the stream ended', async () => {
    await using it = await bench({ upstream: { reply: () => 'one two three' } })
    const caller = await it.connect()
    caller.say({ type: 'stream', prompt: 'count', id: 's' })
    const heard = await caller.until('done')
    expect(heard.slice(0, -1)).toEqual(
      ['one', ' two', ' three'].map((text) => ({ type: 'delta', text, id: 's' })),
    )
    expect(heard.at(-1)).toEqual({
      type: 'done',
      finish_reason: 'stop',
      usage: {
        prompt_tokens: expect.any(Number),
        completion_tokens: 3,
        total_tokens: expect.any(Number),
      },
      id: 's',
    })
  })

  test('ends with an error when upstream breaks off, while the connection stays open', async () => {
    await using it = await bench()
    it.upstream.fault({ cutAfterChunks: 2, chunkDelayMs: 20 })
    const caller = await it.connect()
    caller.say({ type: 'stream', prompt: 'count' })
    const heard = await caller.until('error')
    expect(heard.map(({ type }) => type)).toEqual(['delta', 'delta', 'error'])
    expect(heard.at(-1)).toEqual({
      type: 'error',
      code: 'STREAM',
      message: expect.any(String),
      requestId: ID,
    })
    expect((await caller.ask({ type: 'generate', prompt: 'again' })).type).toBe('result')
    expect(it.log[0]).toMatchObject({
      status: 200,
      level: 'error',
      code: 'STREAM',
      firstTokenMs: expect.any(Number),
    })
  })

  test('refuses a second stream without an id, as their chunks could not be told apart', async () => {
    await using it = await bench()
    it.upstream.fault({ stallAfterChunks: 1 })
    const caller = await it.connect()
    expect((await caller.ask({ type: 'stream', prompt: 'one' })).type).toBe('delta')
    expect(await caller.ask({ type: 'stream', prompt: 'two' })).toMatchObject({
      code: 'VALIDATION',
      errors: [{ field: 'id' }],
    })
    expect((await caller.ask({ type: 'generate', prompt: 'three' })).type).toBe('result')
  })

  test('delivers everything, in order, to a caller who reads late', async () => {
    await using it = await bench({ upstream: { words: 20_000, wordsPerChunk: 20 } })
    const caller = await it.connect()
    caller.say({ type: 'stream', prompt: 'long', max_tokens: 20_000, id: 1 })
    expect((await caller.next()).type).toBe('delta')
    caller.socket.pause()
    await it.upstream.waitFor(({ requests }) => (requests[0]?.chunksSent ?? 0) > 100)
    caller.socket.resume()
    const heard = await caller.until('done')
    expect(heard.at(-1)).toMatchObject({
      finish_reason: 'length',
      usage: { completion_tokens: 20_000 },
    })
  })
})

describe('cancel', () => {
  test.each(['generate', 'stream'])(
    'stops the upstream call of a %s and frees its id',
    async (type) => {
      await using it = await bench()
      it.upstream.fault(type === 'stream' ? { stallAfterChunks: 1 } : { hang: true })
      const caller = await it.connect()
      caller.say({ type, prompt: 'long', id: 'x' })
      if (type === 'stream') await caller.next()
      await it.upstream.waitFor(({ active }) => active === 1)
      expect(await caller.ask({ type: 'cancel', id: 'x' })).toEqual({ type: 'cancelled', id: 'x' })
      await it.upstream.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
      expect(await caller.ask({ type: 'generate', prompt: 'next', id: 'x' })).toMatchObject({
        type: 'result',
        id: 'x',
      })
      expect(it.log[0]).toMatchObject({ status: 499 })
      expect(it.errors).toEqual([])
    },
  )

  test('is an error when nothing runs under that id', async () => {
    await using it = await bench()
    const caller = await it.connect()
    expect(await caller.ask({ type: 'cancel', id: 'x' })).toMatchObject({
      type: 'error',
      code: 'NOT_FOUND',
      id: 'x',
    })
    expect(await caller.ask({ type: 'cancel' })).toMatchObject({
      code: 'VALIDATION',
      errors: [{ field: 'id', message: 'is missing' }],
    })
  })
})

describe('wrong messages', () => {
  test.each<[string, string, Message]>([
    ['text that is not JSON', '{', { message: 'The message is not valid JSON.' }],
    ['an array', '[1]', { message: 'The message must be a JSON object.' }],
    ['null', 'null', { message: 'The message must be a JSON object.' }],
    ['no type', '{}', { errors: [{ field: 'type', message: expect.any(String) }] }],
    [
      'an unknown type',
      '{"type":"toString"}',
      { errors: [{ field: 'type', message: expect.any(String) }] },
    ],
    [
      'no prompt',
      '{"type":"generate","id":1}',
      { errors: [{ field: 'prompt', message: 'is missing' }], id: 1 },
    ],
    [
      'a prompt that is an object',
      '{"type":"generate","prompt":{}}',
      { errors: [{ field: 'prompt', message: expect.any(String) }] },
    ],
    [
      'several wrong fields',
      '{"type":"stream","prompt":"","max_tokens":0,"temperature":3,"model":""}',
      {
        errors: ['prompt', 'max_tokens', 'temperature', 'model'].map((field) => ({
          field,
          message: expect.any(String),
        })),
      },
    ],
    [
      'an id that is an object',
      '{"type":"generate","prompt":"x","id":{}}',
      { errors: [{ field: 'id', message: expect.any(String) }] },
    ],
    [
      'an id that is infinite',
      '{"type":"generate","prompt":"x","id":1e999}',
      { errors: [{ field: 'id', message: expect.any(String) }] },
    ],
    [
      'a long id',
      `{"type":"generate","prompt":"x","id":"${'i'.repeat(65)}"}`,
      { errors: [{ field: 'id', message: expect.any(String) }] },
    ],
    ['deep nesting', '['.repeat(30_000), { message: 'The message is not valid JSON.' }],
  ])('%s is an error that does not end the connection', async (_name, text, expected) => {
    await using it = await bench()
    const caller = await it.connect()
    expect(await caller.ask(text)).toEqual({
      type: 'error',
      code: 'VALIDATION',
      message: expect.any(String),
      requestId: ID,
      ...expected,
    })
    expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    expect(it.upstream.requests).toHaveLength(0)
    expect(it.log).toMatchObject([
      { method: 'WS', route: '/ws/generate', status: 400, level: 'warn', code: 'VALIDATION' },
    ])
  })

  test('binary is an error that does not end the connection', async () => {
    await using it = await bench()
    const caller = await it.connect()
    caller.socket.send(Buffer.from('{"type":"ping"}'))
    expect(await caller.next()).toMatchObject({
      type: 'error',
      code: 'VALIDATION',
      message: 'The message must be text, not binary.',
    })
    expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
  })

  test('an oversized message ends the connection with 1009, and everything running on it', async () => {
    await using it = await bench()
    it.upstream.fault({ hang: true })
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'long' })
    await it.upstream.waitFor(({ active }) => active === 1)
    caller.say({ type: 'generate', prompt: 'x'.repeat(64 * 1024) })
    expect((await caller.closed).code).toBe(1009)
    await it.upstream.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
  })

  test('a message that is not UTF-8 ends the connection with 1007', async () => {
    await using it = await bench()
    const caller = await it.connect()
    caller.socket.send(Buffer.from([0xff]), { binary: false })
    expect((await caller.closed).code).toBe(1007)
  })

  test('an id already in use is refused in an error without it, and its generation continues', async () => {
    await using it = await bench()
    it.upstream.fault({ hang: true })
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'long', id: 'x' })
    await it.upstream.waitFor(({ active }) => active === 1)
    const refused = await caller.ask({ type: 'generate', prompt: 'other', id: 'x' })
    expect(refused).toMatchObject({ code: 'VALIDATION', errors: [{ field: 'id' }] })
    expect(refused).not.toHaveProperty('id')
    expect(it.upstream.active).toBe(1)
  })
})

describe('limits', () => {
  test('refuses generations beyond the limit, and accepts more when one ends', async () => {
    await using it = await bench()
    it.upstream.fault({ hang: true, times: 4 })
    const caller = await it.connect()
    for (let id = 1; id <= 4; id++) caller.say({ type: 'generate', prompt: 'long', id })
    await it.upstream.waitFor(({ active }) => active === 4)
    const refused = await caller.ask({ type: 'generate', prompt: 'fifth', id: 5 })
    expect(refused).toMatchObject({ type: 'error', code: 'QUEUE_FULL', id: 5 })
    expect(await caller.ask({ type: 'cancel', id: 2 })).toEqual({ type: 'cancelled', id: 2 })
    expect(await caller.ask({ type: 'generate', prompt: 'fifth', id: 5 })).toMatchObject({
      type: 'result',
      id: 5,
    })
  })

  test('refuses messages beyond the rate, but still obeys a cancel', async () => {
    await using it = await bench({ sockets: { rate: { limit: 2, intervalMs: 60_000 } } })
    it.upstream.fault({ hang: true })
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'long', id: 'x' })
    await it.upstream.waitFor(({ active }) => active === 1)
    expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    const refused = await caller.ask({ type: 'generate', prompt: 'more', id: 'y' })
    expect(refused).toMatchObject({ type: 'error', code: 'RATE_LIMITED', retryAfter: 60, id: 'y' })
    expect(await caller.ask({ type: 'cancel', id: 'x' })).toEqual({ type: 'cancelled', id: 'x' })
  })

  test.each(['{"type":"ping"}', '{', '{"type":"cancel","id":1}'])(
    'ends a persistently abusive connection with 1008: %s',
    async (text) => {
      await using it = await bench({ sockets: { rate: { limit: 3, intervalMs: 60_000 } } })
      it.upstream.fault({ hang: true })
      const caller = await it.connect()
      for (let i = 0; i < 7; i++) caller.say(text)
      expect((await caller.closed).code).toBe(1008)
    },
  )
})

describe('errors, log and keys', () => {
  test('reveals no more of an error than the HTTP routes', async () => {
    await using it = await bench()
    it.upstream.fault({
      status: 401,
      body: '{"error":{"message":"key sk_the_servers_own is bad"}}',
    })
    const caller = await it.connect()
    const answer = await caller.ask({ type: 'generate', prompt: 'Hello', id: 1 })
    expect(answer).toEqual({
      type: 'error',
      code: 'AUTH',
      message: 'The service is currently unavailable.',
      requestId: ID,
      id: 1,
    })
    expect(it.errors).toMatchObject([{ code: 'AUTH' }])
    expect(it.log).toMatchObject([
      {
        method: 'WS',
        route: '/ws/generate',
        status: 502,
        code: 'AUTH',
        requestId: answer.requestId,
      },
    ])
  })

  test('tells the client when to retry', async () => {
    await using it = await bench()
    it.upstream.fault({ status: 429, retryAfter: 7 })
    const caller = await it.connect()
    expect(await caller.ask({ type: 'generate', prompt: 'Hello' })).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 7,
    })
  })

  test('logs each generation with its tenant', async () => {
    await using it = await bench({
      gateway: { call: () => ({ tenant: 't1', priority: 3, clientAddress: '10.0.0.1' }) },
    })
    const caller = await it.connect()
    await caller.ask({ type: 'generate', prompt: 'Hello' })
    expect(it.log).toMatchObject([
      {
        method: 'WS',
        route: '/ws/generate',
        status: 200,
        level: 'info',
        attempts: 1,
        tenant: 't1',
        clientAddress: '10.0.0.1',
      },
    ])
  })

  test('uses the caller’s own key where allowed, and passes on what upstream says about it', async () => {
    const sha256 = (key: string) => createHash('sha256').update(key).digest('hex')
    await using it = await bench({ gateway: { forwardKeys: true } })
    const caller = await it.connect({ headers: { authorization: 'Bearer sk_the_callers' } })
    await caller.ask({ type: 'generate', prompt: 'Hello' })
    expect(it.upstream.requests[0]?.keySha256).toBe(sha256('sk_the_callers'))
    it.upstream.fault({ status: 401 })
    await caller.ask({ type: 'generate', prompt: 'Hello' })
    expect(it.log[1]).toMatchObject({ status: 401, code: 'AUTH' })

    await using other = await bench()
    const stranger = await other.connect({ headers: { authorization: 'Bearer sk_the_callers' } })
    await stranger.ask({ type: 'generate', prompt: 'Hello' })
    expect(other.upstream.requests[0]?.keySha256).toBe(sha256('sk_the_servers_own'))
  })
})
