import { describe, expect, it } from 'vitest'
import { createBlossom, retry } from '../../../../src/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { keyedUpstream } from '../../../support/keyed-upstream.js'

const quick = { minDelayMs: 0, maxDelayMs: 0, budget: false } as const
const messages = [{ role: 'user', content: 'Hello' }]

describe('createBlossom', () => {
  const site = keyedUpstream()
  const { client } = site

  describe('request', () => {
    it('returns parsed JSON', async () => {
      await expect(client().request({ path: '/account/balance' })).resolves.toEqual({
        balance: 100,
      })
      const made = await client().request<{ data: unknown[] }>({
        path: '/v1/images/generations',
        body: { prompt: 'x', response_format: 'url' },
      })
      expect(made.data).toHaveLength(1)
      expect(site.upstream.requests.map(({ method }) => method)).toEqual(['GET', 'POST'])
    })

    it('returns other answers as bytes with their type', async () => {
      const { bytes, contentType } = await client().request<{
        bytes: Uint8Array
        contentType: string
      }>({ path: '/text/Hello?seed=1' })
      expect(Buffer.from(bytes).toString()).toContain('Hello')
      expect(contentType).toBe('text/plain; charset=utf-8')
    })

    it('returns an empty answer as zero bytes', async () => {
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

    it('returns a stream when the body asks for one', async () => {
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

    it('streams the events of other paths, whatever they contain', async () => {
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
      site.upstream.fail(503, 2)
      const blossom = client().use(retry(quick))
      await expect(blossom.request({ path: '/account/balance' })).resolves.toEqual({ balance: 100 })
      expect(blossom.stats().retry.retries).toBe(2)
    })
  })
})
