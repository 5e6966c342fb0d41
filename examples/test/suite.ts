/**
 * What the tests of the Express, Koa and Hono apps ask of the routes written by hand. Copy this
 * file and failures.ts beside a test of your own app, and change what your routes do otherwise.
 * Nothing here needs the network or a key.
 */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Blossom, breaker, createBlossom, rateLimit, timeout } from 'blossom-stack'
import { createGateway, type Gateway } from 'blossom-stack/http'
import { type LocalBlossom, startLocalBlossom } from 'blossom-stack/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { failures } from './failures.js'

/** An app that a test can call. */
export interface OpenApp {
  request(path: string, init: RequestInit): Response | Promise<Response>
  close(): void
}

/** The app behind a Node server. */
export async function behind(server: Server): Promise<OpenApp> {
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    request: (path, init) => fetch(url + path, init),
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

export function testApp(
  title: string,
  open: (blossom: Blossom<readonly unknown[]>, gateway: Gateway) => Promise<OpenApp>,
): void {
  describe(title, () => {
    let upstream: LocalBlossom
    let blossom: Blossom<readonly unknown[]>
    let app: OpenApp

    beforeEach(async () => {
      // The app logs the failures that these tests cause.
      vi.spyOn(console, 'error').mockImplementation(() => {})
      upstream = await startLocalBlossom()
      // Your layers, with times a test need not wait for. A call whose turn comes after its time is
      // up is refused at once.
      blossom = createBlossom({ apiKey: 'test', baseURL: upstream.url }).use(
        timeout({ ms: 1_000 }),
        breaker({ minimumCalls: 3 }),
        rateLimit({ by: 'all', requests: { limit: 20, burst: 20 } }),
      )
      app = await open(blossom, createGateway(blossom))
    })
    afterEach(async () => {
      vi.restoreAllMocks()
      await blossom.close()
      app.close()
      await upstream.close()
    })

    const post = async (path: string, body: object, init?: RequestInit) =>
      app.request(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        ...init,
      })

    it('answers with text', async () => {
      const answer = await post('/hand/text', { prompt: 'Hello' })
      expect(answer.status).toBe(200)
      expect(await answer.json()).toEqual({ text: expect.stringContaining('Hello') })
      expect(upstream.requests).toMatchObject([
        { body: { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 200 } },
      ])
    })

    it('streams it word by word', async () => {
      const answer = await post('/hand/stream', { prompt: 'Hello' })
      expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
      const events = (await answer.text()).trim().split('\n\n')
      expect(events.pop()).toBe('data: [DONE]')
      const words = events.map((event) => JSON.parse(event.slice('data: '.length)).text)
      expect(words.length).toBeGreaterThan(5)
      expect(words.join('')).toContain('Hello')
    })

    it('keeps the places of a batch when one of its calls fails', async () => {
      upstream.fault({ status: 500, match: ({ rawBody }) => rawBody.includes('two') })
      const answer = await post('/generate/batch', { prompts: ['one', 'two', 'three'] })
      expect(answer.status).toBe(200)
      const failed = { error: expect.objectContaining({ code: 'SERVER' }) }
      const results = [expect.stringContaining('one'), failed, expect.stringContaining('three')]
      expect(await answer.json()).toEqual({ total: 3, processed: 2, results })
    })

    it('refuses calls beyond its limit, and says when to retry', async () => {
      for (let call = 1; call <= 20; call++)
        expect((await post('/hand/text', { prompt: `Call ${call}` })).status).toBe(200)
      const answer = await post('/hand/text', { prompt: 'One too many' })
      expect(answer.status).toBe(429)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(upstream.requests).toHaveLength(20)
    })

    it.each(failures)(
      'answers $status $code when $name',
      async ({ fault, status, code, retryAfter }) => {
        upstream.fault(fault)
        const answer = await post('/hand/text', { prompt: 'Hello' })
        expect(answer.status).toBe(status)
        expect(answer.headers.get('content-type')).toBe('application/problem+json')
        expect(answer.headers.get('retry-after')).toBe(retryAfter ?? null)
        expect(await answer.json()).toMatchObject({ status, code })
      },
    )

    it('stops asking while upstream is down', async () => {
      upstream.fail(500, 3)
      for (let call = 1; call <= 3; call++)
        expect((await post('/hand/text', { prompt: `Call ${call}` })).status).toBe(502)
      const answer = await post('/hand/text', { prompt: 'One more' })
      expect(answer.status).toBe(503)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(await answer.json()).toMatchObject({ code: 'BREAKER_OPEN' })
      expect(upstream.requests).toHaveLength(3)
    })

    it('answers 400 to an unreadable request', async () => {
      for (const body of ['{', '[]', '{"prompt":""}', '{"prompt":7}']) {
        const answer = await post('/hand/text', {}, { body })
        expect(answer.status).toBe(400)
        expect(await answer.json()).toMatchObject({ code: 'VALIDATION' })
      }
      expect(upstream.requests).toEqual([])
    })

    it('tells the reader when a stream breaks off', async () => {
      upstream.fault({ cutAfterChunks: 3 })
      const text = await (await post('/hand/stream', { prompt: 'Hello' })).text()
      expect(text).toContain('event: error\ndata: [ERROR] {"code":"STREAM"')
      expect(text).not.toContain('[DONE]')
    })

    it('ends the call upstream when the reader leaves', async () => {
      upstream.fault({ stallAfterChunks: 3 })
      const answer = await post('/hand/stream', { prompt: 'Hello' })
      await answer.body?.cancel()
      await upstream.waitFor(({ active }) => active === 0)
      expect(upstream.requests).toMatchObject([{ outcome: 'aborted' }])
    })
  })
}
