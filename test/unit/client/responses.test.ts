import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ResponsesEvent } from '../../../src/client/index.js'
import {
  type Blossom,
  type BlossomLayer,
  cache,
  collect,
  createBlossom,
  dedupe,
  isStackError,
  pool,
  retry,
  type StreamError,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { type BareServer, httpServer } from '../../support/bare-server.js'

const TEXT = 'Tulips come from Turkey, and they bloom in April.'
const quick = () => retry({ retries: 2, minDelayMs: 1, maxDelayMs: 1, budget: false })

/** Events as Responses servers send them. */
const events = (...list: readonly object[]) =>
  list
    .map((event) => `event: ${(event as ResponsesEvent).type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join('')

/** Answers every request with the same body. */
const answering = (text: string, { staysOpen = false } = {}): Promise<BareServer> =>
  httpServer((_, response) => {
    const isJson = text.startsWith('{')
    response.writeHead(200, { 'content-type': isJson ? 'application/json' : 'text/event-stream' })
    response.write(text)
    if (!staysOpen) response.end()
  })

const textOf = (list: readonly ResponsesEvent[]) =>
  list
    .filter(({ type }) => type === 'response.output_text.delta')
    .map(({ delta }) => delta)
    .join('')

describe('responses', () => {
  let upstream: LocalBlossom
  const clients: Blossom[] = []
  const client = (...layers: BlossomLayer[]) => {
    const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(...layers)
    clients.push(blossom)
    return blossom
  }
  beforeEach(async () => {
    upstream = await startLocalBlossom({ coalesce: false, reply: () => TEXT })
  })
  afterEach(async () => {
    for (const blossom of clients.splice(0)) await blossom.close({ timeoutMs: 0 })
    await upstream.close()
  })
  const body = { model: 'openai', input: 'Tell me about tulips' }

  it('creates a response and leaves body and answer unchanged', async () => {
    const answer = await client().responses.create({ ...body, instructions: 'Be brief.' })
    expect(upstream.requests[0]).toMatchObject({
      path: '/v1/responses',
      body: { ...body, instructions: 'Be brief.' },
    })
    expect(answer).toMatchObject({
      object: 'response',
      status: 'completed',
      output: [{ type: 'message', content: [{ type: 'output_text', text: TEXT }] }],
      usage: { input_tokens: expect.any(Number) },
    })
  })

  it('streams a response from its first event to its last, without an end marker', async () => {
    const list = await collect(await client().responses.stream(body))
    expect(list[0]).toMatchObject({ type: 'response.created', sequence_number: 0 })
    expect(list.at(-1)).toMatchObject({ type: 'response.completed' })
    expect(list.map(({ sequence_number }) => sequence_number)).toEqual(list.map((_, i) => i))
    expect(textOf(list)).toBe(TEXT)
  })

  it('caches complete responses: a stream serves a plain call, and the reverse', async () => {
    for (const order of ['create first', 'stream first']) {
      const blossom = client(cache())
      const asked = { ...body, user: order }
      const ask = [
        async () => {
          const { output } = await blossom.responses.create(asked)
          return (output[0] as { content: { text: string }[] }).content[0]?.text
        },
        async () => textOf(await collect(await blossom.responses.stream(asked))),
      ]
      upstream.reset()
      for (const one of order === 'create first' ? ask : ask.reverse())
        expect(await one()).toBe(TEXT)
      expect(upstream.requests).toHaveLength(1)
      expect(blossom.stats()).toMatchObject({ cache: { hits: 1 } })
    }
  })

  it('replays a stored stream event by event, with the names of its events', async () => {
    const blossom = client(cache())
    const first = await collect(await blossom.responses.stream(body))
    expect(await collect(await blossom.responses.stream(body))).toEqual(first)
    expect(upstream.requests).toHaveLength(1)
  })

  it('does not share responses that upstream stores or that depend on stored ones', async () => {
    const blossom = client(cache(), dedupe())
    for (const more of [{ previous_response_id: 'resp_1' }, { background: true }, { store: true }])
      for (let i = 0; i < 2; i++)
        await blossom.responses.create({ ...body, ...more }).catch(() => {})
    expect(upstream.requests).toHaveLength(6)
  })

  it('retries a stream that breaks before any content arrives', async () => {
    upstream.fault({ cutAfterChunks: 0 })
    upstream.fault({ errorAfterChunks: 0 })
    const list = await collect(await client(quick()).responses.stream(body))
    expect(textOf(list)).toBe(TEXT)
    expect(upstream.requests).toHaveLength(3)
  })

  it('fails with the partial response when the stream breaks later, and caches nothing', async () => {
    const blossom = client(cache(), quick())
    upstream.fault({ endAfterChunks: 5 })
    const stream = await blossom.responses.stream(body)
    const error = await collect(stream).catch((thrown: unknown) => thrown)
    expect(isStackError(error, 'STREAM')).toBe(true)
    expect(TEXT.startsWith((error as StreamError).text)).toBe(true)
    expect((error as StreamError).text).not.toBe('')
    expect(upstream.requests).toHaveLength(1)
    await blossom.responses.create(body)
    expect(upstream.requests).toHaveLength(2)
  })

  it.each([
    ['a flat error', { type: 'error', code: 'rate_limit_exceeded', message: 'Slow down' }, 429],
    [
      'a failed response',
      { type: 'response.failed', response: { error: { code: 'server_error', message: 'x' } } },
      502,
    ],
    ['a failed response that says nothing', { type: 'response.failed', response: {} }, 502],
  ])('treats %s before the commit as a failure with a status', async (_, event, status) => {
    await using server = await answering(events({ type: 'response.created', response: {} }, event))
    await using blossom = createBlossom({ baseURL: server.url })
    const error = await blossom.responses.stream(body).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ upstreamStatus: status, retryable: true })
  })

  it('does not cache a response that is filtered, empty or not marked as completed', async () => {
    const response = { object: 'response', id: 'r', model: 'm' }
    const message = { type: 'message', content: [{ type: 'output_text', text: 'Hi' }] }
    const filtered = { reason: 'content_filter' }
    for (const more of [
      { status: 'incomplete', incomplete_details: filtered, output: [message] },
      { status: 'completed', output: [] },
      { output: [message] },
      { status: 'in_progress', output: [message] },
    ]) {
      await using server = await answering(JSON.stringify({ ...response, ...more }))
      await using blossom = createBlossom({ baseURL: server.url }).use(cache())
      for (let i = 0; i < 2; i++) expect(await blossom.responses.create(body)).toMatchObject(more)
      expect(server.requests).toHaveLength(2)
    }
  })

  it('caches a response cut at its length limit, as it does for chat', async () => {
    const blossom = client(cache())
    for (let i = 0; i < 2; i++) {
      const list = await collect(await blossom.responses.stream({ ...body, max_output_tokens: 3 }))
      expect(list.at(-1)).toMatchObject({
        type: 'response.incomplete',
        response: { incomplete_details: { reason: 'max_output_tokens' } },
      })
    }
    expect(upstream.requests).toHaveLength(1)
  })

  it('turns a whole response into events when a stream is requested', async () => {
    const output = [
      { id: 'rs', type: 'reasoning', summary: [] },
      {
        id: 'msg',
        type: 'message',
        role: 'assistant',
        content: [
          { type: 'output_text', text: 'Hi', annotations: [] },
          { type: 'refusal', refusal: 'No' },
        ],
      },
      { id: 'fc', type: 'function_call', call_id: 'c', name: 'weather', arguments: '{"city":1}' },
    ]
    const response = { id: 'r', object: 'response', status: 'completed', model: 'm', output }
    await using server = await answering(JSON.stringify(response))
    await using blossom = createBlossom({ baseURL: server.url })
    const list = await collect(await blossom.responses.stream(body))
    expect(list.map(({ sequence_number }) => sequence_number)).toEqual(list.map((_, i) => i))
    expect(list.map(({ type }) => String(type).slice('response.'.length))).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'output_item.done',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'content_part.added',
      'refusal.delta',
      'refusal.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
      'completed',
    ])
    expect(list.at(-1)?.response).toEqual(response)
  })

  it('closes a connection that stays open after the last event', async () => {
    const completed = { type: 'response.completed', response: { status: 'completed', output: [] } }
    await using server = await answering(events(completed), { staysOpen: true })
    await using blossom = createBlossom({ baseURL: server.url })
    expect(await collect(await blossom.responses.stream(body))).toEqual([completed])
    await server.idle()
  })

  it('sends one conversation to one member of a pool', async () => {
    const members = ['a', 'b', 'c'].map((apiKey) => ({ apiKey: `sk_${apiKey}` }))
    const blossom = client(pool({ members, affinity: true }))
    const first = { role: 'user', content: 'Hello' }
    const answer = { role: 'assistant', content: 'Hi' }
    for (const input of [[first], [first, answer, { role: 'user', content: 'And then?' }]])
      await blossom.responses.create({ model: 'openai', input })
    expect(new Set(upstream.requests.map(({ keySha256 }) => keySha256)).size).toBe(1)
  })

  it.each([
    [undefined, 'the body must be an object whose input'],
    [{ input: '' }, 'the body must be an object whose input'],
    [{ input: [] }, 'the body must be an object whose input'],
    [{ input: 'Hi', stream: true }, 'or call responses.stream instead'],
  ])('refuses %j before anything is sent', async (wrong, sentence) => {
    const error = await client()
      .responses.create(wrong as never)
      .catch((thrown: unknown) => thrown)
    expect(isStackError(error, 'VALIDATION')).toBe(true)
    expect(String(error)).toContain(sentence)
    expect(upstream.requests).toHaveLength(0)
  })
})
