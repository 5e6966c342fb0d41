import { expect } from 'vitest'
import type { RequestLog } from '../../../src/gateway/index.js'
import type { LocalBlossom } from '../../../src/testing/index.js'
import type { Answer, Ask } from '../../support/http-client.js'

/** A client of the mounted gateway, by HTTP/1 or HTTP/2. */
export interface MountClient {
  ask(path: string, what?: Ask): Promise<Answer>
  /** Sends, waits until the answer's body has begun or for something else, and leaves. */
  leave(path: string, what: Ask, when: 'begun' | Promise<unknown>): Promise<void>
}

/** A server in a process of its own with the gateway in it. */
export interface Mounted {
  readonly client: MountClient
  readonly upstream: LocalBlossom
  /** What comes before the gateway's routes. */
  readonly prefix: string
  /** Resolves with the line that the gateway has logged for a request. */
  logged(requestId: string): Promise<RequestLog>
  /** The stack's stats. */
  stats(): Promise<Stats>
}

export interface Stats {
  readonly queue: { readonly running: number }
  readonly pool: { readonly active: number }
}

/** What a server has, so that a check makes sense. */
export type Trait =
  /** Something else answers outside the mount. */
  | 'hasFramework'
  /** Unknown paths under the mount, outside `/v1/`, go on to the framework. */
  | 'fallsThrough'
  | 'parses'
  | 'compresses'
  /** A middleware sets request ids on the response's header and on `req.id`. */
  | 'setsIds'

export interface Check {
  readonly name: string
  readonly needs?: Trait
  run(mounted: Mounted): Promise<void>
}

const CHAT = '/v1/chat/completions'
const PAGE = 'https://page.example'

/** How long upstream may go on for a client who has left. Milliseconds. */
const STOPS_WITHIN_MS = 500

let asked = 0
/** A question that no cache has seen, by a client who brings an id. */
function chat(more: object = {}, headers: Record<string, string> = {}): Ask & { id: string } {
  const id = `check-${++asked}`
  const messages = [{ role: 'user', content: `Question ${asked}` }]
  return {
    id,
    headers: { 'x-request-id': id, ...headers },
    body: { model: 'openai', messages, ...more },
  }
}

/** Upstream has stopped and the stack holds nothing any more. */
async function expectStopped({ upstream, stats }: Mounted, since: number): Promise<void> {
  await upstream.waitFor(({ active }) => active === 0, 5_000)
  expect(performance.now() - since).toBeLessThan(STOPS_WITHIN_MS)
  await expect
    .poll(async () => {
      const { queue, pool } = await stats()
      return [queue.running, pool.active]
    })
    .toEqual([0, 0])
}

/** The one table of checks that every mount passes. */
export const checks: readonly Check[] = [
  {
    name: 'answers a JSON call',
    async run({ client, prefix }) {
      const { status, json, headers } = await client.ask(prefix + CHAT, chat())
      expect(status).toBe(200)
      expect(json).toMatchObject({
        object: 'chat.completion',
        choices: [{ message: { content: expect.stringContaining('Question') } }],
      })
      expect(headers).toMatchObject({
        'content-type': expect.stringMatching(/^application\/json/),
        'x-request-id': expect.any(String),
        'x-content-type-options': 'nosniff',
      })
    },
  },
  {
    name: 'streams to the end',
    async run({ client, prefix, logged }) {
      const what = chat({ stream: true })
      const { status, headers, events } = await client.ask(prefix + CHAT, what)
      expect([status, headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8'])
      expect(events.length).toBeGreaterThan(5)
      expect(events.at(-1)?.data).toBe('[DONE]')
      expect(await logged(what.id)).toMatchObject({ status: 200, route: CHAT })
    },
  },
  {
    name: 'stops upstream when a stream is left half-way, and logs 499',
    async run(mounted) {
      const { client, prefix, upstream, logged } = mounted
      const what = chat({ stream: true })
      upstream.fault({ stallAfterChunks: 3 })
      await client.leave(prefix + CHAT, what, 'begun')
      await expectStopped(mounted, performance.now())
      expect(await logged(what.id)).toMatchObject({ status: 499, route: CHAT })
    },
  },
  {
    name: 'stops upstream when a JSON call is left, and logs 499',
    async run(mounted) {
      const { client, prefix, upstream, logged } = mounted
      const what = chat()
      upstream.fault({ hang: true })
      const begun = upstream.waitFor(({ active }) => active === 1, 5_000)
      await client.leave(prefix + CHAT, what, begun)
      await expectStopped(mounted, performance.now())
      expect(await logged(what.id)).toMatchObject({ status: 499, route: CHAT })
    },
  },
  {
    name: 'answers an error before the commit with its status, plain and streamed',
    async run({ client, prefix, upstream }) {
      for (const stream of [false, true]) {
        upstream.fail(400)
        const { status, json, headers } = await client.ask(prefix + CHAT, chat({ stream }))
        expect([status, headers['content-type']]).toEqual([400, 'application/json; charset=utf-8'])
        expect(json).toEqual({
          error: expect.objectContaining({
            type: 'invalid_request_error',
            message: expect.any(String),
          }),
        })
      }
      upstream.fail(400)
      expect(
        await client.ask(`${prefix}/generate/text`, { body: { prompt: 'Hello' } }),
      ).toMatchObject({ status: 400, headers: { 'content-type': 'application/problem+json' } })
    },
  },
  {
    name: 'sends an error after the commit as an event, without [DONE]',
    async run({ client, prefix, upstream }) {
      upstream.fault({ cutAfterChunks: 3 })
      const { status, events } = await client.ask(prefix + CHAT, chat({ stream: true }))
      expect(status).toBe(200)
      expect(JSON.parse(events.at(-1)!.data)).toMatchObject({ error: { type: 'server_error' } })
      expect(events.map(({ data }) => data)).not.toContain('[DONE]')
    },
  },
  {
    name: 'names what is served for an unknown path below /v1/',
    async run({ client, prefix }) {
      const asks: [string, Ask][] = [
        ['/v1/nothing', {}],
        ['/v1/threads', { body: {} }],
        ['/v1/', {}],
      ]
      for (const [path, what] of asks) {
        const { status, json, headers } = await client.ask(prefix + path, what)
        expect([path, status]).toEqual([path, 404])
        expect(headers['content-type']).toBe('application/json; charset=utf-8')
        expect(json.error).toMatchObject({ type: 'invalid_request_error', code: 'not_found' })
        expect(json.error.message).toContain('POST /v1/chat/completions')
        expect(json.error.message).toContain('GET /v1/models')
      }
    },
  },
  {
    name: 'leaves paths outside the mount to the framework',
    needs: 'hasFramework',
    async run({ client, prefix }) {
      for (const path of ['/elsewhere', `${prefix}x/health`, CHAT])
        expect((await client.ask(path)).json).toEqual({ framework: path })
    },
  },
  {
    name: 'leaves unknown paths below the mount to the framework',
    needs: 'fallsThrough',
    async run({ client, prefix }) {
      for (const path of [`${prefix}/nothing`, `${prefix}/v1x`])
        expect((await client.ask(path)).json).toEqual({ framework: path })
    },
  },
  {
    name: 'answers preflights, of unknown routes too, and lets the page read the 404',
    async run({ client, prefix }) {
      const headers = {
        origin: PAGE,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, content-type, cache-control',
      }
      for (const path of [CHAT, '/v1/nothing']) {
        const preflight = await client.ask(prefix + path, { method: 'OPTIONS', headers })
        expect([path, preflight.status]).toEqual([path, 204])
        expect(preflight.headers['access-control-allow-origin']).toBe(PAGE)
        expect(preflight.headers['access-control-allow-methods']).toContain('POST')
        expect(preflight.headers['access-control-allow-headers']).toContain('cache-control')
      }
      const answer = await client.ask(`${prefix}/v1/nothing`, {
        headers: { origin: PAGE },
        body: {},
      })
      expect([answer.status, answer.headers['access-control-allow-origin']]).toEqual([404, PAGE])
    },
  },
  {
    name: 'answers a wrong method with 405',
    async run({ client, prefix }) {
      const { status, headers } = await client.ask(prefix + CHAT)
      expect([status, headers.allow]).toEqual([405, 'POST'])
    },
  },
  {
    name: 'uses the body that the framework has parsed',
    needs: 'parses',
    async run({ client, prefix }) {
      expect((await client.ask(prefix + CHAT, chat())).status).toBe(200)
      const wrong = await client.ask(prefix + CHAT, { body: { messages: [] } })
      expect([wrong.status, wrong.json.error.type]).toEqual([400, 'invalid_request_error'])
    },
  },
  {
    name: 'takes a body with a picture in it',
    async run({ client, prefix }) {
      const url = `data:image/png;base64,${'A'.repeat(3_000_000)}`
      const content = [{ type: 'image_url', image_url: { url } }]
      const { status } = await client.ask(
        prefix + CHAT,
        chat({ messages: [{ role: 'user', content }] }),
      )
      expect(status).toBe(200)
    },
  },
  {
    name: 'adopts the request id that the operator’s middleware has set',
    needs: 'setsIds',
    async run({ client, prefix, logged }) {
      for (const header of ['x-set-header', 'x-set-req-id']) {
        const id = `operators-${++asked}`
        const { headers } = await client.ask(prefix + CHAT, chat({}, { [header]: id }))
        expect([header, headers['x-request-id']]).toEqual([header, id])
        expect(await logged(id)).toMatchObject({ status: 200 })
      }
    },
  },
  {
    name: 'is not held back by the framework’s compression, which takes JSON',
    needs: 'compresses',
    async run({ client, prefix, upstream }) {
      const headers = { 'accept-encoding': 'gzip' }
      // Upstream is silent after three chunks: what has begun to arrive was not held back.
      upstream.fault({ stallAfterChunks: 3 })
      await client.leave(prefix + CHAT, chat({ stream: true }, headers), 'begun')
      await upstream.waitFor(({ active }) => active === 0, 5_000)
      const streamed = await client.ask(prefix + CHAT, chat({ stream: true }, headers))
      expect(streamed.headers['content-encoding']).toBeUndefined()
      const whole = await client.ask(`${prefix}/openapi.json`, { headers })
      expect(whole.headers['content-encoding']).toBe('gzip')
    },
  },
]
