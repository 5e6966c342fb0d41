import { afterEach, describe, expect, it } from 'vitest'
import type { GatewayOptions } from '../../../src/gateway/index.js'
import type { LocalBlossomOptions } from '../../../src/testing/index.js'
import { ExpressFramework } from '../../support/http-frameworks.js'
import { openSite, type Site } from '../../support/http-site.js'

const TEXT = 'Tulips come from Turkey, and they bloom in April.'
const body = {
  model: 'openai',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Tell me about tulips' }],
}

let site: Site
const open = async (gateway: GatewayOptions<never> = {}, upstream: LocalBlossomOptions = {}) => {
  site = await openSite(ExpressFramework, {
    gateway,
    upstream: { coalesce: false, reply: () => TEXT, ...upstream },
  })
}
afterEach(() => site[Symbol.asyncDispose]())

const ask = (more: object = {}, headers: Record<string, string> = {}) =>
  site.ask('/v1/messages', { body: { ...body, ...more }, headers })

describe('POST /v1/messages', () => {
  it('forwards the request and returns the answer unchanged, fresh and from the cache', async () => {
    await open()
    for (const cache of ['MISS', 'HIT']) {
      const { status, json, headers } = await ask({ metadata: { user_id: 'x' } })
      expect([status, headers['x-cache']]).toEqual([200, cache])
      expect(json).toMatchObject({ type: 'message', content: [{ type: 'text', text: TEXT }] })
    }
    expect(site.upstream.requests).toHaveLength(1)
    expect(site.upstream.requests[0]).toMatchObject({
      path: '/v1/messages',
      body: { ...body, metadata: { user_id: 'x' } },
    })
  })

  it('streams named events, fresh and from the cache, without an end marker', async () => {
    await open()
    const texts: string[] = []
    for (const cache of ['MISS', 'HIT']) {
      const { text, events, headers } = await ask({ stream: true })
      expect(headers['x-cache']).toBe(cache)
      expect(text).not.toContain('[DONE]')
      expect(events.map(({ event }) => event)).toEqual(
        events.map(({ data }) => JSON.parse(data).type),
      )
      expect(events[0]?.event).toBe('message_start')
      expect(events.at(-1)?.event).toBe('message_stop')
      texts.push(text)
    }
    expect(texts[0]).toBe(texts[1])
    expect(site.upstream.requests).toHaveLength(1)
  })

  it('forwards the client’s feature headers, and caches answers for each set separately', async () => {
    await open()
    const version = { 'anthropic-version': '2023-06-01' }
    const beta = { ...version, 'anthropic-beta': 'context-1m-2025-08-07' }
    for (const headers of [version, beta, version, beta]) await ask({}, headers)
    expect(site.upstream.requests.map(({ headers }) => headers['anthropic-beta'])).toEqual([
      undefined,
      'context-1m-2025-08-07',
    ])
    expect(site.upstream.requests[0]?.headers['anthropic-version']).toBe('2023-06-01')
  })

  it('never forwards a client’s key unless key forwarding is on', async () => {
    await open()
    expect((await ask({}, { 'x-api-key': 'sk_own' })).status).toBe(200)
    const [seen] = site.upstream.requests
    expect(seen?.headers).not.toHaveProperty('x-api-key')
    await site[Symbol.asyncDispose]()
    await open({ forwardKeys: true }, { keys: ['sk_own'] })
    expect((await ask({}, { 'x-api-key': 'sk_own' })).status).toBe(200)
    expect((await ask({}, { authorization: 'Bearer sk_own' })).status).toBe(200)
    expect(site.upstream.requests[0]?.headers).not.toHaveProperty('x-api-key')
    const wrong = await ask({ max_tokens: 5 }, { 'x-api-key': 'sk_wrong' })
    expect([wrong.status, wrong.json.error.type]).toEqual([401, 'authentication_error'])
    // It is a key of Anthropic's clients alone.
    const chat = { body: { model: 'openai', messages: body.messages } }
    const headers = { 'x-api-key': 'sk_own' }
    expect((await site.ask('/v1/chat/completions', { ...chat, headers })).status).not.toBe(200)
  })

  it.each([
    [{ messages: [] }, undefined, 400, 'invalid_request_error'],
    [{ stream: 'yes' }, undefined, 400, 'invalid_request_error'],
    [{ model: 'unheard-of' }, undefined, 404, 'not_found_error'],
    [{}, { status: 422 }, 422, 'invalid_request_error'],
    [{}, { status: 429, retryAfter: 1, times: 9 }, 429, 'rate_limit_error'],
    [{}, { status: 500, times: 9 }, 502, 'api_error'],
    [{ stream: true }, { status: 500, times: 9 }, 502, 'api_error'],
  ])('answers %j and %j with an error in Anthropic’s shape', async (more, fault, status, type) => {
    await open()
    if (fault !== undefined) site.upstream.fault(fault)
    const answer = await ask(more)
    expect(answer.status).toBe(status)
    expect(answer.json).toEqual({
      type: 'error',
      error: { type, message: expect.any(String) },
      request_id: answer.headers['x-request-id'],
    })
  })

  it('uses the same error shape for a wrong method or body', async () => {
    await open({ mediaBodyLimit: 200, bodyLimit: 200 })
    const method = await site.ask('/v1/messages')
    const size = await ask({ system: 'x'.repeat(300) })
    expect([method.status, method.json.type]).toEqual([405, 'error'])
    expect([size.status, size.json.error.type]).toEqual([413, 'request_too_large'])
  })

  it('ends a stream that breaks before its last event with an error, and stores nothing', async () => {
    await open()
    for (const fault of [{ cutAfterChunks: 4 }, { endAfterChunks: 4 }]) {
      site.upstream.fault(fault)
      const { status, events } = await ask({ stream: true })
      const last = events.at(-1)
      expect([status, last?.event]).toEqual([200, 'error'])
      expect(JSON.parse(last?.data ?? '')).toMatchObject({
        type: 'error',
        error: { type: 'api_error', message: expect.any(String) },
      })
    }
    expect((await ask({ stream: true })).events.at(-1)?.event).toBe('message_stop')
    expect(site.upstream.requests).toHaveLength(3)
  })

  it('retries a stream that breaks before its first event', async () => {
    await open()
    site.upstream.fault({ cutAfterChunks: 0 })
    site.upstream.fault({ cutAfterChunks: 1 })
    const { events } = await ask({ stream: true })
    expect(events.at(-1)?.event).toBe('message_stop')
    expect(site.upstream.requests).toHaveLength(3)
  })
})

describe('the other routes of OpenAI', () => {
  it('return one model, by its id with a slash or by an alias', async () => {
    await open({}, { models: ['vendor/model'] })
    for (const path of ['/v1/models/openai', '/v1/models/openai-default', '/v1/models/openai/']) {
      const { status, json } = await site.ask(path)
      expect([path, status, json]).toEqual([path, 200, expect.objectContaining({ id: 'openai' })])
    }
    for (const path of ['/v1/models/vendor/model', '/v1/models/vendor%2Fmodel'])
      expect((await site.ask(path)).json).toMatchObject({ id: 'vendor/model' })
    const paths = site.upstream.requests.map((request) => request.path)
    expect(paths.slice(-1)).toEqual(['/v1/models/vendor%2Fmodel'])
    expect((await site.ask('/v1/models/unheard/of')).status).toBe(404)
  })

  it('do not know models that are not on the list', async () => {
    await open({ models: ['openai'] })
    const { status, json } = await site.ask('/v1/models/mistral')
    expect([status, json.error.code]).toEqual([404, 'not_found'])
    expect(site.upstream.requests).toHaveLength(0)
  })

  it.each(['..', '.', '%2e%2e', '..%2fchat'])('do not allow path traversal: %s', async (id) => {
    await open()
    const { status } = await site.ask(`/v1/models/${id}`)
    expect([400, 404]).toContain(status)
    for (const { path } of site.upstream.requests) expect(path).toMatch(/^\/v1\/models\/[^/]+$/)
  })

  it('complete text, whole and as a stream, fresh and from the cache', async () => {
    await open()
    const asked = { model: 'openai', prompt: 'Tulips' }
    for (const cache of ['MISS', 'HIT']) {
      const { json, headers } = await site.ask('/v1/completions', { body: asked })
      expect([headers['x-cache'], json.choices[0].text]).toEqual([cache, TEXT])
    }
    for (const cache of ['MISS', 'HIT']) {
      const { events, headers } = await site.ask('/v1/completions', {
        body: { ...asked, prompt: 'More tulips', stream: true },
      })
      const texts = events.slice(0, -1).map(({ data }) => JSON.parse(data).choices[0].text)
      expect([headers['x-cache'], texts.join('')]).toEqual([cache, TEXT])
      expect(events.at(-1)?.data).toBe('[DONE]')
    }
  })

  it('retry a text completion that breaks before the first chunk, but not after it', async () => {
    await open()
    const asked = { model: 'openai', prompt: 'Tulips', stream: true }
    site.upstream.fault({ cutAfterChunks: 0 })
    site.upstream.fault({ endAfterChunks: 3 })
    const { events } = await site.ask('/v1/completions', { body: asked })
    expect(JSON.parse(events.at(-1)?.data ?? '').error.code).toBe('stream')
    expect(site.upstream.requests).toHaveLength(2)
  })

  it('moderate text', async () => {
    await open()
    const { status, json } = await site.ask('/v1/moderations', { body: { input: ['a', 'b'] } })
    expect([status, json.results.length]).toEqual([200, 2])
    const none = await site.ask('/v1/moderations', { body: {} })
    expect([none.status, none.json.error.param]).toEqual([400, 'input'])
  })
})
