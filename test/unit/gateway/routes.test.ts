import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createGateway, type GatewayOptions } from '../../../src/gateway/index.js'
import { ConfigError, createBlossom, isStackError } from '../../../src/index.js'
import { type Ask, textOf } from '../../support/http-client.js'
import { ExpressFramework } from '../../support/http-frameworks.js'
import {
  closeAll,
  comparable,
  heldStack,
  openEach,
  openSite,
  type Site,
  type SiteOptions,
  sameFromEach,
  until,
} from '../../support/http-site.js'
import { PROMPT } from '../../support/secrets.js'

const said = (text: string): SiteOptions => ({ upstream: { reply: () => text } })
const prompt = PROMPT

/** One request to each framework, and what all of them answer. */
const answerOf = (path: string, what: Ask, options: SiteOptions = {}) =>
  sameFromEach(options, async (site) => comparable(await site.ask(path, what)))

/** What every answer that is data carries. */
const everyHeader = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-request-id': 'an id',
  'x-process-time': 'seconds',
}

const generations = [
  ['/generate/text', { text: 'Hello, garden.', model: 'openai', tokens_used: 4 }],
  ['/generate/queued', { text: 'Hello, garden.' }],
  ['/generate/retry', { text: 'Hello, garden.' }],
  ['/generate/circuit-breaker', { text: 'Hello, garden.' }],
  ['/generate/cached', { text: 'Hello, garden.', cached: false }],
] as const

describe('generations', () => {
  test.each(generations)(
    'POST %s answers with what the guide says, and the same from each framework',
    async (path, body) => {
      const answer = await answerOf(path, { body: { prompt } }, said('Hello, garden.'))
      expect(answer).toMatchObject({ status: 200, body })
      expect(answer.headers).toEqual({
        ...everyHeader,
        'server-timing': 'queue;dur=ms, upstream;dur=ms',
        ...(path === '/generate/cached' && { 'x-cache': 'MISS' }),
      })
    },
  )

  test('fields and their defaults go upstream as one user message', async () => {
    const bodies = await sameFromEach({}, async (site) => {
      await site.ask('/generate/text', { body: { prompt } })
      await site.ask('/generate/text', {
        body: { prompt, max_tokens: 7, temperature: 0, model: 'mistral' },
      })
      await site.ask('/generate/text', {
        body: { prompt, max_tokens: null, temperature: null, model: null },
      })
      return site.upstream.requests.map(({ body }) => body)
    })
    const messages = [{ role: 'user', content: prompt }]
    const usual = { model: 'openai', messages, max_tokens: 100, temperature: 0.7 }
    expect(bodies).toEqual([
      usual,
      { model: 'mistral', messages, max_tokens: 7, temperature: 0 },
      usual,
    ])
  })

  test('only /generate/cached is served from the cache', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      const seen = []
      for (const path of ['text', 'text', 'cached', 'cached', 'queued', 'text']) {
        const { json, headers } = await ask(`/generate/${path}`, { body: { prompt } })
        seen.push([path, json.cached, headers['x-cache']])
      }
      return { seen, requests: upstream.requests.length }
    })
    expect(outcome).toEqual({
      seen: [
        ['text', undefined, undefined],
        ['text', undefined, undefined],
        ['cached', false, 'MISS'],
        ['cached', true, 'HIT'],
        ['queued', undefined, undefined],
        ['text', undefined, undefined],
      ],
      requests: 5,
    })
  })

  test('an empty answer is handed on and not kept', async () => {
    const answers = await sameFromEach(said(''), async ({ ask }) => {
      await ask('/generate/cached', { body: { prompt } })
      return (await ask('/generate/cached', { body: { prompt } })).json
    })
    expect(answers).toEqual({ text: '', cached: false })
  })

  const crowd = ({ ask }: Site) =>
    Promise.all(Array.from({ length: 100 }, () => ask('/generate/cached', { body: { prompt } })))
  const allCame = ({ blossom }: Site) =>
    until(
      () => blossom.stats() as unknown as Joined,
      ({ dedupe }) => dedupe.joined === 99,
    )

  test('a hundred callers with one question cost one generation', async () => {
    const outcome = await sameFromEach({ ...said('Once.'), layers: heldStack }, async (site) => {
      const answers = crowd(site)
      await allCame(site)
      site.gate.open()
      return {
        texts: [...new Set((await answers).map(({ json }) => json.text))],
        requests: site.upstream.requests.length,
      }
    })
    expect(outcome).toEqual({ texts: ['Once.'], requests: 1 })
  }, 20_000)

  test('a hundred callers whose one question fails share its attempts, and the next one asks again', async () => {
    const outcome = await sameFromEach({ layers: heldStack }, async (site) => {
      const { upstream } = site
      upstream.fail(503, 3)
      const answers = crowd(site)
      await allCame(site)
      site.gate.open()
      const statuses = [...new Set((await answers).map(({ status }) => status))]
      const attempts = upstream.requests.length
      const after = await site.ask('/generate/cached', { body: { prompt } })
      return { statuses, attempts, after: [after.status, after.json.cached] }
    })
    expect(outcome).toEqual({ statuses: [503], attempts: 3, after: [200, false] })
  }, 20_000)
})

interface Joined {
  dedupe: { joined: number }
}

describe('stats', () => {
  test('pool and queue tell their figures in the words of the guide', async () => {
    const stats = await sameFromEach({}, async ({ ask, upstream }) => {
      await ask('/generate/text', { body: { prompt } })
      upstream.faults.push({ status: 400 })
      await ask('/generate/queued', { body: { prompt } })
      return [(await ask('/pool/stats')).json, (await ask('/queue/stats')).json]
    })
    expect(stats).toEqual([
      { max_connections: 10, active_connections: 0, available_connections: 10 },
      // A failure is processed, too.
      { queue_size: 0, active_tasks: 0, processed_count: 2, max_concurrent: 5 },
    ])
  })

  test('they see the generations under way', async () => {
    const stats = await sameFromEach(
      { upstream: { latencyMs: 60_000 } },
      async ({ ask, visit, upstream }) => {
        for (let i = 0; i < 7; i++)
          void visit('/generate/queued', { body: { prompt } }).catch(() => {})
        await upstream.waitFor(({ active }) => active === 5)
        const stats = await until(
          async () => (await ask('/queue/stats')).json,
          ({ queue_size }) => queue_size === 2,
        )
        const pool = (await ask('/pool/stats')).json
        return [stats, pool]
      },
    )
    expect(stats).toEqual([
      { queue_size: 2, active_tasks: 5, processed_count: 0, max_concurrent: 5 },
      { max_connections: 10, active_connections: 5, available_connections: 5 },
    ])
  })
})

describe('fields that are wrong', () => {
  const wrong: readonly [name: string, body: object | string, fields: readonly string[]][] = [
    ['no prompt', {}, ['prompt']],
    ['an empty prompt', { prompt: '' }, ['prompt']],
    ['a prompt of spaces', { prompt: '  \n' }, ['prompt']],
    ['a prompt that is a number', { prompt: 5 }, ['prompt']],
    ['a prompt that is an object', { prompt: {} }, ['prompt']],
    ['a prompt that is a list', { prompt: ['a'] }, ['prompt']],
    ['a prompt that is null', { prompt: null }, ['prompt']],
    ['max_tokens of 0', { prompt, max_tokens: 0 }, ['max_tokens']],
    ['negative max_tokens', { prompt, max_tokens: -1 }, ['max_tokens']],
    ['broken max_tokens', { prompt, max_tokens: 1.5 }, ['max_tokens']],
    ['max_tokens as text', { prompt, max_tokens: '5' }, ['max_tokens']],
    ['enormous max_tokens', { prompt, max_tokens: 1e9 }, ['max_tokens']],
    ['a temperature below 0', { prompt, temperature: -0.1 }, ['temperature']],
    ['a temperature above 2', { prompt, temperature: 2.1 }, ['temperature']],
    ['a temperature as text', { prompt, temperature: '1' }, ['temperature']],
    ['a model that is a number', { prompt, model: 1 }, ['model']],
    ['an empty model', { prompt, model: '' }, ['model']],
    [
      'everything at once',
      { prompt: 1, max_tokens: 0, temperature: 9, model: [] },
      ['prompt', 'max_tokens', 'temperature', 'model'],
    ],
    ['a list instead of an object', '[]', []],
    ['a bare string', '"prompt"', []],
    ['null', 'null', []],
    ['text that is no JSON', '{"prompt":', []],
    ['nothing', '', []],
  ]

  let sites: Site[]
  beforeAll(async () => {
    sites = await openEach()
  })
  afterAll(() => closeAll(sites))

  test.each(wrong)('%s is 400 and names the field', async (_name, body, fields) => {
    const answers = await sameFromEach(sites, async ({ ask, upstream }) => {
      const seen = []
      for (const [path] of [...generations, ['/generate/stream']]) {
        const { status, headers, json, text } = await ask(path!, {
          body,
          headers: { 'content-type': 'application/json' },
        })
        seen.push({
          status,
          type: headers['content-type'],
          code: json.code,
          fields: json.errors?.map((one: { field: string }) => one.field),
          text,
        })
      }
      return {
        seen: seen.map(({ text, ...rest }) => ({ ...rest, leaks: text.includes(prompt) })),
        requests: upstream.requests.length,
      }
    })
    expect(answers.requests).toBe(0)
    for (const seen of answers.seen) {
      expect(seen).toEqual({
        status: 400,
        type: 'application/problem+json',
        code: 'VALIDATION',
        fields: fields.length === 0 ? undefined : fields,
        leaks: false,
      })
    }
  })

  test('a problem has a sentence, the fields and our request id, and nothing more', async () => {
    const { body, headers } = await answerOf('/generate/text', {
      body: { prompt: '', max_tokens: 0 },
    })
    expect(headers).toEqual({ ...everyHeader, 'content-type': 'application/problem+json' })
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Bad Request',
      status: 400,
      detail:
        'The request is not valid: prompt must be a non-empty string; max_tokens must be an integer from 1 to 32768.',
      code: 'VALIDATION',
      requestId: 'ID',
      errors: [
        { field: 'prompt', message: 'must be a non-empty string' },
        { field: 'max_tokens', message: 'must be an integer from 1 to 32768' },
      ],
    })
  })

  test.each([
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['multipart/form-data; boundary=x', 415],
    ['', 415],
    ['application/json; charset=utf-8', 200],
    ['Application/JSON', 200],
    ['application/vnd.api+json', 200],
  ])('content-type %j is %i', async (type, expected) => {
    const { status, body } = await answerOf('/generate/text', {
      body: { prompt },
      headers: { 'content-type': type },
    })
    expect(status).toBe(expected)
    if (expected === 415)
      expect(body).toMatchObject({ code: 'VALIDATION', title: 'Unsupported Media Type' })
  })

  test.each(['gzip', 'GZIP', 'br', 'deflate, gzip'])(
    'a body that is compressed with %s is 415 and names what is accepted',
    async (encoding) => {
      const body = encoding === 'gzip' ? gzipSync(JSON.stringify({ prompt })).toString() : '{}'
      for (const path of ['/generate/text', '/v1/chat/completions']) {
        const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
        const answer = await answerOf(path, { body, headers })
        expect(answer).toMatchObject({ status: 415, headers: { 'accept-encoding': 'identity' } })
        expect(JSON.stringify(answer.body)).toContain('must not be compressed')
      }
    },
  )

  test('a body that says it is not compressed is read', async () => {
    const headers = { 'content-encoding': 'identity' }
    expect((await answerOf('/generate/text', { body: { prompt }, headers })).status).toBe(200)
  })

  test('a body over the limit is 413, with its length told or without, and the connection is not broken', async () => {
    const big = { prompt: 'x'.repeat(2_000) }
    const answers = await sameFromEach(
      { gateway: { bodyLimit: 1_000 } },
      async ({ ask, upstream }) => {
        const told = await ask('/generate/text', { body: big })
        const untold = await ask('/generate/text', {
          body: big,
          headers: { 'transfer-encoding': 'chunked', 'content-type': 'application/json' },
        })
        const fits = await ask('/generate/text', { body: { prompt: 'x'.repeat(900) } })
        return {
          told: comparable(told),
          untold: comparable(untold),
          fits: fits.status,
          requests: upstream.requests.length,
        }
      },
    )
    expect(answers.told).toMatchObject({
      status: 413,
      body: { code: 'TOO_LARGE', title: 'Payload Too Large' },
    })
    expect(answers.untold).toEqual(answers.told)
    expect(answers).toMatchObject({ fits: 200, requests: 1 })
  })

  test('the limit is 1 MiB unless told otherwise', async () => {
    const outcome = await sameFromEach(said('Long.'), async ({ ask }) => {
      const wrapping = JSON.stringify({ prompt: '' }).length
      const fits = await ask('/generate/text', {
        body: { prompt: 'x'.repeat(1024 * 1024 - wrapping) },
      })
      const not = await ask('/generate/text', {
        body: { prompt: 'x'.repeat(1024 * 1024 - wrapping + 1) },
      })
      return [fits.status, not.status]
    })
    expect(outcome).toEqual([200, 413])
  })
})

describe('the limit of a body that may hold a picture', () => {
  const pictureOf = (bytes: number) => ({
    messages: [
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: `data:,${'A'.repeat(bytes)}` } }],
      },
    ],
  })
  const statusOf = (bytes: number) => async (site: Site) =>
    (await site.ask('/v1/chat/completions', { body: pictureOf(bytes) })).status
  const MIB = 1024 * 1024

  test('is 20 MiB unless told otherwise', async () => {
    expect(await sameFromEach({}, statusOf(1.6 * MIB))).toBe(200)
    await using site = await openSite(ExpressFramework)
    expect(await statusOf(20 * MIB - 1_000)(site)).toBe(200)
    expect(await statusOf(20 * MIB)(site)).toBe(413)
  })

  test('is `mediaBodyLimit`, and at least a larger `bodyLimit`', async () => {
    const statusWith = async (gateway: GatewayOptions<never>, bytes: number) => {
      await using site = await openSite(ExpressFramework, { gateway })
      return await statusOf(bytes)(site)
    }
    expect(await statusWith({ mediaBodyLimit: 2_000 }, 3_000)).toBe(413)
    expect(await statusWith({ mediaBodyLimit: 2_000, bodyLimit: 5_000 }, 3_000)).toBe(413)
    expect(await statusWith({ bodyLimit: 30 * MIB }, 20 * MIB)).toBe(200)
  })

  test('does not hold for other routes', async () => {
    const outcome = await sameFromEach({}, async ({ ask }) => {
      const input = 'x'.repeat(1.6 * MIB)
      return [
        (await ask('/v1/embeddings', { body: { input } })).status,
        (await ask('/generate/text', { body: { prompt: input } })).status,
      ]
    })
    expect(outcome).toEqual([413, 413])
  })
})

describe('models', () => {
  const gateway = { models: ['openai', 'mistral'] }

  test('a name off the list is refused with 404 before anything is sent, on every route', async () => {
    const outcome = await sameFromEach({ gateway }, async ({ ask, upstream }) => {
      const messages = [{ role: 'user', content: prompt }]
      const answers = [
        await ask('/generate/text', { body: { prompt, model: 'gpt-9' } }),
        await ask('/generate/stream', { body: { prompt, model: 'gpt-9' } }),
        await ask('/v1/chat/completions', { body: { messages, model: 'gpt-9' } }),
        await ask('/v1/embeddings', { body: { input: 'a', model: 'gpt-9' } }),
        await ask('/v1/images/generations', { body: { prompt, model: 'gpt-9' } }),
        await ask('/v1/audio/speech', { body: { input: 'a', model: 'gpt-9' } }),
      ]
      return {
        statuses: answers.map(({ status }) => status),
        first: answers[0]!.json.code,
        requests: upstream.requests.length,
      }
    })
    expect(outcome).toEqual({
      statuses: [404, 404, 404, 404, 404, 404],
      first: 'NOT_FOUND',
      requests: 0,
    })
  })

  test('names on the list pass, and the list of models holds only these', async () => {
    const outcome = await sameFromEach({ gateway }, async ({ ask }) => [
      (await ask('/generate/text', { body: { prompt, model: 'mistral' } })).json.model,
      (await ask('/generate/text', { body: { prompt } })).json.model,
      (await ask('/v1/models')).json.data.map(({ id }: { id: string }) => id),
    ])
    expect(outcome).toEqual(['mistral', 'openai', ['openai', 'mistral']])
  })

  test('without a name, a model off the list is never asked for', async () => {
    const outcome = await sameFromEach({ gateway: { models: ['mistral'] } }, async ({ ask }) => [
      (await ask('/generate/text', { body: { prompt } })).json.model,
      (await ask('/generate/batch', { body: { prompts: [prompt] } })).json.processed,
      (
        await ask('/v1/chat/completions', {
          body: { messages: [{ role: 'user', content: prompt }] },
        })
      ).status,
    ])
    expect(outcome).toEqual(['mistral', 1, 400])
  })

  test('without a list any name goes upstream, whose 404 is a 404', async () => {
    const answer = await answerOf('/generate/text', { body: { prompt, model: 'gpt-9' } })
    expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND', title: 'Not Found' } })
  })
})

describe('batch', () => {
  const prompts = (count: number) => Array.from({ length: count }, (_, i) => `prompt ${i}`)
  const echo: SiteOptions = {
    upstream: {
      reply: ({ body }) =>
        `re: ${(body as { messages: { content: string }[] }).messages[0]!.content}`,
    },
  }
  const batch = (body: object, options: SiteOptions = echo) =>
    answerOf('/generate/batch', { body }, options)

  test('results stand in the order of the prompts', async () => {
    const { status, body } = await batch({ prompts: prompts(12), batch_size: 4 })
    expect(status).toBe(200)
    expect(body).toEqual({
      total: 12,
      processed: 12,
      results: prompts(12).map((one) => `re: ${one}`),
    })
  })

  test('one prompt and a hundred are fine; none and a hundred and one are not', async () => {
    expect((await batch({ prompts: prompts(1) })).body).toMatchObject({ total: 1, processed: 1 })
    expect((await batch({ prompts: prompts(100), batch_size: 100 })).body).toMatchObject({
      total: 100,
      processed: 100,
    })
    expect(await batch({ prompts: [] })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'prompts' }] },
    })
    expect(await batch({ prompts: prompts(101) })).toMatchObject({
      status: 400,
      body: { detail: 'Too many prompts. Maximum is 100.' },
    })
  })

  test.each([[0], [-1], [1e9], [1.5], ['5']])('batch_size %j is refused', async (batch_size) => {
    expect(await batch({ prompts: prompts(2), batch_size })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'batch_size' }] },
    })
  })

  test.each([[undefined], ['a'], [{ 0: 'a' }], [5], [[5]], [['a', null]], [['a', ['b']]]])(
    'prompts that are %j are refused',
    async (value) => {
      expect(await batch({ prompts: value })).toMatchObject({
        status: 400,
        body: { errors: [{ field: 'prompts' }] },
      })
    },
  )

  test('a prompt that is empty or fails keeps its place and costs one result', async () => {
    const outcome = await sameFromEach(echo, async ({ ask, upstream }) => {
      upstream.faults.push({ status: 422, match: ({ rawBody }) => rawBody.includes('refuse me') })
      const { status, json } = await ask('/generate/batch', {
        body: { prompts: ['a', '', 'refuse me', 'b'], batch_size: 1 },
      })
      return { status, total: json.total, processed: json.processed, results: json.results }
    })
    expect(outcome).toMatchObject({ status: 200, total: 4, processed: 2 })
    const [a, empty, refused, b] = outcome.results
    expect([a, b]).toEqual(['re: a', 're: b'])
    expect(empty.error).toMatchObject({ code: 'VALIDATION', message: expect.any(String) })
    expect(refused.error).toMatchObject({ code: 'BAD_REQUEST', message: expect.any(String) })
  })

  test('when every prompt fails the status is 200 still', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      upstream.faults.push({ status: 400, times: 3 })
      const { status, json } = await ask('/generate/batch', { body: { prompts: prompts(3) } })
      return {
        status,
        processed: json.processed,
        codes: json.results.map((one: { error: { code: string } }) => one.error.code),
      }
    })
    expect(outcome).toEqual({
      status: 200,
      processed: 0,
      codes: ['BAD_REQUEST', 'BAD_REQUEST', 'BAD_REQUEST'],
    })
  })
})

describe('streams', () => {
  const streamed = async (text: string) => {
    const { events, headers } = await sameFromEach(
      { upstream: { reply: () => text, wordsPerChunk: 1 } },
      async ({ ask }) => {
        const answer = await ask('/generate/stream', { body: { prompt } })
        return { events: answer.events, headers: comparable(answer).headers }
      },
    )
    return { events, headers }
  }

  test('one event for each chunk, then [DONE], with the headers that keep proxies from holding them back', async () => {
    const { events, headers } = await streamed('Hello, small garden.')
    expect(events).toEqual([
      { event: 'message', data: '{"text":"Hello,"}' },
      { event: 'message', data: '{"text":" small"}' },
      { event: 'message', data: '{"text":" garden."}' },
      { event: 'message', data: '[DONE]' },
    ])
    expect(headers).toEqual({
      ...everyHeader,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'server-timing': 'queue;dur=ms, upstream;dur=ms, first-token;dur=ms',
    })
  })

  test.each([
    ['a line break', 'one\ntwo\r\nthree\rfour'],
    ['an end mark', 'so data: [DONE]\n\ndata: [DONE]\n\nit goes on'],
    ['a whole event', '\n\nevent: error\ndata: [ERROR] {}\n\n'],
    ['an id and a retry', '\nid: 5\nretry: 1\n\n'],
    ['line separators of Unicode', 'one\u2028data: [DONE]\u2029two\u0085three'],
    ['NUL and a byte order mark', 'a\u0000b\uFEFFc'],
    ['half of a surrogate pair', 'a \ud83c b'],
    ['nothing but the end mark', '[DONE]'],
  ])('text with %s cannot forge an event', async (_name, text) => {
    const { events } = await streamed(text)
    expect(events.at(-1)).toEqual({ event: 'message', data: '[DONE]' })
    expect(
      events.filter(({ event, data }) => event !== 'message' || data === '[DONE]'),
    ).toHaveLength(1)
    expect(textOf(events)).toBe(text)
  })

  test.each([
    ['is cut', { cutAfterChunks: 2 }],
    ['is reset', { cutAfterChunks: 2, cutWith: 'rst' }],
    ['ends early in due form', { endAfterChunks: 2 }],
    ['holds an error', { errorAfterChunks: 2 }],
    ['turns to nonsense', { garbageAfterChunks: 2 }],
  ] as const)(
    'a stream that %s upstream ends with an error event and never looks whole',
    async (_name, fault) => {
      const outcome = await sameFromEach(
        { upstream: { words: 40 } },
        async ({ ask, upstream, logged, log, errors }) => {
          upstream.faults.push({ ...fault, chunkDelayMs: 5 })
          const { status, events, text } = await ask('/generate/stream', {
            body: { prompt },
            headers: { 'x-request-id': 'mine-1' },
          })
          await logged(1)
          const last = events.at(-1)!
          return {
            status,
            event: last.event,
            data: last.data,
            chunks: events.length - 1,
            done: text.includes('[DONE]'),
            log: log[0]!.code,
            told: errors.length,
          }
        },
      )
      expect(outcome).toMatchObject({
        status: 200,
        event: 'error',
        chunks: 2,
        done: false,
        log: 'STREAM',
        told: 1,
      })
      const [, problem] = /^\[ERROR\] (\{.*\})$/.exec(outcome.data)!
      expect(JSON.parse(problem!)).toEqual({
        code: 'STREAM',
        message: expect.stringMatching(/^The stream broke after it had begun/),
        requestId: 'mine-1',
      })
    },
  )

  test('a failure before the first token has a real status and no event', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      upstream.faults.push({ errorAfterChunks: 0, times: 3 })
      const early = await ask('/generate/stream', { body: { prompt } })
      upstream.faults.push({ status: 429, retryAfter: 30 })
      const limited = await ask('/generate/stream', { body: { prompt } })
      return [early, limited].map(comparable)
    })
    expect(outcome[0]).toMatchObject({
      status: 502,
      headers: { 'content-type': 'application/problem+json' },
      body: { code: 'SERVER' },
    })
    expect(outcome[1]).toMatchObject({
      status: 429,
      headers: { 'retry-after': '30' },
      body: { code: 'RATE_LIMITED' },
    })
  })

  test('a failure before the first token is mended by a retry that nobody notices', async () => {
    const outcome = await sameFromEach(said('Whole again.'), async ({ ask, upstream }) => {
      upstream.faults.push({ cutAfterChunks: 0 }, { status: 503 })
      const { status, events } = await ask('/generate/stream', { body: { prompt } })
      return {
        status,
        text: textOf(events),
        end: events.at(-1)!.data,
        requests: upstream.requests.length,
      }
    })
    expect(outcome).toEqual({ status: 200, text: 'Whole again.', end: '[DONE]', requests: 3 })
  })

  test('silence after the first token is filled with comments', async () => {
    const outcome = await sameFromEach(
      { gateway: { heartbeatMs: 5 }, upstream: { words: 5 } },
      async ({ visit, upstream }) => {
        upstream.faults.push({ stallAfterChunks: 1 })
        const { next, leave } = await visit('/generate/stream', { body: { prompt } })
        let text = ''
        while (!text.includes(': keep-alive\n\n: keep-alive\n\n')) text += await next()
        leave()
        return text.replace(/(: keep-alive\n\n)+/, '').startsWith('data: {"text":')
      },
    )
    expect(outcome).toBe(true)
  })
})

describe('the OpenAI routes', () => {
  const messages = [{ role: 'user', content: prompt }]

  test('chat goes through unchanged, unknown fields included', async () => {
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

  test('images, speech, embeddings and models come as they are', async () => {
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

  test('an answer that is no answer to the question is 502, whatever its type', async () => {
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

describe('routes that exist', () => {
  const bare = { layers: () => [] }

  test('a route whose layer is missing does not exist; the others do', async () => {
    const outcome = await sameFromEach(bare, async ({ ask }) => {
      const paths = [
        '/generate/queued',
        '/generate/retry',
        '/generate/circuit-breaker',
        '/generate/cached',
      ]
      const missing = []
      for (const path of paths) missing.push((await ask(path, { body: { prompt } })).status)
      for (const path of ['/pool/stats', '/queue/stats']) missing.push((await ask(path)).status)
      missing.push((await ask('/cache/clear', { method: 'DELETE' })).status)
      const there = []
      for (const path of ['/generate/text', '/generate/stream'])
        there.push((await ask(path, { body: { prompt } })).status)
      there.push((await ask('/generate/batch', { body: { prompts: ['a'] } })).status)
      return { missing, there, health: (await ask('/health')).json }
    })
    expect(outcome.missing).toEqual([404, 404, 404, 404, 404, 404, 404])
    expect(outcome.there).toEqual([200, 200, 200])
    expect(outcome.health).toMatchObject({
      status: 'healthy',
      pool_stats: {},
      circuit_breaker_state: 'unknown',
    })
  })

  test.each([
    'queued',
    'retry',
    'circuit-breaker',
    'cached',
    'pool-stats',
    'queue-stats',
    'cache-clear',
  ] as const)('naming %s without its layer is a ConfigError', (name) => {
    const make = () => createGateway(createBlossom({ apiKey: 'sk_test' }), { routes: [name] })
    expect(make).toThrow(ConfigError)
    expect(make).toThrow(new RegExp(`the route "${name}" needs a \\w+ layer`))
  })

  test('`routes` leaves out what it does not name', async () => {
    const outcome = await sameFromEach(
      { gateway: { routes: ['text', 'health-live'] } },
      async ({ ask }) => [
        (await ask('/generate/text', { body: { prompt } })).status,
        (await ask('/health/live')).status,
        (await ask('/generate/stream', { body: { prompt } })).status,
        (await ask('/pool/stats')).status,
        (await ask('/v1/models')).status,
      ],
    )
    expect(outcome).toEqual([200, 200, 404, 404, 404])
  })

  test.each([
    [{ routes: ['nothing'] }, /option "routes" must be a list of names/],
    [{ prefix: 'ai' }, /option "prefix" must be/],
    [{ prefix: '/ai/' }, /option "prefix" must be/],
    [{ adminToken: 'short' }, /option "adminToken" must be .* got an invalid value/],
    [{ bodyLimit: 0 }, /option "bodyLimit" must be/],
    [{ mediaBodyLimit: 0.5 }, /option "mediaBodyLimit" must be/],
    [{ corsOrigins: ['app.example'] }, /option "corsOrigins" must be/],
    [{ corsOrigins: ['https://app.example/'] }, /option "corsOrigins" must be/],
    [{ models: [''] }, /option "models" must be/],
    [{ forwardKeys: 'yes' }, /option "forwardKeys" must be/],
    [{ heartbeatMs: -1 }, /option "heartbeatMs" must be/],
    [{ probe: { everyMs: 10 } }, /option "probe" must be/],
    [{ cors: true }, /option "cors" is unknown/],
  ])('option %j is refused', (options, message) => {
    let error: unknown
    try {
      createGateway(createBlossom({ apiKey: 'sk_test' }), options as never)
    } catch (thrown) {
      error = thrown
    }
    expect(isStackError(error, 'CONFIG')).toBe(true)
    expect((error as Error).message).toMatch(message)
  })
})
