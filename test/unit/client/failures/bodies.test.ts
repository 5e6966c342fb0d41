import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { flood, httpServer } from '../../../support/bare-server.js'
import { PROMPT } from '../../../support/secrets.js'
import { failure } from '../../../support/watch.js'
import { completion } from '../../../support/wire.js'
import { clientOf, expectFailure, NETWORK, OK, PROTOCOL, TIMEOUT, TOO_LARGE } from './expected.js'

describe('bodies', () => {
  let upstream: LocalBlossom
  beforeAll(async () => {
    upstream = await startLocalBlossom()
  })
  afterAll(() => upstream.close())

  it.each([
    ['cut off by an end', { cutAfterChunks: 1 }, NETWORK],
    ['cut off by a reset', { cutAfterChunks: 1, cutWith: 'rst' }, NETWORK],
    ['of malformed JSON', { json: 'malformed' }, PROTOCOL],
    ['of truncated JSON', { json: 'truncated' }, PROTOCOL],
    ['of HTML', { json: 'html' }, PROTOCOL],
    ['of nothing', { json: 'empty' }, PROTOCOL],
    ['of another shape', { json: 'shape' }, PROTOCOL],
    ['that say gzip and are not', { gzip: true }, PROTOCOL],
    ['of half a gzip', { gzip: 'truncated' }, PROTOCOL],
    ['that are gzip bombs', { gzip: 'bomb', bigBody: 2 ** 20 }, PROTOCOL],
    ['in an unknown encoding', { headers: { 'content-encoding': 'rot13' } }, PROTOCOL],
    ['labelled as HTML', { contentType: 'text/html' }, PROTOCOL],
  ] as const)('%s are an error, after three attempts', async (_name, fault, expected) => {
    upstream.reset()
    upstream.fault({ ...fault, times: 3 })
    expectFailure(await failure(clientOf(upstream.url).text.generate(PROMPT)), expected)
    expect(upstream.requests).toHaveLength(3)
    await upstream.waitFor(({ active }) => active === 0, 1_000)
  })

  it('that stall half-way end at the deadline, and the server sees the connection close', async () => {
    upstream.reset()
    upstream.fault({ stallAfterChunks: 1 })
    expectFailure(
      await failure(clientOf(upstream.url).text.generate(PROMPT, { timeoutMs: 80 })),
      TIMEOUT,
    )
    await upstream.waitFor(({ active }) => active === 0, 1_000)
    expect(upstream.requests).toHaveLength(1)
  })

  it.each(['text/plain', 'application/octet-stream', ''])(
    'of valid JSON are accepted with the content type "%s"',
    async (contentType) => {
      upstream.reset()
      upstream.fault({ contentType })
      await expect(clientOf(upstream.url).text.generate(PROMPT)).resolves.toMatchObject({
        finishReason: 'stop',
        attempts: 1,
      })
    },
  )

  it.each([
    ['chunk by chunk', undefined],
    ['with its length told', { 'content-length': String(2 ** 30) }],
  ])('larger than allowed are cut off, %s, and not retried', async (_name, headers) => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', ...headers })
      flood(response, Buffer.alloc(64 * 1024, ' '))
    })
    const before = process.memoryUsage().rss
    const error = await failure(
      clientOf(server.url, { maxResponseBytes: 2 ** 20 }).text.generate(PROMPT),
    )
    expectFailure(error, TOO_LARGE)
    expect(error.message).toContain('1048576 bytes')
    expect(server.requests).toHaveLength(1)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    await server.idle()
  })

  it('are measured exactly: one at the limit is allowed', async () => {
    await using server = await httpServer((_request, response) => response.end(OK))
    await expect(
      clientOf(server.url, { maxResponseBytes: OK.length }).text.generate(PROMPT),
    ).resolves.toMatchObject({ text: 'Hello.' })
    expectFailure(
      await failure(
        clientOf(server.url, { maxResponseBytes: OK.length - 1 }).text.generate(PROMPT),
      ),
      TOO_LARGE,
    )
  })

  it('are requested without compression', async () => {
    await using server = await httpServer((_request, response) => response.end(OK))
    await clientOf(server.url).text.generate(PROMPT)
    expect(server.requests[0]?.headers['accept-encoding']).toBe('identity')
  })

  it('with a field named __proto__ lose it and pollute nothing', async () => {
    const text =
      '{"__proto__":{"polluted":1},"choices":[{"index":0,"__proto__":{"polluted":2},"message":{"role":"assistant","content":"ok","\\u005f_proto__":{"polluted":3}}}]}'
    await using server = await httpServer((_request, response) => response.end(text))
    const data = await clientOf(server.url).chat.create({
      messages: [{ role: 'user', content: PROMPT }],
    })
    expect(data.choices[0]?.message.content).toBe('ok')
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    for (const one of [data, data.choices[0], data.choices[0]?.message]) {
      expect(Object.getPrototypeOf(one)).toBe(Object.prototype)
      expect(Object.hasOwn(one as object, '__proto__')).toBe(false)
    }
  })

  it('whose content is null because a tool is called are passed through', async () => {
    const message = {
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
    }
    await using server = await httpServer((_request, response) =>
      response.end(JSON.stringify(completion(null, message))),
    )
    const blossom = clientOf(server.url)
    const created = await blossom.chat.create({ messages: [{ role: 'user', content: PROMPT }] })
    expect(created.choices[0]?.message).toEqual({ role: 'assistant', content: null, ...message })
    await expect(blossom.text.generate(PROMPT)).resolves.toMatchObject({ text: '' })
  })
})

describe('answers of the wrong shape', () => {
  const chat = (blossom: ReturnType<typeof clientOf>) =>
    blossom.chat.create({ messages: [{ role: 'user', content: PROMPT }] })
  const text = (blossom: ReturnType<typeof clientOf>) => blossom.text.generate(PROMPT)
  const embed = (blossom: ReturnType<typeof clientOf>) => blossom.embeddings.create([PROMPT, 'b'])
  const [one, two] = [
    { index: 0, embedding: [1] },
    { index: 1, embedding: [2] },
  ]
  it.each([
    ['chat', chat, []],
    ['chat', chat, null],
    ['chat', chat, 5],
    ['chat', chat, { choices: [] }],
    ['chat', chat, { choices: [null] }],
    ['chat', chat, { choices: [{ message: 'text' }] }],
    ['text', text, { choices: [{}] }],
    ['text', text, { choices: { 0: { message: {} } } }],
    ['embeddings', embed, {}],
    ['embeddings', embed, []],
    ['embeddings', embed, { data: 'x' }],
    ['embeddings', embed, { data: [] }],
    ['embeddings', embed, { data: [one] }],
    ['embeddings', embed, { data: [one, two, one] }],
    ['embeddings', embed, { data: [two, two] }],
    ['embeddings', embed, { data: [one, { index: 4_000_000_000, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: -1, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: 0.5, embedding: [2] }] }],
    ['embeddings', embed, { data: [one, { index: 1, embedding: 'AAAA' }] }],
    ['embeddings', embed, { data: [one, null] }],
    ['models', (blossom: ReturnType<typeof clientOf>) => blossom.models.list(), { object: 'list' }],
    ['models', (blossom: ReturnType<typeof clientOf>) => blossom.models.list(), null],
    [
      'balance',
      (blossom: ReturnType<typeof clientOf>) => blossom.account.balance(),
      { balance: '100' },
    ],
    ['balance', (blossom: ReturnType<typeof clientOf>) => blossom.account.balance(), [100]],
    [
      'image',
      (blossom: ReturnType<typeof clientOf>) => blossom.image.generate(PROMPT),
      { url: 'x' },
    ],
    [
      'speech',
      (blossom: ReturnType<typeof clientOf>) => blossom.audio.speech(PROMPT),
      { url: 'x' },
    ],
  ])('are refused: %s, case %#', async (_name, call, body) => {
    await using upstream = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
    )
    expectFailure(await failure(call(clientOf(upstream.url))), PROTOCOL)
  })

  it.each([
    ['text/html', '<p>hi</p>'],
    ['text/plain', 'sorry'],
    ['image/png', ''],
    ['', 'bytes'],
  ])('are refused for bytes: a body of type "%s" holding %j', async (type, body) => {
    await using upstream = await httpServer((_request, response) =>
      response.writeHead(200, type === '' ? {} : { 'content-type': type }).end(body),
    )
    expectFailure(await failure(clientOf(upstream.url).image.generate(PROMPT)), PROTOCOL)
  })

  it('are recognised as errors even when labelled as an image', async () => {
    await using upstream = await httpServer((_request, response) =>
      response
        .writeHead(200, { 'content-type': 'image/png' })
        .end('{"error":{"code":503,"message":"the model is asleep"}}'),
    )
    expect(await failure(clientOf(upstream.url).image.generate(PROMPT))).toMatchObject({
      code: 'SERVER',
      upstreamStatus: 503,
    })
  })
})
