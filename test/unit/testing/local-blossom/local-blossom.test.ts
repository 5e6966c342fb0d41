import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { crc32, inflateSync } from 'node:zlib'
import OpenAI from 'openai'
import { request } from 'undici'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../../../src/testing/local-blossom/index.js'

const open: LocalBlossom[] = []

async function start(options: LocalBlossomOptions = {}): Promise<LocalBlossom> {
  const blossom = await startLocalBlossom(options)
  open.push(blossom)
  return blossom
}

afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(open.splice(0).map((blossom) => blossom.close()))
})

const hello = { model: 'openai', messages: [{ role: 'user', content: 'Tell me about tulips' }] }

function post(
  blossom: LocalBlossom,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return fetch(blossom.url + path, {
    method: 'POST',
    body: text,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

const chat = (blossom: LocalBlossom, more: object = {}, headers: Record<string, string> = {}) =>
  post(blossom, '/v1/chat/completions', { ...hello, ...more }, headers)

interface Chunk {
  choices: {
    delta: { role?: string; content?: string; tool_calls?: { function: { arguments: string } }[] }
    finish_reason: string | null
  }[]
  usage?: { total_tokens: number }
}

/** The fields of JSON answers that are looked into. */
interface Body {
  choices: [{ finish_reason: string; message: Message }]
  usage: { completion_tokens: number }
  data: [Item, ...Item[]]
  error: { message: string; details: { field?: string } }
  topic: string
}
interface Message {
  content: string
  reasoning_content: string
  tool_calls: [{ id: string; function: { arguments: string } }]
  audio: { data: string }
}
interface Item {
  id: string
  index: number
  embedding: number[]
  b64_json: string
  url: string
}

const bodyOf = async (answer: Response | Promise<Response>) => (await (await answer).json()) as Body

/** The data of each event, `[DONE]` included. */
const eventsOf = (text: string) =>
  text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice(6))
const chunksOf = (text: string) =>
  eventsOf(text)
    .filter((data) => data !== '[DONE]')
    .map((data) => JSON.parse(data) as Chunk)
const textOf = (chunks: readonly Chunk[]) =>
  chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')

/** Sends a request line as it stands, which no URL library does, and reads the whole answer. */
function raw(blossom: LocalBlossom, target: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(blossom.port, '127.0.0.1', () =>
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    )
    let text = ''
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part
    })
    socket.on('close', () => resolve(text)).on('error', reject)
  })
}

describe('chat completions', () => {
  it('answers with text that quotes the prompt, with usage and headers', async () => {
    const blossom = await start()
    const answer = await chat(blossom)
    const body = await bodyOf(answer)
    expect(body).toMatchObject({
      object: 'chat.completion',
      model: 'openai',
      choices: [{ index: 0, finish_reason: 'stop' }],
    })
    const { content } = body.choices[0].message
    expect(content).toContain('tulips')
    expect(content.split(/[.?!]/).length).toBeGreaterThan(4)
    const tokens = content.trim().split(/\s+/).length
    expect(body.usage).toEqual({
      prompt_tokens: 4,
      completion_tokens: tokens,
      total_tokens: tokens + 4,
    })
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': 'req-local-000001',
      'x-cache': 'MISS',
      'x-model-used': 'openai',
      'x-usage-prompt-text-tokens': '4',
      'x-usage-completion-text-tokens': String(tokens),
      'x-usage-total-tokens': String(tokens + 4),
    })
  })

  it('depends on model, messages and seed, and on nothing else', async () => {
    const [one, two] = [await start(), await start({ coalesce: false })]
    const content = async (blossom: LocalBlossom, more: object = {}) =>
      (await bodyOf(chat(blossom, more))).choices[0].message.content
    expect(await content(one)).toBe(await content(two))
    expect(await content(one, { temperature: 0.2 })).toBe(await content(one))
    const others = [
      await content(one, { seed: 7 }),
      await content(one, { seed: 8 }),
      await content(one, { model: 'mistral' }),
    ]
    expect(new Set([await content(one), ...others]).size).toBe(4)
  })

  it('cuts at max_tokens and at a stop mark, grows to `words`, and takes a `reply`', async () => {
    const blossom = await start({
      words: 300,
      reply: (asked) => (asked.rawBody.includes('parrot') ? 'one two three' : undefined),
    })
    const first = async (more: object) => (await bodyOf(chat(blossom, more))).choices[0]
    expect(await first({ max_tokens: 3 })).toMatchObject({ finish_reason: 'length' })
    expect((await first({ max_tokens: 3 })).message.content.split(' ')).toHaveLength(3)
    expect((await first({ stop: ['tul'] })).message.content).not.toContain('tul')
    expect((await first({})).message.content.split(' ').length).toBeGreaterThanOrEqual(300)
    const parrot = { messages: [{ role: 'user', content: 'parrot' }] }
    expect(await first(parrot)).toMatchObject({
      finish_reason: 'stop',
      message: { content: 'one two three' },
    })
    expect(await first({ ...parrot, max_completion_tokens: 2 })).toMatchObject({
      finish_reason: 'length',
      message: { content: 'one two' },
    })
  })

  it('streams a role, word by word the same text, a finish reason, the usage and [DONE]', async () => {
    const blossom = await start()
    const whole = await bodyOf(chat(blossom))
    const answer = await chat(blossom, { stream: true, stream_options: { include_usage: true } })
    expect(answer.headers.get('content-type')).toContain('text/event-stream')
    const text = await answer.text()
    expect(eventsOf(text).at(-1)).toBe('[DONE]')
    const chunks = chunksOf(text)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant' })
    expect(textOf(chunks)).toBe(whole.choices[0].message.content)
    expect(chunks.length).toBe(whole.usage.completion_tokens + 3)
    expect(chunks.at(-2)?.choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' })
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
    expect(blossom.requests[1]).toMatchObject({
      outcome: 'complete',
      status: 200,
      chunksSent: chunks.length,
      bytesSent: text.length + extra(text),
    })
    expect(
      chunksOf(await (await chat(blossom, { stream: true })).text()).some(
        (chunk) => chunk.usage !== undefined,
      ),
    ).toBe(false)
  })

  it('calls a tool when told to, in pieces when streamed, and speaks once the tool has answered', async () => {
    const blossom = await start()
    const parameters = {
      type: 'object',
      properties: {
        city: { type: 'string' },
        days: { type: 'integer' },
        unit: { enum: ['C', 'F'] },
      },
    }
    const tools = [{ type: 'function', function: { name: 'weather', parameters } }]
    const forced = { tools, tool_choice: { type: 'function', function: { name: 'weather' } } }
    const choice = (await bodyOf(chat(blossom, forced))).choices[0]
    expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
    const [call] = choice.message.tool_calls
    expect(JSON.parse(call.function.arguments)).toEqual({
      city: 'Tell me about tulips',
      days: 1,
      unit: 'C',
    })

    const calls = chunksOf(await (await chat(blossom, { ...forced, stream: true })).text()).flatMap(
      (chunk) => chunk.choices[0]?.delta.tool_calls ?? [],
    )
    expect(calls.length).toBeGreaterThan(3)
    expect(calls.map((piece) => piece.function.arguments).join('')).toBe(call.function.arguments)

    const asked = [{ role: 'user', content: 'Please call the tool.' }]
    expect((await bodyOf(chat(blossom, { tools, messages: asked }))).choices[0].finish_reason).toBe(
      'tool_calls',
    )
    expect((await bodyOf(chat(blossom, { tools }))).choices[0].finish_reason).toBe('stop')
    const answered = [
      ...asked,
      choice.message,
      { role: 'tool', tool_call_id: call.id, content: '21 degrees' },
    ]
    expect(
      (await bodyOf(chat(blossom, { tools, messages: answered }))).choices[0].finish_reason,
    ).toBe('stop')
  })

  it('writes JSON, reasons and speaks when asked to', async () => {
    const blossom = await start()
    const message = async (more: object) => (await bodyOf(chat(blossom, more))).choices[0].message
    expect(
      JSON.parse((await message({ response_format: { type: 'json_object' } })).content).topic,
    ).toContain('tulips')
    const schema = {
      type: 'object',
      properties: { ok: { type: 'boolean' }, list: { type: 'array', items: { type: 'number' } } },
    }
    const format = { type: 'json_schema', json_schema: { name: 'x', schema } }
    expect(JSON.parse((await message({ response_format: format })).content)).toEqual({
      ok: true,
      list: [1],
    })
    expect((await message({ reasoning_effort: 'low' })).reasoning_content).toContain('tulips')
    const spoken = await message({
      modalities: ['text', 'audio'],
      audio: { voice: 'alloy', format: 'wav' },
    })
    expect(spoken.content).toBeNull()
    expect(Buffer.from(spoken.audio.data, 'base64').subarray(0, 4).toString()).toBe('RIFF')
  })

  it.each([
    ['not JSON', 'nonsense', undefined],
    ['no messages', { model: 'openai' }, 'messages'],
    ['no role', { messages: [{ content: 'x' }] }, 'role'],
    ['temperature', { ...hello, temperature: 3 }, 'temperature'],
    ['max_tokens', { ...hello, max_tokens: 0 }, 'max_tokens'],
    ['stream', { ...hello, stream: 'yes' }, 'stream'],
  ])('refuses a wrong body: %s', async (_name, body, named) => {
    const blossom = await start()
    const answer = await post(blossom, '/v1/chat/completions', body)
    expect(answer.status).toBe(400)
    const { error, ...rest } = await bodyOf(answer)
    expect(rest).toEqual({ status: 400, success: false })
    expect(error).toMatchObject({
      code: 'BAD_REQUEST',
      requestId: answer.headers.get('x-request-id'),
    })
    expect(error.details.field).toBe(named)
  })
})

describe('the other endpoints', () => {
  it('gives plain text by path, JSON and streams by query', async () => {
    const blossom = await start()
    const answer = await fetch(
      `${blossom.url}/text/${encodeURIComponent('Why is the sky/sea blue?')}?seed=1&system=Be%20brief`,
    )
    expect(answer.headers.get('content-type')).toContain('text/plain')
    expect(await answer.text()).toContain('sky/sea')
    expect(answer.headers.get('x-usage-prompt-text-tokens')).toBe('7')
    expect((await bodyOf(fetch(`${blossom.url}/text/sky?json=true`))).topic).toBe('sky')
    expect(eventsOf(await (await fetch(`${blossom.url}/text/sky?stream=true`)).text()).at(-1)).toBe(
      '[DONE]',
    )
    expect((await fetch(`${blossom.url}/text/sky?temperature=hot`)).status).toBe(400)
  })

  it('draws a real PNG of the size asked for, capped', async () => {
    const blossom = await start()
    const draw = async (path: string) =>
      Buffer.from(await (await fetch(blossom.url + path)).arrayBuffer())
    const png = await draw('/image/a%20red%20rose?width=20&height=10&seed=3')
    expect(sizeOf(png)).toEqual({ width: 20, height: 10 })
    expect(await draw('/image/a%20red%20rose?width=20&height=10&seed=3')).toEqual(png)
    expect(await draw('/image/a%20blue%20rose?width=20&height=10&seed=3')).not.toEqual(png)
    expect(sizeOf(await draw('/image/x'))).toEqual({ width: 128, height: 128 })
    expect((await fetch(`${blossom.url}/image/x?width=none`)).status).toBe(400)
  })

  it('plays a real WAV, by path and by body', async () => {
    const blossom = await start()
    const byPath = await fetch(`${blossom.url}/audio/hello?voice=nova`)
    expect(byPath.headers.get('content-type')).toBe('audio/wav')
    const wav = Buffer.from(await byPath.arrayBuffer())
    expect(wav.subarray(0, 4).toString() + wav.subarray(8, 12).toString()).toBe('RIFFWAVE')
    expect(wav.readUInt32LE(4)).toBe(wav.length - 8)
    expect(wav.readUInt32LE(40)).toBe(wav.length - 44)
    const byBody = await post(blossom, '/v1/audio/speech', {
      input: 'hello',
      voice: 'nova',
      model: 'openai-audio',
    })
    expect(Buffer.from(await byBody.arrayBuffer())).toEqual(wav)
    expect((await post(blossom, '/v1/audio/speech', { voice: 'nova' })).status).toBe(400)
  })

  it('embeds up to 32 strings as unit vectors, as numbers or base64', async () => {
    const blossom = await start()
    const embed = (body: object) =>
      post(blossom, '/v1/embeddings', { model: 'text-embedding-3-small', ...body })
    const one = await bodyOf(embed({ input: 'one two' }))
    expect(one).toMatchObject({ object: 'list', usage: { prompt_tokens: 2, total_tokens: 2 } })
    expect(one.data[0].embedding).toHaveLength(8)
    expect(Math.hypot(...one.data[0].embedding)).toBeCloseTo(1)
    const many = await bodyOf(
      embed({ input: ['x', 'one two'], dimensions: 3, encoding_format: 'base64' }),
    )
    expect(many.data.map(({ index }: { index: number }) => index)).toEqual([0, 1])
    expect(Buffer.from(String(many.data[1]?.embedding), 'base64')).toHaveLength(12)
    expect((await embed({ input: Array.from({ length: 32 }, () => 'x') })).status).toBe(200)
    const bad = [Array.from({ length: 33 }, () => 'x'), [], '', ['x', ''], ['x', 1]]
    expect(await Promise.all(bad.map(async (input) => (await embed({ input })).status))).toEqual([
      400, 400, 400, 400, 400,
    ])
  })

  it('makes images through the OpenAI form, as base64 or links that work', async () => {
    const blossom = await start()
    const answer = await bodyOf(
      post(blossom, '/v1/images/generations', { prompt: 'a rose', size: '16x16', n: 2 }),
    )
    expect(answer.data).toHaveLength(2)
    expect(sizeOf(Buffer.from(answer.data[0].b64_json, 'base64'))).toEqual({
      width: 16,
      height: 16,
    })
    const links = await bodyOf(
      post(blossom, '/v1/images/generations', {
        prompt: 'a \ud800',
        size: '8x8',
        response_format: 'url',
      }),
    )
    expect(sizeOf(Buffer.from(await (await fetch(links.data[0].url)).arrayBuffer()))).toEqual({
      width: 8,
      height: 8,
    })
  })

  it('lists models, with and without detail, and the balance', async () => {
    const blossom = await start({ models: ['my-own'] })
    const get = (path: string) => bodyOf(fetch(blossom.url + path))
    const ids = (await get('/v1/models')).data.map(({ id }: { id: string }) => id)
    expect(ids).toEqual(
      expect.arrayContaining([
        'openai',
        'openai-fast',
        'mistral',
        'flux',
        'text-embedding-3-small',
        'my-own',
      ]),
    )
    for (const path of ['/models', '/text/models', '/image/models', '/audio/models']) {
      expect(Object.values(await get(path))[0]).toMatchObject({
        name: expect.any(String),
        aliases: expect.any(Array),
        pricing: expect.any(Object),
      })
    }
    expect(await get('/account/balance')).toEqual({ balance: 100 })
    expect((await chat(blossom, { model: 'my-own' })).status).toBe(200)
    expect(blossom.generations).toBe(1)
  })

  it('refuses unknown routes, methods and models with 404', async () => {
    const blossom = await start()
    const answers = [
      fetch(`${blossom.url}/nowhere`),
      fetch(`${blossom.url}/v1/chat/completions`),
      chat(blossom, { model: 'gpt-none' }),
    ]
    for (const answer of await Promise.all(answers)) {
      expect(answer.status).toBe(404)
      expect((await bodyOf(answer)).error).toMatchObject({
        code: 'NOT_FOUND',
        requestId: expect.any(String),
      })
    }
  })

  it.each([
    '/image/',
    '/image/.',
    '/image/..',
    '/image/%2e%2e',
    '/image/../x',
    '/text/%ED%A0%80',
    '/audio/%',
    '/text/?seed=1',
  ])('refuses the prompt of %s', async (target) => {
    expect(await raw(await start(), target)).toMatch(/^HTTP\/1\.1 400 /)
  })

  it.each(['/text/a/b', '/text/%20', '/text/%2e%2e%2e', '/text/http%3A%2F%2F127.0.0.1'])(
    'takes the prompt of %s',
    async (target) => {
      expect(await raw(await start(), target)).toMatch(/^HTTP\/1\.1 200 /)
    },
  )
})

describe('keys and limits', () => {
  it('lets any key or none pass unless keys are given, and never keeps one', async () => {
    const free = await start()
    expect((await chat(free, {}, { authorization: 'Bearer sk_anything' })).status).toBe(200)
    const blossom = await start({ keys: ['sk_secret'] })
    const statuses = [
      (await chat(blossom)).status,
      (await chat(blossom, {}, { authorization: 'Bearer sk_wrong' })).status,
      (await chat(blossom, {}, { authorization: 'Bearer sk_secret' })).status,
      (await fetch(`${blossom.url}/text/x?key=sk_secret&seed=1`)).status,
      (await fetch(`${blossom.url}/account/balance`)).status,
      (await fetch(`${blossom.url}/v1/models`)).status,
    ]
    expect(statuses).toEqual([401, 401, 200, 200, 401, 200])
    const digest = createHash('sha256').update('sk_secret').digest('hex')
    expect(blossom.requests.map(({ keySha256 }) => keySha256 === digest)).toEqual([
      false,
      false,
      true,
      true,
      false,
      false,
    ])
    expect(blossom.requests[3]?.query).toEqual({ seed: '1' })
    expect(JSON.stringify(blossom.requests)).not.toContain('sk_')
  })

  it('runs one generation at a time on a free account, to the end of a stream', async () => {
    const blossom = await start({ freeAccount: true, words: 5000 })
    blossom.faults.push({ stallAfterChunks: 1 })
    const leave = new AbortController()
    const first = await fetch(`${blossom.url}/text/a?stream=true`, { signal: leave.signal })
    await blossom.waitFor(() => blossom.requests[0]?.chunksSent === 2)
    const second = await chat(blossom)
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1'])
    expect(await second.json()).toEqual({
      error: 'concurrency_limit_exceeded',
      message: expect.any(String),
    })
    expect((await fetch(`${blossom.url}/models`)).status).toBe(200)
    leave.abort()
    await expect(first.text()).rejects.toThrow()
    await blossom.waitFor(({ active }) => active === 0)
    // One after the other, as fast as they come: the place is free as soon as an end can have been
    // seen.
    for (let seed = 0; seed < 30; seed++) {
      const answer = await chat(blossom, { seed, stream: seed % 2 === 0 })
      expect(answer.status).toBe(200)
      await answer.text()
    }
  })

  it('lets as many run as `concurrency` says, and cached answers beside them', async () => {
    const blossom = await start({ concurrency: 2 })
    const cached = await (await chat(blossom)).text()
    blossom.faults.push({ stallAfterChunks: 0, times: 2 })
    await Promise.all([chat(blossom, { stream: true }), chat(blossom, { stream: true })])
    expect((await chat(blossom, { seed: 1 })).status).toBe(429)
    expect(await (await chat(blossom)).text()).toBe(cached)
    expect(blossom.maxActive).toBe(3)
  })

  it('refuses what is beyond the rate, and says when to come again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const blossom = await start({ rate: { limit: 2, intervalMs: 1500 } })
    const status = async (seed: number) => (await chat(blossom, { seed })).status
    expect([await status(1), await status(2)]).toEqual([200, 200])
    const refused = await chat(blossom, { seed: 3 })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '2'])
    expect(await refused.json()).toMatchObject({
      error: 'Rate limit exceeded',
      retryAfterSeconds: 1.5,
    })
    vi.advanceTimersByTime(1500)
    expect(await status(3)).toBe(200)
  })
})

describe('identical requests', () => {
  it('join while in progress and are answered from the cache later, for one generation', async () => {
    const blossom = await start({ latencyMs: 20 })
    const answers = await Promise.all([chat(blossom), chat(blossom), chat(blossom)])
    const later = await chat(blossom)
    const hits = [...answers, later].map((answer) => answer.headers.get('x-cache')).sort()
    expect(hits).toEqual(['HIT', 'HIT', 'HIT', 'MISS'])
    expect(
      new Set(await Promise.all([...answers, later].map((answer) => answer.text()))).size,
    ).toBe(1)
    expect([blossom.generations, blossom.requests.length]).toEqual([1, 4])
    await chat(blossom, { seed: 1 })
    await (await chat(blossom, { stream: true })).text()
    await (await chat(blossom, { stream: true })).text()
    expect(blossom.generations).toBe(4)
    blossom.reset()
    expect((await chat(blossom)).headers.get('x-cache')).toBe('MISS')
    expect([blossom.generations, blossom.requests.length]).toEqual([1, 1])
  })

  it('go on when their client leaves, so that the same bytes sent again get the answer, and give the place back', async () => {
    const blossom = await start({ latencyMs: 40, freeAccount: true })
    const leave = new AbortController()
    const first = fetch(`${blossom.url}/text/a`, { signal: leave.signal })
    await blossom.waitFor(({ generations }) => generations === 1)
    leave.abort()
    await expect(first).rejects.toThrow()
    await blossom.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
    const [again, other] = await Promise.all([
      fetch(`${blossom.url}/text/a`),
      fetch(`${blossom.url}/text/b`),
    ])
    expect([again.headers.get('x-cache'), other.status, blossom.generations]).toEqual([
      'HIT',
      200,
      2,
    ])
  })

  it('are kept apart with `coalesce: false`, and after a fault', async () => {
    const apart = await start({ coalesce: false })
    expect((await chat(apart)).headers.get('x-cache')).toBe('MISS')
    expect((await chat(apart)).headers.get('x-cache')).toBe('MISS')
    const blossom = await start()
    blossom.faults.push({ splitBytes: 100 }, { status: 500 })
    await (await chat(blossom)).text()
    expect((await chat(blossom)).status).toBe(500)
    expect((await chat(blossom)).headers.get('x-cache')).toBe('MISS')
    blossom.fail(503)
    expect((await chat(blossom)).status).toBe(503)
  })
})

describe('pace', () => {
  it('runs on the global timers, latency and pauses by request', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const blossom = await start({
      latencyMs: ({ query }) => Number(query.seed),
      chunkDelayMs: 100,
      wordsPerChunk: 2,
      reply: () => 'a b c d',
    })
    const answer = fetch(`${blossom.url}/text/x?seed=5000&stream=true`)
    await blossom.waitFor(() => vi.getTimerCount() === 1 && blossom.generations === 1)
    expect(blossom.requests[0]?.status).toBeUndefined()
    await vi.advanceTimersByTimeAsync(5000)
    await blossom.waitFor(({ requests }) => requests[0]?.chunksSent === 1)
    await vi.advanceTimersByTimeAsync(99)
    expect(blossom.requests[0]?.chunksSent).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(blossom.requests[0]?.chunksSent).toBe(2)
    await vi.advanceTimersByTimeAsync(200)
    expect(textOf(chunksOf(await (await answer).text()))).toBe('a b c d')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('stops when the client leaves, whatever it was waiting for', async () => {
    const blossom = await start({ latencyMs: 60_000, coalesce: false })
    const leave = new AbortController()
    const gone = Promise.allSettled([
      chat(blossom),
      fetch(`${blossom.url}/text/x?stream=true`, { signal: leave.signal }),
    ])
    await blossom.waitFor(({ generations }) => generations === 2)
    leave.abort()
    await blossom.waitFor(({ requests }) =>
      requests.some(({ path, outcome }) => path === '/text/x' && outcome === 'aborted'),
    )
    expect(blossom.active).toBe(1)
    await blossom.close()
    await gone
    expect(blossom.requests.map(({ outcome, bytesSent }) => [outcome, bytesSent])).toEqual([
      ['aborted', 0],
      ['aborted', 0],
    ])
  })

  it('sends no faster than the client reads', async () => {
    const blossom = await start()
    blossom.faults.push({ bigBody: Infinity })
    const answer = await request(`${blossom.url}/text/x?stream=true`)
    const reader = answer.body[Symbol.asyncIterator]()
    await reader.next()
    let turns = 0
    let before = -1
    // Nobody reads: buffers fill, and then the count stands still for many turns of the event loop.
    while (turns++ < 50 || blossom.requests[0]?.bytesSent !== before) {
      if (turns % 50 === 0) before = blossom.requests[0]?.bytesSent ?? 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(before).toBeLessThan(32 * 1024 * 1024)
    answer.body.on('error', () => undefined).destroy()
    await blossom.waitFor(({ requests }) => requests[0]?.outcome === 'aborted')
  })
})

describe('the server itself', () => {
  it('keeps what was sent, byte for byte', async () => {
    const blossom = await start()
    const text = '{ "model":"openai", "messages":[{"role":"user","content":"ä"}] }'
    await post(blossom, '/v1/chat/completions?a=1&a=2', text)
    expect(blossom.requests[0]).toMatchObject({
      id: 1,
      method: 'POST',
      path: '/v1/chat/completions',
      query: { a: '2' },
      rawBody: text,
      cache: 'MISS',
    })
    expect(blossom.requests[0]?.body).toEqual(JSON.parse(text))
    expect(blossom.requests[0]?.endedAt).toBeGreaterThanOrEqual(blossom.requests[0]?.at ?? Infinity)
  })

  it('waits for what a predicate says, and tells when it was in vain', async () => {
    const blossom = await start()
    await blossom.waitFor(() => true)
    await expect(blossom.waitFor(() => false, 5)).rejects.toThrow(
      'not true after 5 ms (0 requests, 0 active)',
    )
    await expect(blossom.waitFor(() => JSON.parse('{'))).rejects.toThrow(SyntaxError)
    const never = expect(blossom.waitFor(() => false)).rejects.toThrow('closed')
    await blossom.close()
    await never
    await expect(blossom.waitFor(() => false)).rejects.toThrow('closed')
  })

  it('closes with requests in progress, twice, and frees port and timers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const blossom = await start({ latencyMs: 60_000 })
    const waiting = expect(chat(blossom)).rejects.toThrow()
    await blossom.waitFor(() => vi.getTimerCount() === 1 && blossom.generations === 1)
    await Promise.all([blossom.close(), blossom.close()])
    await waiting
    expect([blossom.active, vi.getTimerCount()]).toEqual([0, 0])
    {
      await using next = await startLocalBlossom({ port: blossom.port })
      expect(next.url).toBe(blossom.url)
    }
    await expect(fetch(blossom.url)).rejects.toThrow()
  })

  it('rejects when the port is taken', async () => {
    const { port } = await start()
    await expect(startLocalBlossom({ port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(String(port)),
    })
  })

  it.each<[string, unknown]>([
    ['port', { port: -1 }],
    ['port', { port: '80' }],
    ['host', { host: '' }],
    ['keys', { keys: ['sk_', 1] }],
    ['models', { models: 'openai' }],
    ['concurrency', { concurrency: 0 }],
    ['limit', { rate: { limit: Number.NaN, intervalMs: 1 } }],
    ['intervalMs', { rate: { limit: 1, intervalMs: 0 } }],
    ['latencyMs', { latencyMs: -1 }],
    ['latencyMs', { latencyMs: 2 ** 31 }],
    ['chunkDelayMs', { chunkDelayMs: Infinity }],
    ['wordsPerChunk', { wordsPerChunk: 0 }],
    ['words', { words: 1.5 }],
    ['reply', { reply: 'hello' }],
    ['coalesce', { coalesce: 1 }],
    ['latency', { latency: 1 }],
  ])('refuses a wrong `%s`: %j', async (name, options) => {
    const refused = startLocalBlossom(options as LocalBlossomOptions)
    await expect(refused).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(`option "${name}"`),
    })
  })

  it('answers 500 when a function of its options fails, and lives on', async () => {
    const blossom = await start({ latencyMs: () => Number.NaN })
    const answer = await chat(blossom)
    expect([answer.status, (await bodyOf(answer)).error.message]).toEqual([
      500,
      expect.stringContaining('latencyMs()'),
    ])
    expect((await fetch(`${blossom.url}/models`)).status).toBe(200)
  })
})

describe('the openai client', () => {
  it('chats, streams, embeds, lists, draws and speaks', async () => {
    const blossom = await start({ keys: ['sk_test'] })
    const client = new OpenAI({ apiKey: 'sk_test', baseURL: `${blossom.url}/v1`, maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'Tell me about tulips' }]
    const whole = await client.chat.completions.create({ model: 'openai', messages })
    let text = ''
    for await (const chunk of await client.chat.completions.create({
      model: 'openai',
      messages,
      stream: true,
    })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    const byDefault = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: 'tulip',
    })
    const floats = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: 'tulip',
      encoding_format: 'float',
    })
    expect(byDefault.data[0]?.embedding).toHaveLength(8)
    expect(byDefault.data[0]?.embedding[0]).toBeCloseTo(floats.data[0]?.embedding[0] ?? Number.NaN)
    const ids: string[] = []
    for await (const { id } of client.models.list()) ids.push(id)
    expect(ids).toContain('openai')
    const images = await client.images.generate({ model: 'flux', prompt: 'a tulip' })
    expect(sizeOf(Buffer.from(images.data?.[0]?.b64_json ?? '', 'base64'))).toEqual({
      width: 128,
      height: 128,
    })
    const speech = await client.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'hello',
    })
    expect(
      Buffer.from(await speech.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('RIFF')
    blossom.faults.push({ status: 429, body: 'openai', retryAfter: 3 })
    await expect(
      client.chat.completions.create({ model: 'openai', messages }),
    ).rejects.toBeInstanceOf(OpenAI.RateLimitError)
  })
})

/** Checks a PNG's frame, checksums and pixels, and gives its size. */
function sizeOf(png: Buffer): { width: number; height: number } {
  expect(png.subarray(1, 4).toString()).toBe('PNG')
  const names: string[] = []
  let pixels = Buffer.alloc(0)
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const section = png.subarray(at + 4, at + 8 + length)
    expect(crc32(section)).toBe(png.readUInt32BE(at + 8 + length))
    names.push(section.subarray(0, 4).toString())
    if (names.at(-1) === 'IDAT') pixels = inflateSync(section.subarray(4))
    at += 12 + length
  }
  expect(names).toEqual(['IHDR', 'IDAT', 'IEND'])
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  expect(pixels).toHaveLength(height * (1 + width * 3))
  return { width, height }
}

/** What a text's UTF-8 bytes exceed its length by. */
function extra(text: string): number {
  return Buffer.byteLength(text) - text.length
}
