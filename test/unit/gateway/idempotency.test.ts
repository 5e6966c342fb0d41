import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pool } from '../../../src/index.js'
import { fakeClock } from '../../../src/testing/index.js'
import { ExpressFramework } from '../../support/http-frameworks.js'
import { heldStack, openSite, type Site, until } from '../../support/http-site.js'

const body = { model: 'openai', messages: [{ role: 'user', content: 'Hello' }] }
const other = { ...body, temperature: 1 }
const KEYED = { 'idempotency-key': 'key-1' }
/** So that the cache itself has no part in it. */
const UNCACHED = { ...KEYED, 'cache-control': 'no-store' }

describe('Idempotency-Key', () => {
  let site: Site
  const open = async (options: Parameters<typeof openSite>[1] = {}) => {
    site = await openSite(ExpressFramework, {
      ...options,
      upstream: { coalesce: false, ...options?.upstream },
    })
  }
  beforeEach(() => open())
  afterEach(() => site[Symbol.asyncDispose]())
  const ask = (
    sent: object = body,
    headers: Record<string, string> = UNCACHED,
    path = '/v1/chat/completions',
  ) => site.ask(path, { body: sent, headers })
  const requests = () => site.upstream.requests.length

  it('gives the same answer again, as JSON and as a stream, whatever the order of fields', async () => {
    const first = await ask()
    const { messages, model } = body
    const again = await ask({ messages, model })
    expect([again.status, again.text, again.headers['x-cache']]).toEqual([200, first.text, 'HIT'])
    const headers = { ...UNCACHED, 'idempotency-key': 'key-2' }
    const stream = await ask({ ...body, stream: true }, headers)
    const replayed = await ask({ ...body, stream: true }, headers)
    expect(replayed.text).toBe(stream.text)
    expect(replayed.headers['content-type']).toBe(stream.headers['content-type'])
    expect(requests()).toBe(2)
  })

  it('refuses a different body with 409', async () => {
    await ask()
    const { status, json } = await ask(other)
    expect([status, json.error.type]).toEqual([409, 'invalid_request_error'])
    expect(requests()).toBe(1)
  })

  it('keeps routes, tenants and keys apart', async () => {
    await site[Symbol.asyncDispose]()
    await open({
      gateway: { call: ({ headers }: Request) => ({ tenant: headers.get('x-user') ?? undefined }) },
    })
    await ask(body, { ...UNCACHED, 'x-user': 'a' })
    expect((await ask(other, { ...UNCACHED, 'x-user': 'b' })).status).toBe(200)
    expect(
      (await ask(other, { ...UNCACHED, 'idempotency-key': 'key-2', 'x-user': 'a' })).status,
    ).toBe(200)
    const message = { ...body, max_tokens: 5 }
    expect((await ask(message, { ...UNCACHED, 'x-user': 'a' }, '/v1/messages')).status).toBe(200)
    expect(requests()).toBe(4)
  })

  it('stores no failures', async () => {
    site.upstream.fault({ status: 422 })
    expect((await ask()).status).toBe(422)
    expect((await ask()).status).toBe(200)
    site.upstream.fault({ cutAfterChunks: 3 })
    const streamed = { ...UNCACHED, 'idempotency-key': 'key-2' }
    expect((await ask({ ...body, stream: true }, streamed)).text).not.toContain('[DONE]')
    expect((await ask({ ...body, stream: true }, streamed)).text).toContain('[DONE]')
  })

  it('joins a running request, which continues when the first client leaves', async () => {
    await site[Symbol.asyncDispose]()
    await open({ layers: heldStack })
    const first = ask()
    const second = ask()
    const conflict = ask(other)
    expect((await conflict).status).toBe(409)
    site.gate.open()
    expect((await first).text).toBe((await second).text)
    expect(requests()).toBe(1)
    site.upstream.fault({ hang: true })
    const headers = { ...UNCACHED, 'idempotency-key': 'key-2' }
    const leaving = new AbortController()
    const left = fetch(`${site.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: leaving.signal,
    }).catch(() => 'left')
    await until(requests, (count) => count === 2)
    const waiting = ask(body, headers)
    await site.upstream.waitFor(({ active }) => active === 1)
    leaving.abort()
    expect(await left).toBe('left')
    expect((await waiting).status).toBe(200)
    expect(requests()).toBe(3)
  })

  it('forgets after 24 hours', async () => {
    const clock = fakeClock()
    try {
      await ask()
      await clock.advance(24 * 3_600_000 - 1)
      await ask()
      expect(requests()).toBe(1)
      await clock.advance(1)
      expect((await ask(other)).status).toBe(200)
      expect(requests()).toBe(2)
    } finally {
      clock.restore()
    }
  })

  it('is refused when invalid, and ignored without a cache', async () => {
    const long = { 'idempotency-key': 'x'.repeat(256) }
    expect((await ask(body, long)).status).toBe(400)
    await site[Symbol.asyncDispose]()
    await open({ layers: () => [pool()] })
    for (const sent of [body, other]) expect((await ask(sent, long)).status).toBe(200)
    expect(requests()).toBe(2)
  })
})
