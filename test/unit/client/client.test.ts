import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Agent } from 'undici'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  batcher,
  breaker,
  ClosedError,
  ConfigError,
  cache,
  createBlossom,
  dedupe,
  NetworkError,
  pool,
  queue,
  retry,
  standard,
  TimeoutError,
  timeout,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { httpServer } from '../../support/bare-server.js'
import { everythingOf, KEY } from '../../support/secrets.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure, watch } from '../../support/watch.js'
import { completion } from '../../support/wire.js'

const quick = { minDelayMs: 0, maxDelayMs: 0, budget: false } as const
const messages = [{ role: 'user', content: 'Hello' }]

async function textOf(stream: AsyncIterable<{ text: string }>): Promise<string> {
  let text = ''
  for await (const piece of stream) text += piece.text
  return text
}

describe('createBlossom', () => {
  let upstream: LocalBlossom
  beforeEach(async () => {
    upstream = await startLocalBlossom({ keys: [KEY] })
  })
  afterEach(() => upstream.close())
  const client = () => createBlossom({ baseURL: upstream.url, apiKey: KEY })

  describe('text.generate', () => {
    it('gives text, model, usage, finish reason, request id and how it was had', async () => {
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
      expect(upstream.requests.map(({ rawBody }) => rawBody)).toEqual([body, body])
    })

    it('sends nothing that was not asked for', async () => {
      await client().text.generate('Hello')
      expect(upstream.requests[0]?.rawBody).toBe(
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

    it('gives no usage where upstream gives none, and counts what is missing', async () => {
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

    it('leaves its notes in a map of the caller', async () => {
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
      expect(upstream.requests[0]?.rawBody).toBe(
        '{"model":"openai","messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}',
      )
    })

    it('answers several waiting next() in their order, one piece each', async () => {
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
      await upstream.waitFor(({ active }) => active === 0)
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
      expect(upstream.requests[0]?.rawBody).toBe(JSON.stringify(body))
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
      expect(upstream.requests[0]?.body).toEqual({
        messages,
        stream: true,
        stream_options: { include_usage: true },
      })
    })

    it('is known by the messages it began with, whatever the caller does to the list while it waits', async () => {
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

  describe('image, audio, embeddings, models and account', () => {
    it('image.generate gives bytes and their type', async () => {
      const { bytes, contentType } = await client().image.generate('a cat', {
        width: 32,
        height: 16,
        seed: 5,
        negativePrompt: 'dogs',
      })
      expect(contentType).toBe('image/png')
      expect(bytes).toBeInstanceOf(Uint8Array)
      expect([...bytes.subarray(1, 4)]).toEqual([0x50, 0x4e, 0x47])
      const [request] = upstream.requests
      expect(request).toMatchObject({ method: 'GET', path: '/image/a%20cat', rawBody: '' })
      expect(request?.query).toEqual({
        model: 'flux',
        width: '32',
        height: '16',
        seed: '5',
        negative_prompt: 'dogs',
      })
      expect(request?.headers).not.toHaveProperty('content-type')
    })

    it('image.url is what image.generate asks for', async () => {
      const blossom = client()
      await blossom.image.generate('a cat', { seed: 5, nologo: true })
      const { pathname, search } = new URL(blossom.image.url('a cat', { nologo: true, seed: 5 }))
      expect(pathname).toBe(upstream.requests[0]?.path)
      expect(Object.fromEntries(new URLSearchParams(search))).toEqual(upstream.requests[0]?.query)
    })

    it('audio.speech gives bytes and their type', async () => {
      const { bytes, contentType } = await client().audio.speech('Hello', {
        voice: 'nova',
        responseFormat: 'wav',
      })
      expect(contentType).toBe('audio/wav')
      expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe('RIFF')
      expect(upstream.requests[0]?.rawBody).toBe(
        '{"input":"Hello","voice":"nova","response_format":"wav"}',
      )
    })

    it('embeddings.create gives one vector for each input, in order', async () => {
      const blossom = client()
      const { embeddings, model, usage } = await blossom.embeddings.create(['a', 'b c'], {
        dimensions: 4,
      })
      const { embeddings: alone } = await blossom.embeddings.create('b c', { dimensions: 4 })
      expect(embeddings).toHaveLength(2)
      expect(embeddings[1]).toEqual(alone[0])
      expect({ model: typeof model, usage }).toEqual({
        model: 'string',
        usage: { promptTokens: 3, completionTokens: 0, totalTokens: 3 },
      })
      expect(upstream.requests.map(({ rawBody }) => rawBody)).toEqual([
        '{"input":["a","b c"],"dimensions":4,"encoding_format":"float"}',
        '{"input":"b c","dimensions":4,"encoding_format":"float"}',
      ])
    })

    it('embeddings.create goes by the index upstream gives', async () => {
      const data = [
        { index: 1, embedding: [2] },
        { index: 0, embedding: [1] },
      ]
      await using server = await httpServer((_request, response) =>
        response.end(JSON.stringify({ data })),
      )
      await expect(
        createBlossom({ baseURL: server.url }).embeddings.create(['a', 'b']),
      ).resolves.toEqual({
        embeddings: [[1], [2]],
        model: '',
        usage: undefined,
        headers: {},
      })
    })

    it('models.list needs no key', async () => {
      const models = await createBlossom({ baseURL: upstream.url }).models.list()
      expect(models.map(({ id }) => id)).toContain('openai')
      expect(upstream.requests[0]).toMatchObject({ method: 'GET', path: '/v1/models' })
    })

    it('account.balance gives the balance alone', async () => {
      await expect(client().account.balance()).resolves.toEqual({ balance: 100 })
    })
  })

  describe('request', () => {
    it('gives JSON parsed', async () => {
      await expect(client().request({ path: '/account/balance' })).resolves.toEqual({
        balance: 100,
      })
      const made = await client().request<{ data: unknown[] }>({
        path: '/v1/images/generations',
        body: { prompt: 'x', response_format: 'url' },
      })
      expect(made.data).toHaveLength(1)
      expect(upstream.requests.map(({ method }) => method)).toEqual(['GET', 'POST'])
    })

    it('gives other answers as bytes with their type', async () => {
      const { bytes, contentType } = await client().request<{
        bytes: Uint8Array
        contentType: string
      }>({ path: '/text/Hello?seed=1' })
      expect(Buffer.from(bytes).toString()).toContain('Hello')
      expect(contentType).toBe('text/plain; charset=utf-8')
    })

    it('gives an answer of nothing as no bytes', async () => {
      await using server = await httpServer((_request, response) => response.writeHead(204).end())
      const answer = await createBlossom({ baseURL: server.url }).request({
        method: 'DELETE',
        path: '/x',
      })
      expect(answer).toEqual({
        bytes: expect.objectContaining({ byteLength: 0 }),
        contentType: 'application/octet-stream',
      })
    })

    it('gives a stream where the body asks for one', async () => {
      const body = { messages, stream: true }
      const stream = await client().request<
        AsyncGenerator<{ choices: { delta: { content?: string } }[] }>
      >({
        path: '/v1/chat/completions',
        body,
      })
      let text = ''
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
      expect(text).toBe((await client().text.generate('Hello')).text)
    })

    it('streams the events of other paths, whatever is in them', async () => {
      await using server = await httpServer((_request, response) =>
        response
          .writeHead(200, { 'content-type': 'text/event-stream' })
          .end('data: {"a":1}\n\ndata: [2]\n\ndata: "three"\n\n'),
      )
      const stream = await createBlossom({ baseURL: server.url }).request<AsyncGenerator>({
        path: '/events',
        body: { stream: true },
      })
      const events = []
      for await (const event of stream) events.push(event)
      expect(events).toEqual([{ a: 1 }, [2], 'three'])
    })

    it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const)('sends %s', async (method) => {
      await using server = await httpServer((_request, response) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
      )
      await createBlossom({ baseURL: server.url }).request({
        method,
        path: '/x?y=1',
        body: { a: 1 },
      })
      expect(server.requests[0]).toMatchObject({ method, path: '/x?y=1', body: '{"a":1}' })
    })

    it('goes through the same stack', async () => {
      upstream.fail(503, 2)
      const blossom = client().use(retry(quick))
      await expect(blossom.request({ path: '/account/balance' })).resolves.toEqual({ balance: 100 })
      expect(blossom.stats().retry.retries).toBe(2)
    })
  })

  describe('use', () => {
    it('puts later layers further out and keeps the names in the order of adding', () => {
      const blossom = client()
        .use(retry(), timeout({ ms: 5_000 }))
        .use(cache(), timeout({ ms: 9_000 }))
      expect(blossom.describe().map(({ name }) => name)).toEqual([
        'cache',
        'timeout2',
        'retry',
        'timeout',
      ])
      expect(Object.keys(blossom.stats())).toEqual(['cache', 'timeout2', 'retry', 'timeout'])
    })

    it('is the same as the option `layers`', () => {
      const blossom = createBlossom({ layers: [retry(), queue()] })
      expect(blossom.describe().map(({ name }) => name)).toEqual(['retry', 'queue'])
      expect(blossom.stats().queue.concurrency).toBe(5)
    })

    it.each(['a call', 'stats()', 'describe()', 'close()'])(
      'throws CONFIG after %s',
      async (what) => {
        const blossom = client()
        if (what === 'a call') await blossom.models.list()
        if (what === 'stats()') blossom.stats()
        if (what === 'describe()') blossom.describe()
        if (what === 'close()') await blossom.close()
        expect(() => blossom.use(retry())).toThrow(ConfigError)
      },
    )

    it('is still open after a call that was refused before it began', async () => {
      const blossom = client()
      await failure(blossom.text.generate(''))
      expect(() => blossom.use(retry())).not.toThrow()
    })

    it('refuses what is no layer, and says what a list of them needs', () => {
      for (const wrong of [undefined, 'retry', {}, standard()]) {
        expect(() => createBlossom().use(wrong as never)).toThrow(
          expect.objectContaining({
            code: 'CONFIG',
            message: expect.stringContaining('use(...standard())'),
          }),
        )
      }
    })
  })

  describe('close', () => {
    it('gives the same promise twice, and calls end with CLOSED', async () => {
      const blossom = client()
      await blossom.text.generate('Hello')
      const closing = blossom.close()
      expect(blossom.close()).toBe(closing)
      await closing
      const error = await failure(blossom.text.generate('Hello'))
      expect(error).toBeInstanceOf(ClosedError)
      expect(error).toMatchObject({ code: 'CLOSED', refused: true })
      expect(await failure(blossom.text.stream('Hello'))).toBeInstanceOf(ClosedError)
      expect(upstream.requests).toHaveLength(1)
    })

    it('lets a running call finish', async () => {
      const blossom = client()
      upstream.fault({ delayMs: 40, path: '/v1/chat' })
      const running = blossom.text.generate('Hello')
      await upstream.waitFor(({ requests }) => requests.length === 1)
      const closing = watch(blossom.close())
      await expect(running).resolves.toMatchObject({ attempts: 1 })
      await blossom.close()
      expect(closing.state).toBe('resolved')
    })

    it('cuts what is left at its time-out, streams included', async () => {
      const blossom = client()
      upstream.faults.push({ stallAfterChunks: 1 }, { hang: true })
      const stream = await blossom.text.stream('Hello')
      const hanging = watch(blossom.text.generate('Hello'))
      await upstream.waitFor(({ active }) => active === 2)
      await blossom.close({ timeoutMs: 10 })
      expect(hanging.error).toMatchObject({ code: 'CLOSED', refused: false })
      await expect(textOf(stream)).rejects.toMatchObject({ code: 'CLOSED' })
      await upstream.waitFor(({ active }) => active === 0)
    })

    it('rejects wrong options and stays open', async () => {
      const blossom = client()
      for (const timeoutMs of [-1, Number.NaN, '5' as never]) {
        expect(await failure(blossom.close({ timeoutMs }))).toBeInstanceOf(ConfigError)
      }
      await expect(blossom.models.list()).resolves.toBeInstanceOf(Array)
    })

    it('is what `await using` does', async () => {
      let kept: ReturnType<typeof client>
      {
        await using blossom = client()
        kept = blossom
        await blossom.models.list()
      }
      expect(await failure(kept.models.list())).toBeInstanceOf(ClosedError)
    })

    it('leaves a dispatcher of the caller open', async () => {
      const dispatcher = new Agent()
      const first = createBlossom({ baseURL: upstream.url, apiKey: KEY, dispatcher })
      await first.models.list()
      await first.close()
      await expect(
        createBlossom({ baseURL: upstream.url, dispatcher }).models.list(),
      ).resolves.toBeInstanceOf(Array)
      expect([dispatcher.closed, dispatcher.destroyed]).toEqual([false, false])
      await dispatcher.close()
    })

    it('lets the process end by itself', async () => {
      const script = `
        import { createBlossom, standard } from './src/index.ts'
        const blossom = createBlossom({ baseURL: '${upstream.url}', apiKey: '${KEY}' }).use(...standard())
        await blossom.text.generate('Hello')
        for await (const piece of await blossom.text.stream('Hello')) break
        const stream = await blossom.text.stream('Hello again')
        await blossom.close({ timeoutMs: 20 })
        console.log('closed', process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP') || kind === 'Timeout').length)
      `
      const began = performance.now()
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        ['--import', 'tsx', '--input-type=module', '-e', script],
        {
          timeout: 20_000,
        },
      )
      expect({ stdout: stdout.trim(), stderr: stderr.trim() }).toEqual({
        stdout: 'closed 0',
        stderr: '',
      })
      expect(performance.now() - began).toBeLessThan(15_000)
    }, 30_000)
  })
})

describe('a client with layers', () => {
  let upstream: LocalBlossom
  const start = async (options: Parameters<typeof startLocalBlossom>[0] = {}) => {
    upstream = await startLocalBlossom({ coalesce: false, ...options })
    return createBlossom({ baseURL: upstream.url, apiKey: KEY })
  }
  afterEach(() => upstream.close())

  const all = () =>
    [
      cache({ ttlMs: 30 * 60_000 }),
      dedupe(),
      timeout({ ms: 60_000 }),
      retry({ retries: 2, ...quick }),
      breaker(),
      queue({ concurrency: 5, maxWaiting: 100 }),
      pool({ connections: 10 }),
    ] as const

  it('answers, streams, tells its stats and closes with all of them', async () => {
    const blossom = (await start()).use(...all())
    const { text, model, usage, cached } = await blossom.text.generate('Hello', { maxTokens: 100 })
    expect({ model, cached, total: usage?.totalTokens }).toEqual({
      model: 'openai',
      cached: false,
      total: expect.any(Number),
    })
    expect(await textOf(await blossom.text.stream('Hello', { maxTokens: 100 }))).toBe(text)
    expect(blossom.stats().queue.waiting).toBe(0)
    await blossom.close()
  })

  it('answers the second identical call from its cache', async () => {
    const blossom = (await start()).use(...all())
    const first = await blossom.text.generate('Hello')
    const second = await blossom.text.generate('Hello')
    expect(second).toEqual({ ...first, cached: true, attempts: 0, headers: {} })
    expect(upstream.requests).toHaveLength(1)
    expect(blossom.stats().cache).toMatchObject({ hits: 1, misses: 1, entries: 1 })
  })

  it('answers a plain call from a stream that was stored, and a stream from a plain answer', async () => {
    const blossom = (await start()).use(...all())
    const stream = await blossom.text.stream('Hello')
    const text = await textOf(stream)
    await expect(blossom.text.generate('Hello')).resolves.toMatchObject({
      text,
      cached: true,
      usage: stream.usage,
    })
    const whole = await blossom.text.generate('Hello again')
    const replayed = await blossom.text.stream('Hello again')
    expect(await textOf(replayed)).toBe(whole.text)
    expect(replayed).toMatchObject({ usage: whole.usage, finishReason: whole.finishReason })
    expect(upstream.requests).toHaveLength(2)
  })

  it('asks again for another key and another address', async () => {
    const shared = cache()
    const blossom = (await start()).use(shared)
    await blossom.text.generate('Hello')
    await createBlossom({ baseURL: upstream.url, apiKey: 'sk_another' })
      .use(shared)
      .text.generate('Hello')
    await createBlossom({
      baseURL: `${upstream.url.replace('127.0.0.1', 'localhost')}`,
      apiKey: KEY,
    })
      .use(shared)
      .text.generate('Hello')
      .catch(() => {})
    expect(shared.stats()).toMatchObject({ hits: 0, misses: 3 })
  })

  it('lets another key pay for one call, and keeps its answers apart', async () => {
    const blossom = (await start({ keys: [KEY, 'sk_caller1'] })).use(...all())
    const mine = await blossom.text.generate('Hello')
    const theirs = await blossom.text.generate('Hello', { apiKey: 'sk_caller1' })
    expect([mine.cached, theirs.cached]).toEqual([false, false])
    expect(new Set(upstream.requests.map(({ keySha256 }) => keySha256)).size).toBe(2)
    await expect(blossom.text.generate('Hello', { apiKey: 'sk_caller1' })).resolves.toMatchObject({
      cached: true,
    })
    const error = await failure(blossom.chat.create({ messages }, { apiKey: 'sk_caller2' }))
    expect(error).toMatchObject({ code: 'AUTH' })
    expect(everythingOf(error)).not.toContain('sk_caller2')
  })

  it('gives its slot back and stops upstream when a stream is left half-way', async () => {
    const blossom = (await start({ chunkDelayMs: 5, words: 200 })).use(...all())
    for await (const { text } of await blossom.text.stream('Tell me a story')) {
      expect(text).not.toBe('')
      expect(blossom.stats().queue.running).toBe(1)
      break
    }
    await upstream.waitFor(({ active }) => active === 0)
    expect(upstream.requests[0]).toMatchObject({ outcome: 'aborted' })
    expect(blossom.stats().queue).toMatchObject({ running: 0, waiting: 0 })
    expect(blossom.stats().pool.active).toBe(0)
    expect(blossom.stats().cache.entries).toBe(0)
  })

  it('makes one success of 503, 503 and an answer, by three identical requests', async () => {
    const blossom = (await start()).use(...all())
    upstream.fail(503, 2)
    await expect(
      blossom.text.generate('Hello', { seed: 3, temperature: 0.2 }),
    ).resolves.toMatchObject({ attempts: 3, cached: false })
    expect(upstream.requests).toHaveLength(3)
    const [first, ...rest] = upstream.requests.map(({ method, path, rawBody, headers }) => ({
      method,
      path,
      rawBody,
      headers,
    }))
    for (const request of rest) expect(request).toEqual(first)
  })

  it('opens its breaker in an outage, after the least number of calls, and recovers by itself', async () => {
    const changes: string[] = []
    const layer = breaker({
      minimumCalls: 4,
      resetMs: 60,
      onStateChange: (state) => changes.push(state),
    })
    const blossom = (await start()).use(layer)
    upstream.fail(503, 4)
    for (let i = 0; i < 4; i++)
      expect(await failure(blossom.text.generate(`${i}`))).toMatchObject({ code: 'SERVER' })
    const refused = await failure(blossom.text.generate('refused'))
    expect(refused).toMatchObject({ code: 'BREAKER_OPEN', refused: true, status: 503 })
    expect(upstream.requests).toHaveLength(4)
    await new Promise((resolve) => setTimeout(resolve, 70))
    await expect(blossom.text.generate('again')).resolves.toMatchObject({ attempts: 1 })
    expect(blossom.stats().breaker).toMatchObject({ state: 'closed', opened: 1, rejected: 1 })
    expect(changes).toEqual(['open', 'half-open', 'closed'])
  })

  it('makes one request of 50 identical calls at once', async () => {
    const blossom = (await start({ latencyMs: 20 })).use(...all())
    const results = await Promise.all(
      Array.from({ length: 50 }, () => blossom.text.generate('Hello')),
    )
    expect(new Set(results.map(({ text }) => text)).size).toBe(1)
    expect(upstream.requests).toHaveLength(1)
    expect(blossom.stats().dedupe.joined).toBe(49)
  })

  it('gives the whole text to one who joins a stream late', async () => {
    const blossom = (await start({ chunkDelayMs: 3, words: 30 })).use(...all())
    const early = await blossom.text.stream('Tell me a story')
    let text = ''
    for (let i = 0; i < 8; i++) text += (await early.next()).value?.text ?? ''
    const late = textOf(await blossom.text.stream('Tell me a story'))
    text += await textOf(early)
    expect(await late).toBe(text)
    expect(upstream.requests).toHaveLength(1)
  })

  it('makes few requests of 100 single embeddings at once, each with its own answer', async () => {
    const blossom = (await start()).use(batcher())
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => blossom.embeddings.create(`text ${i}`)),
    )
    expect(upstream.requests.length).toBeLessThanOrEqual(4)
    const { embeddings } = await createBlossom({ baseURL: upstream.url }).embeddings.create([
      'text 0',
      'text 42',
      'text 99',
    ])
    expect([results[0], results[42], results[99]].map((result) => result?.embeddings[0])).toEqual(
      embeddings,
    )
    expect(results.every(({ embeddings: { length } }) => length === 1)).toBe(true)
  })

  it('batches the inputs that were given, whatever the caller does to the list afterwards', async () => {
    const blossom = (await start()).use(batcher({ maxDelayMs: 5 }))
    const list = ['one', 'two']
    const work = blossom.embeddings.create(list)
    list.length = 0
    await expect(work).resolves.toMatchObject({
      embeddings: [expect.any(Array), expect.any(Array)],
    })
    expect(upstream.requests[0]?.body).toMatchObject({ input: ['one', 'two'] })
  })

  it('works with the standard layers in their order', async () => {
    const blossom = (await start()).use(...standard())
    expect(blossom.describe().map(({ name, note }) => [name, note])).toEqual(
      ['cache', 'dedupe', 'timeout', 'retry', 'breaker', 'queue', 'attempt', 'pool'].map((name) => [
        name,
        undefined,
      ]),
    )
    await expect(blossom.text.generate('Hello')).resolves.toMatchObject({ cached: false })
    await expect(blossom.image.generate('a cat')).resolves.toMatchObject({
      contentType: 'image/png',
    })
    expect(JSON.parse(JSON.stringify(blossom.stats()))).toEqual(blossom.stats())
    await blossom.close()
  })

  it('keeps the time limit of a call, and the server sees it end', async () => {
    const blossom = (await start({ latencyMs: 5_000 })).use(...all())
    const before = performance.now()
    const error = await failure(blossom.text.generate('Hello', { timeoutMs: 50 }))
    expect(error).toBeInstanceOf(TimeoutError)
    expect(performance.now() - before).toBeLessThan(400)
    await upstream.waitFor(({ active }) => active === 0)
    expect(upstream.requests).toHaveLength(1)
  })

  it('passes the reason of the caller through, and the server sees the call end', async () => {
    const blossom = (await start({ latencyMs: 5_000 })).use(...all())
    const controller = new AbortController()
    const work = blossom.text.generate('Hello', { signal: controller.signal })
    await upstream.waitFor(({ active }) => active === 1)
    const reason = { odd: 'reason' }
    controller.abort(reason)
    expect(await failure(work)).toBe(reason)
    await upstream.waitFor(({ active }) => active === 0)
    expect(blossom.stats().breaker).toMatchObject({ successes: 0, failures: 0 })
  })

  it('sends to the members of a pool with their own keys and addresses', async () => {
    await using other = await startLocalBlossom({ keys: ['sk_member'] })
    const blossom = (await start()).use(
      pool({ members: [{ apiKey: 'sk_member', baseURL: other.url }] }),
    )
    await blossom.text.generate('Hello')
    expect([upstream.requests.length, other.requests.length]).toEqual([0, 1])
    upstream.fail(503)
    expect(
      await failure(createBlossom({ baseURL: `${upstream.url}` }).text.generate('Hello')),
    ).not.toBeInstanceOf(NetworkError)
    await blossom.close()
  })
})
