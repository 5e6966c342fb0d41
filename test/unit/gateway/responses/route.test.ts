import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GatewayOptions } from '../../../../src/gateway/index.js'
import { fakeClock, type LocalBlossomOptions } from '../../../../src/testing/index.js'
import type { SentEvent } from '../../../support/http-client.js'
import { ExpressFramework } from '../../../support/http-frameworks.js'
import { openSite, type Site, until } from '../../../support/http-site.js'
import { KEY } from '../../../support/secrets.js'
import { failure } from '../../../support/watch.js'

const TEXT = 'Tulips come from Turkey, and they bloom in April.'
const body = { model: 'openai', input: 'Tell me about tulips' }

let site: Site
const open = async (
  gateway: GatewayOptions<never>,
  upstream: LocalBlossomOptions = {},
): Promise<OpenAI> => {
  site = await openSite(ExpressFramework, {
    gateway,
    upstream: {
      coalesce: false,
      reply: ({ rawBody }) => (rawBody.includes('tulips') ? TEXT : undefined),
      ...upstream,
    },
  })
  return new OpenAI({ apiKey: 'any', baseURL: `${site.url}/v1`, maxRetries: 0 })
}
afterEach(() => site[Symbol.asyncDispose]())

const asked = () => site.upstream.requests.map(({ method, path }) => `${method} ${path}`)
const typesOf = (events: readonly SentEvent[]) => events.map(({ event }) => event)
const dataOf = (events: readonly SentEvent[]) => events.map(({ data }) => JSON.parse(data))

describe.each([
  [
    'translated for an upstream that serves chats only',
    'auto',
    { responses: false },
    '/v1/chat/completions',
  ],
  ['translated', 'translate', {}, '/v1/chat/completions'],
  ['forwarded', 'forward', {}, '/v1/responses'],
] as const)('responses, %s', (_, responses, options, path) => {
  let openai: OpenAI
  beforeEach(async () => {
    openai = await open({ responses }, options)
  })
  /** Without the list of models, which is asked for beside the calls. */
  const calls = () => asked().filter((line) => line !== 'GET /v1/models')

  it('are sent as JSON, fresh and from the cache', async () => {
    for (const cache of ['MISS', 'HIT']) {
      const { data, response } = await openai.responses.create(body).withResponse()
      expect([response.headers.get('x-cache'), data.output_text]).toEqual([cache, TEXT])
      expect(data).toMatchObject({
        object: 'response',
        status: 'completed',
        store: false,
        usage: { input_tokens: 4, output_tokens: 9, total_tokens: 13 },
      })
    }
    expect(calls()).toEqual([`POST ${path}`])
  })

  it('are sent as a stream, fresh and from the cache, stored as either form', async () => {
    expect((await openai.responses.create(body)).output_text).toBe(TEXT)
    const input = `${body.input}!`
    for (const more of [body, { ...body, input }, { ...body, input }]) {
      const stream = openai.responses.stream(more)
      let text = ''
      for await (const event of stream)
        if (event.type === 'response.output_text.delta') text += event.delta
      const final = await stream.finalResponse()
      expect([text, final.output_text, final.usage?.total_tokens]).toEqual([TEXT, TEXT, 13])
    }
    expect((await openai.responses.create({ ...body, input })).output_text).toBe(TEXT)
    expect(calls()).toHaveLength(2)
  })

  it('have named and numbered events, and no end marker', async () => {
    const { text, events, headers } = await site.ask('/v1/responses', {
      body: { ...body, stream: true },
    })
    expect(headers['content-type']).toContain('text/event-stream')
    expect(text).not.toContain('[DONE]')
    const data = dataOf(events)
    expect(typesOf(events)).toEqual(data.map(({ type }) => type))
    expect(data.map(({ sequence_number }) => sequence_number)).toEqual(data.map((__, i) => i))
    expect(data[0].type).toBe('response.created')
    expect(data.at(-1).type).toBe('response.completed')
    expect(data.at(-1).response.id).toBe(data[0].response.id)
  })

  it('call tools, and continue with the results', async () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } } }
    const tools = [{ type: 'function' as const, name: 'weather', parameters, strict: false }]
    const question = { role: 'user' as const, content: 'Please call the tool' }
    const first = await openai.responses.create({ ...body, input: [question], tools })
    const [call] = first.output
    if (call?.type !== 'function_call') throw new Error('No tool was called.')
    expect(JSON.parse(call.arguments)).toEqual({ city: expect.any(String) })
    const streamed = await openai.responses
      .stream({ ...body, input: [question], tools })
      .finalResponse()
    expect(streamed.output).toMatchObject([{ type: 'function_call', arguments: call.arguments }])
    const gave = { type: 'function_call_output' as const, call_id: call.call_id, output: 'Rain' }
    const second = await openai.responses.create({ ...body, input: [question, call, gave], tools })
    expect(second.output_text).not.toBe('')
  })

  it('have the requested structure', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    }
    const { output_text } = await openai.responses.create({
      model: 'openai',
      input: 'Which city?',
      text: { format: { type: 'json_schema', name: 'place', schema, strict: true } },
    })
    expect(JSON.parse(output_text)).toEqual({ city: expect.any(String) })
  })

  it('are incomplete when they reach their limit', async () => {
    const { status, incomplete_details } = await openai.responses.create({
      ...body,
      max_output_tokens: 2,
    })
    expect([status, incomplete_details]).toEqual(['incomplete', { reason: 'max_output_tokens' }])
  })

  it('stop upstream when the client leaves halfway', async () => {
    site.upstream.fault({ stallAfterChunks: 4, match: ({ method }) => method === 'POST' })
    const stream = await openai.responses.create({ ...body, stream: true })
    for await (const { type } of stream) if (type === 'response.output_text.delta') break
    await site.upstream.waitFor(({ active }) => active === 0)
    await site.logged(1)
    expect(site.log[0]).toMatchObject({ status: 499, route: '/v1/responses' })
  })

  it('have a real status when they fail before the first event', async () => {
    site.upstream.fault({ status: 422, times: 9, match: ({ method }) => method === 'POST' })
    for (const stream of [false, true])
      expect(await failure(openai.responses.create({ ...body, stream }))).toMatchObject({
        status: 422,
        code: 'bad_request',
      })
  })

  it('report later failures in two events, and are not stored', async () => {
    site.upstream.fault({ cutAfterChunks: 5, match: ({ method }) => method === 'POST' })
    const { status, events, text } = await site.ask('/v1/responses', {
      body: { ...body, stream: true },
    })
    expect([status, text.includes('[DONE]')]).toEqual([200, false])
    const data = dataOf(events)
    expect(data.map(({ sequence_number }) => sequence_number)).toEqual(data.map((__, i) => i))
    const [error, failed] = data.slice(-2)
    expect(typesOf(events).slice(-2)).toEqual(['error', 'response.failed'])
    expect(error).toEqual({
      type: 'error',
      sequence_number: data.length - 2,
      code: 'stream',
      message: expect.any(String),
      param: null,
    })
    expect(failed.response).toMatchObject({
      id: data[0].response.id,
      status: 'failed',
      error: { code: 'server_error', message: error.message },
    })
    expect((await openai.responses.create(body)).output_text).toBe(TEXT)
  })

  it('are not stored', async () => {
    for (const method of ['GET', 'DELETE']) {
      const { status, json } = await site.ask('/v1/responses/resp_1', { method })
      expect([status, json.error.message]).toEqual([
        404,
        expect.stringContaining('Responses are not stored here'),
      ])
    }
  })

  it('require an input', async () => {
    for (const more of [{}, { input: '' }, { input: [] }, { input: 5 }, { input: null }]) {
      const { status, json } = await site.ask('/v1/responses', {
        body: { model: 'openai', ...more },
      })
      expect([status, json.error.param]).toEqual([400, 'input'])
    }
  })
})

describe('responses', () => {
  it('are refused when a chat cannot do what a field asks, and name that field', async () => {
    const openai = await open({ responses: 'translate' })
    for (const [more, param] of [
      [{ store: true }, 'store'],
      [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
      [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    ] as const)
      expect(await failure(openai.responses.create({ ...body, ...more } as never))).toMatchObject({
        status: 400,
        param,
        type: 'invalid_request_error',
      })
    expect(asked()).toEqual([])
  })

  it('are forwarded unchanged, and so is upstream’s refusal', async () => {
    await open({ responses: 'forward' }, { responses: false })
    const more = { ...body, previous_response_id: 'resp_1', future: [1], apiKey: 'x', headers: {} }
    const { status, json } = await site.ask('/v1/responses', { body: more })
    expect([status, json.error.code]).toEqual([404, 'not_found'])
    const { apiKey: _, headers: __, ...sent } = more
    expect(site.upstream.requests[0]?.body).toEqual({ ...sent, store: false })
  })

  it('name upstream’s rejected fields as the request named them', async () => {
    await open({ responses: 'forward' })
    const { status } = await site.ask('/v1/responses', { body: { ...body, store: true } })
    expect(status).toBe(400)
    expect(site.upstream.requests[0]?.body).toEqual({ ...body, store: true })
  })

  it('use the older name of the limit when a model refuses the newer one, and remember it', async () => {
    const openai = await open({ responses: 'translate' })
    site.upstream.fault({
      status: 400,
      body: JSON.stringify({
        error: {
          message: 'Unsupported',
          code: 'unsupported_parameter',
          param: 'max_completion_tokens',
        },
      }),
      match: ({ rawBody }) => rawBody.includes('max_completion_tokens'),
      times: 9,
    })
    for (const input of ['one', 'two'])
      await openai.responses.create({ ...body, input, max_output_tokens: 5 })
    const limits = site.upstream.requests.map(({ rawBody }) => /max_\w+/.exec(rawBody)?.[0])
    expect(limits).toEqual(['max_completion_tokens', 'max_tokens', 'max_tokens'])
  })

  it('go to listed models only', async () => {
    await open({ models: ['mistral'] })
    const named = await site.ask('/v1/responses', { body })
    const unnamed = await site.ask('/v1/responses', { body: { input: 'Hi' } })
    expect([named.status, unnamed.status, unnamed.json.error.param]).toEqual([404, 400, 'model'])
  })

  it('are paid for with the caller’s key where keys are forwarded', async () => {
    await open({ responses: 'translate', forwardKeys: true }, { keys: undefined })
    const headers = { authorization: 'Bearer sk_own' }
    expect((await site.ask('/v1/responses', { body, headers })).status).toBe(200)
    expect((await site.ask('/v1/responses', { body })).status).toBe(200)
    const [own, servers] = site.upstream.requests.map(({ keySha256 }) => keySha256)
    expect(own).not.toBe(servers)
  })

  it('can be resumed, with failures numbered like all events', async () => {
    await open({ responses: 'translate', streams: true })
    site.upstream.fault({ cutAfterChunks: 4 })
    const { text, headers } = await site.ask('/v1/responses', {
      body: { ...body, stream: true },
      headers: { 'x-stream-resumable': 'true' },
    })
    expect(headers['x-stream-id']).toEqual(expect.any(String))
    const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
    const events = text.split('\n\n').filter((event) => event !== '')
    expect(ids).toEqual(events.map((_, i) => i))
    expect(events.at(-1)).toContain('response.failed')
  })
})

describe('the list of models', () => {
  const paths = () => asked().filter((line) => line.startsWith('POST'))
  const lists = () => asked().filter((line) => line === 'GET /v1/models').length
  const ask = (openai: OpenAI, input: string, model = 'openai') =>
    openai.responses.create({ ...body, model, input })

  it('is fetched alongside a call, and decides how later calls are forwarded', async () => {
    const openai = await open({}, { models: ['other'] })
    await ask(openai, 'one')
    await until(
      () => lists(),
      (count) => count === 1,
    )
    await until(
      async () => {
        await ask(openai, `again ${Math.random()}`)
        return paths().at(-1)
      },
      (path) => path === 'POST /v1/responses',
    )
    expect(paths()[0]).toBe('POST /v1/chat/completions')
    await ask(openai, 'an alias', 'openai-default')
    expect(paths().at(-1)).toBe('POST /v1/chat/completions')
    expect(lists()).toBe(1)
  })

  it('is never waited for, and its failure fails no call', async () => {
    const openai = await open({})
    site.upstream.fault({ hang: true, match: ({ path }) => path === '/v1/models' })
    for (const input of ['one', 'two']) await ask(openai, input)
    expect(paths()).toEqual(['POST /v1/chat/completions', 'POST /v1/chat/completions'])
    expect(lists()).toBe(1)
  })

  it('is kept for 5 minutes, and fetched again 30 s after a failure', async () => {
    const openai = await open({}, { keys: [KEY] })
    const clock = fakeClock()
    try {
      site.upstream.fault({ status: 404, match: ({ path }) => path === '/v1/models' })
      let calls = 0
      const askUntil = (wanted: () => boolean) =>
        until(async () => {
          await ask(openai, `number ${++calls}`)
          return wanted()
        }, Boolean)
      await askUntil(() => lists() === 1)
      await site.upstream.waitFor(({ active }) => active === 0)
      for (let i = 0; i < 3; i++) await askUntil(() => true)
      expect([lists(), paths().at(-1)]).toEqual([1, 'POST /v1/chat/completions'])
      await clock.advance(30_001)
      await askUntil(() => paths().at(-1) === 'POST /v1/responses')
      expect(lists()).toBe(2)
      await clock.advance(5 * 60_000 - 1_000)
      for (let i = 0; i < 3; i++) await askUntil(() => true)
      expect(lists()).toBe(2)
      await clock.advance(2_000)
      await askUntil(() => lists() === 3)
      expect(paths().at(-1)).toBe('POST /v1/responses')
    } finally {
      clock.restore()
    }
  })
})
