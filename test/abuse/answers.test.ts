import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { collect, createBlossom, isStackError, StackError } from '../../src/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { OddStore } from '../support/store.js'
import { catchWarnings } from '../support/warnings.js'
import { failure, turn } from '../support/watch.js'
import { chatEvents, chunk, completion, DONE, event } from '../support/wire.js'
import { cut, type Script, scriptedDispatcher } from './dispatcher.js'

beforeEach(() => void catchWarnings())
afterEach(() => {
  vi.restoreAllMocks()
  for (const one of [{}, [], () => {}, ''] as { polluted?: unknown }[])
    expect(one.polluted).toBeUndefined()
})

const JSON_HEAD = { 'content-type': 'application/json' }
const SSE_HEAD = { 'content-type': 'text/event-stream' }
const MiB = 2 ** 20

const clientOf = (script: Script, maxResponseBytes?: number) => {
  const dispatcher = scriptedDispatcher(() => script)
  return {
    dispatcher,
    blossom: createBlossom({ baseURL: 'http://blossom.invalid', dispatcher, maxResponseBytes }),
  }
}
/** The bytes in pieces as sockets give them. */
const pieces = (text: string): Uint8Array[] => {
  const bytes = Buffer.from(text)
  return cut(
    bytes,
    Array.from({ length: Math.floor(bytes.length / 65_536) }, (_, i) => (i + 1) * 65_536),
  )
}
const json = (text: string): Script => ({ headers: JSON_HEAD, pieces: pieces(text) })
const sse = (text: string): Script => ({ headers: SSE_HEAD, pieces: pieces(text) })
/** A whole stack. */
const around = () =>
  [
    cache(),
    dedupe(),
    timeout({ ms: 60_000, idleMs: 30_000 }),
    retry(),
    breaker(),
    queue(),
    pool(),
  ] as const
const ask = { messages: [{ role: 'user' as const, content: 'x' }] }
const deep = (levels: number, core = '1') =>
  `${'{"a":['.repeat(levels)}${core}${']}'.repeat(levels)}`

describe('size bombs', () => {
  it.each<[string, Script]>([
    ['spaces', json(' '.repeat(3 * MiB))],
    ['one text', json(JSON.stringify(completion('x'.repeat(3 * MiB))))],
    ['base64', json(JSON.stringify({ data: [{ b64_json: 'A'.repeat(3 * MiB) }] }))],
    ['brackets', json('['.repeat(3 * MiB))],
    ['an endless event', sse(`data: ${'x'.repeat(3 * MiB)}`)],
    ['endless events', sse('data: \n'.repeat(400_000))],
    ['an endless comment', sse(`:${' '.repeat(3 * MiB)}`)],
    ['an image in one event', sse(event(chunk({ content: 'A'.repeat(3 * MiB) })))],
  ])('of %s are cut at the limit', async (_, script) => {
    const { blossom, dispatcher } = clientOf(script, MiB)
    const call =
      script.headers === SSE_HEAD
        ? blossom.text.stream('x').then(collect)
        : blossom.text.generate('x')
    expect(isStackError(await failure(call), 'TOO_LARGE')).toBe(true)
    expect(dispatcher.exchanges[0]?.aborted).toBe(true)
  })

  it('do not include an image of megabytes within the limit, which arrives unchanged', async () => {
    const image = `data:image/png;base64,${'A'.repeat(2 * MiB)}`
    const streamed = clientOf(
      sse(event(chunk({ content: image })) + event(chunk({}, 'stop')) + DONE),
    ).blossom
    expect(await collect(await streamed.text.stream('x'))).toEqual([{ text: image }])
    const whole = clientOf(json(JSON.stringify({ data: [{ b64_json: image }] }))).blossom
    const answer = await whole.request<{ data: { b64_json: string }[] }>({
      path: '/v1/images/generations',
      body: { prompt: 'x' },
    })
    expect(answer.data[0]?.b64_json).toHaveLength(image.length)
  })
})

describe('nesting of a hundred thousand levels', () => {
  const LEVELS = 100_000
  it('in an answer goes through a whole stack, is cached or not, and is no crash', async () => {
    const text = JSON.stringify(completion('Hello', { deep: 'PLACE' }))
    const dispatcher = scriptedDispatcher(() => json(text.replace('"PLACE"', deep(LEVELS))))
    const blossom = createBlossom({
      baseURL: 'http://blossom.invalid',
      dispatcher,
      maxResponseBytes: 8 * MiB,
    }).use(...around())
    for (let i = 0; i < 2; i++)
      expect(await blossom.text.generate('x')).toMatchObject({ text: 'Hello' })
    expect((await blossom.chat.create(ask)).choices[0]?.message).toHaveProperty('deep.a')
    const stored = createBlossom({ baseURL: 'http://blossom.invalid', dispatcher }).use(
      cache({ store: new OddStore() }),
      dedupe(),
    )
    for (let i = 0; i < 2; i++)
      expect(await stored.text.generate('x')).toMatchObject({ text: 'Hello' })
    await blossom.close()
    await stored.close()
  })

  it('in chunks goes through a whole stack as a stream and as a plain answer made of it', async () => {
    const text =
      event(chunk({ content: 'Hello' })) +
      event(chunk({ audio: 'PLACE' })) +
      event(chunk({}, 'stop', { usage: { total_tokens: 1 } })) +
      DONE
    const dispatcher = scriptedDispatcher(() => sse(text.replace('"PLACE"', deep(LEVELS))))
    const blossom = createBlossom({ baseURL: 'http://blossom.invalid', dispatcher }).use(
      ...around(),
    )
    expect(await collect(await blossom.text.stream('x'))).toEqual([{ text: 'Hello' }])
    expect(await blossom.text.generate('x')).toMatchObject({ text: 'Hello' })
    await blossom.close()
  })

  it.each<[string, Script]>([
    ['beside a field named __proto__', json(`{"__proto__":1,"a":${deep(LEVELS)}}`)],
    ['that never closes', json('{"choices":'.repeat(LEVELS))],
    [
      'of an error',
      { status: 500, headers: JSON_HEAD, pieces: pieces(`{"error":${deep(5_000)}}`) },
    ],
    ['of an error inside an answer', json(`{"error":${deep(LEVELS)}}`)],
    ['of an error inside a stream', sse(`data: {"error":${deep(LEVELS)}}\n\n`)],
  ])('%s is an ordinary error', async (_, script) => {
    const { blossom } = clientOf(script)
    const error = await failure(
      script.headers === SSE_HEAD
        ? blossom.text.stream('x').then(collect)
        : blossom.text.generate('x'),
    )
    expect(error).toBeInstanceOf(StackError)
    expect(['PROTOCOL', 'SERVER', 'STREAM']).toContain((error as StackError).code)
  })

  it('in a request is refused, or sent without a key, but no crash', async () => {
    const { blossom, dispatcher } = clientOf(json(JSON.stringify(completion())))
    const cached = blossom.use(cache(), dedupe())
    let inner: object = {}
    for (let i = 0; i < LEVELS; i++) inner = { inner }
    // Newer versions of Node write JSON of any depth.
    const deepest = await cached.chat
      .create({ ...ask, metadata: inner } as never)
      .catch((error: unknown) => error)
    const wasSent = !isStackError(deepest, 'VALIDATION')
    if (wasSent) expect(deepest).toHaveProperty('choices')
    let shallow: object = {}
    for (let i = 0; i < 200; i++) shallow = { shallow }
    expect((await cached.chat.create({ ...ask, metadata: shallow } as never)).choices).toHaveLength(
      1,
    )
    const unkeyed = wasSent ? 2 : 1
    expect(cached.stats()).toMatchObject({ cache: { unkeyed }, dedupe: { unkeyed } })
    expect(dispatcher.exchanges).toHaveLength(unkeyed)
  })
})

/** Fields that would change what all objects inherit, if somebody copied them without care. */
const EVIL =
  '"__proto__":{"polluted":1},"\\u005f_proto__":{"polluted":2},"\\u005F\\u005Fproto\\u005f\\u005f":{"polluted":3},"constructor":{"prototype":{"polluted":4}}'
const evil = (value: unknown): string => JSON.stringify(value).replaceAll('"evil":1', EVIL)

/** No object in it has a field `__proto__` or another prototype than its like. */
function expectClean(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return
  expect(Object.hasOwn(value, '__proto__')).toBe(false)
  expect([Object.prototype, Array.prototype]).toContain(Object.getPrototypeOf(value))
  for (const field of Object.values(value)) expectClean(field)
}

describe('prototype pollution', () => {
  it('cannot enter through an answer or through either kind of cache', async () => {
    const text = evil(
      completion(
        'ok',
        { evil: 1, tool_calls: [{ evil: 1, id: 'a', function: { evil: 1, name: 'f' } }] },
        { evil: 1 },
      ),
    )
    for (const store of [undefined, new OddStore()]) {
      const { blossom, dispatcher } = clientOf(json(text))
      const cached = blossom.use(cache({ store }), dedupe())
      for (let i = 0; i < 2; i++) {
        expectClean(await cached.chat.create(ask))
        await turn()
      }
      expectClean(
        await collect(
          await cached.chat.stream({ ...ask, stream_options: { include_usage: true } }),
        ),
      )
      expect(dispatcher.exchanges).toHaveLength(1)
    }
  })

  it('cannot enter through chunks or the plain answer made from them', async () => {
    const index = '__proto__' as never
    const call = {
      evil: 1,
      index,
      id: 'a',
      function: { evil: 1, name: '__proto__', arguments: '{"__proto__":1}' },
    }
    const chunks = [
      chunk(
        {
          content: 'ok',
          tool_calls: [
            call,
            { ...call, index: -1 },
            { ...call, index: 1e9 },
            { ...call, index: 0.5 },
          ],
        },
        null,
        { evil: 1 },
      ),
      {
        ...chunk({}),
        choices: [
          { index, delta: { evil: 1, content: 'x', audio: { evil: 1, data: 'a' } } },
          { index: 'constructor', delta: {}, finish_reason: 'stop' },
        ],
      },
      chunk({ audio: { evil: 1, data: 'b' } }),
      chunk({}, 'stop', {
        usage: { evil: 1, total_tokens: 1, prompt_tokens: 1, completion_tokens: 1 },
      }),
    ]
    for (const store of [undefined, new OddStore()]) {
      const { blossom, dispatcher } = clientOf(
        sse(chunks.map((one) => `data: ${evil(one)}\n\n`).join('') + DONE),
      )
      const cached = blossom.use(cache({ store }))
      for (let i = 0; i < 2; i++) {
        expectClean(await collect(await cached.chat.stream(ask)))
        await turn()
      }
      expectClean(await cached.chat.create(ask))
      expect(dispatcher.exchanges).toHaveLength(1)
    }
  })

  it('cannot enter through errors, models, balances, embeddings or any other endpoint', async () => {
    const bodies = [
      { error: { evil: 1, message: 'x', code: '__proto__' }, evil: 1 },
      { data: [{ evil: 1, id: 'a' }], evil: 1 },
      { balance: 1, evil: 1 },
      {
        data: [{ evil: 1, index: 0, embedding: [1] }],
        usage: { evil: 1, prompt_tokens: 1, total_tokens: 1 },
        evil: 1,
      },
    ]
    for (const body of bodies) {
      for (const status of [200, 400, 500]) {
        const { blossom } = clientOf({ status, headers: JSON_HEAD, pieces: pieces(evil(body)) })
        const calls = [
          blossom.models.list(),
          blossom.account.balance(),
          blossom.embeddings.create('x'),
          blossom.request({ path: '/x' }),
        ]
        for (const call of calls)
          expectClean(JSON.parse(JSON.stringify(await call.catch((error: unknown) => error))))
      }
    }
  })

  it('cannot enter through the parts of a merged embeddings call', async () => {
    const item = (index: number) => ({ evil: 1, index, embedding: [index] })
    const text = evil({
      evil: 1,
      data: [item(1), item(0)],
      usage: { evil: 1, prompt_tokens: 4, total_tokens: 4 },
    })
    const { blossom, dispatcher } = clientOf(json(text))
    const merged = blossom.use(batcher({ maxDelayMs: 1 }))
    const results = await Promise.all([
      merged.embeddings.create('a'),
      merged.embeddings.create('b'),
    ])
    expect(results.map(({ embeddings }) => embeddings)).toEqual([[[0]], [[1]]])
    expectClean(results)
    expect(dispatcher.exchanges).toHaveLength(1)
  })

  it('cannot enter through a request, which is sent unchanged', async () => {
    const body = JSON.parse(`{"messages":[{"role":"user","content":"x",${EVIL}}],${EVIL}}`)
    await using upstream = await startLocalBlossom()
    await using blossom = createBlossom({ baseURL: upstream.url }).use(cache(), dedupe())
    await blossom.chat.create(body)
    await blossom.chat.create(body)
    expect(blossom.stats().cache).toMatchObject({ hits: 1, misses: 1 })
    await blossom.chat.create(ask)
    expect(blossom.stats().cache).toMatchObject({ hits: 1, misses: 2 })
  })

  it('cannot enter through the checkpoint of a batch, whose lines keep their places and outcomes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'blossom-hostile-'))
    try {
      const checkpoint = join(folder, 'answers.jsonl')
      await using upstream = await startLocalBlossom()
      await using blossom = createBlossom({ baseURL: upstream.url })
      const batch = () =>
        collect(blossom.text.batch(['a', 'b'], { checkpoint, maxTokens: 2, order: 'input' }))
      const first = await batch()
      const lines = (await readFile(checkpoint, 'utf8')).trimEnd().split('\n')
      const spoiled = lines.map((line) =>
        line.replace('{', `{"index":7,"ok":false,"error":"x",${EVIL},`),
      )
      await writeFile(checkpoint, `${spoiled.join('\n')}\n[]\n7\nnull\n{"key":5,"text":"x"}\n`)
      const again = await batch()
      expect(again.map(({ index, ok }) => [index, ok])).toEqual([
        [0, true],
        [1, true],
      ])
      expect(again.map((one) => one.ok && one.text)).toEqual(first.map((one) => one.ok && one.text))
      expectClean(again.map(({ ...fields }) => ({ ...fields, constructor: undefined })))
      expect(upstream.requests).toHaveLength(2)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('words that look like headers', () => {
  const words = [
    'x\r\nx-evil: 1',
    'x\nx-evil: 1',
    'x\rx-evil: 1',
    'x\0y',
    'schlüssel',
    '鍵',
    '\u2028',
    '\ud800',
    'x\r\n\r\nGET /evil HTTP/1.1\r\n\r\n',
  ]

  it.each(words)(
    'are refused or sent in the body, and never become a header or a request: %j',
    async (word) => {
      await using upstream = await startLocalBlossom()
      const seen = () => upstream.requests.length
      const refused: (() => unknown)[] = [
        () => createBlossom({ apiKey: word }),
        () => createBlossom({ userAgent: word }),
        () => createBlossom({ headers: { 'x-tag': word } }),
        () => createBlossom({ headers: { [word]: 'x' } }),
        () => createBlossom({ baseURL: `${upstream.url}/${word}\n` }),
        () => timeout({ ms: 1, name: word as never }),
      ]
      for (const make of refused) expect(make).toThrow(StackError)
      await using blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_test_key' }).use(
        cache(),
        dedupe(),
      )
      expect(
        isStackError(await failure(blossom.text.generate('x', { apiKey: word })), 'VALIDATION'),
      ).toBe(true)
      expect(seen()).toBe(0)
      await blossom.text.generate('x')
      const plain = Object.keys(upstream.requests[0]?.headers ?? {})
      const calls: (() => Promise<unknown>)[] = [
        () => blossom.text.generate('x', { tenant: word }),
        () => blossom.text.generate('x', { model: word }),
        () => blossom.text.generate('x', { stop: word }),
        () => blossom.chat.create({ ...ask, user: word }),
        () => blossom.chat.create({ ...ask, [word]: word }),
        () => blossom.request({ path: '/v1/chat/completions', body: { ...ask, user: word } }),
      ]
      for (const call of calls)
        await call().catch((error: unknown) => expect(error).toBeInstanceOf(StackError))
      const paths = upstream.requests.map(({ path }) => path)
      expect(new Set(paths)).toEqual(new Set(['/v1/chat/completions']))
      for (const { headers } of upstream.requests) expect(Object.keys(headers)).toEqual(plain)
    },
  )
})

describe('odd prompts', () => {
  it.each([
    'مرحبا\u202e\u200f',
    '👩‍👩‍👧‍👦',
    'a\0b',
    '\ufeff',
    '\u2028\u2029',
    'e\u0301',
    '\ud800',
    'x'.repeat(1_000_000),
    '__proto__',
    '"\\"',
    '\r\n\r\n',
  ])(
    'come back to the character, by every method that sends them in a body, case %#',
    async (prompt) => {
      const heard: string[] = []
      await using upstream = await startLocalBlossom({ reply: () => prompt })
      await using blossom = createBlossom({ baseURL: upstream.url }).use(cache(), dedupe())
      const seen = () => {
        const body = upstream.requests.at(-1)?.body as
          | { messages?: { content: string }[]; input?: string | string[] }
          | undefined
        heard.push(body?.messages?.[0]?.content ?? [body?.input].flat()[0] ?? '')
      }
      await blossom.text.generate(prompt)
      seen()
      await collect(await blossom.text.stream(prompt, { seed: 1 }))
      seen()
      await collect(blossom.text.batch([prompt], { seed: 2 }))
      seen()
      await blossom.embeddings.create([prompt])
      seen()
      await blossom.audio.speech(prompt).catch(() => {})
      seen()
      expect(new Set(heard)).toEqual(new Set([prompt]))
      // The same prompt is known again; half a surrogate pair is no other half.
      expect((await blossom.text.generate(prompt)).cached).toBe(true)
      expect((await blossom.text.generate(`${prompt}\udfff`)).cached).toBe(false)
    },
  )

  it('of the same text in other forms of Unicode are not the same', async () => {
    await using upstream = await startLocalBlossom()
    await using blossom = createBlossom({ baseURL: upstream.url }).use(cache())
    for (const prompt of ['é', 'e\u0301', '\ud800', '\ud801', '\ufffd'])
      expect((await blossom.text.generate(prompt)).cached).toBe(false)
  })
})

describe('streams and their text', () => {
  it('keep what looks like frames inside a text a text', async () => {
    const text = 'data: [DONE]\n\nevent: error\ndata: {"error":1}\n\n: comment\r\n\r\nid: 1'
    const { blossom } = clientOf(sse(chatEvents(text)))
    expect(await collect(await blossom.text.stream('x'))).toEqual([{ text }])
  })
})
