import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RouteName } from '../../../src/gateway/index.js'
import type { Ask } from '../../support/http-client.js'
import { closeAll, comparable, openEach, type Site, sameFromEach } from '../../support/http-site.js'
import { PROMPT } from '../../support/secrets.js'

const prompt = PROMPT
const token = 'admin-token-of-the-tests'

let sites: Site[]
beforeAll(async () => {
  sites = await openEach({ gateway: { adminToken: token } })
})
afterAll(() => closeAll(sites))

const answerOf = (path: string, what: Ask = {}) =>
  sameFromEach(sites, async ({ ask }) => comparable(await ask(path, what)))

describe('paths', () => {
  test.each([
    ['/'],
    ['/nothing'],
    ['/generate'],
    ['/generate/'],
    ['/Generate/Text'],
    ['/generate/text/more'],
    ['/generate%2Ftext'],
    ['/v1'],
    ['/constructor'],
    ['/__proto__'],
    ['/health/live/'],
    ['/robots.txt'],
  ])('%s is an unknown path: 404, whatever the method', async (path) => {
    for (const what of [{}, { body: { prompt } }, { method: 'DELETE' }, { method: 'OPTIONS' }]) {
      const { status, headers, body } = await answerOf(path, what)
      expect(status).toBe(404)
      expect(headers).toMatchObject({
        'content-type': 'application/problem+json',
        'x-content-type-options': 'nosniff',
        'x-request-id': 'an id',
      })
      expect(body).toEqual({
        type: 'about:blank',
        title: 'Not Found',
        status: 404,
        detail: 'There is no such route.',
        code: 'NOT_FOUND',
        requestId: 'ID',
      })
    }
  })

  test.each([
    ['/generate/text/', { prompt }],
    ['/v1/chat/completions/', { messages: [{ role: 'user', content: 'Hello' }] }],
  ])('%s works without its trailing slash', async (path, body) => {
    expect((await answerOf(path, { body })).status).toBe(200)
    expect((await answerOf(`${path}?x`, { body })).status).toBe(200)
    expect((await answerOf(`${path}/`, { body })).status).toBe(404)
    expect((await answerOf(path)).headers.allow).toBe('POST')
  })

  test.each(['/v1/nothing', '/v1/threads', '/v1/', '/v1//models'])(
    '%s is a 404 that names what is served',
    async (path) => {
      for (const what of [{}, { body: {} }, { method: 'DELETE' }]) {
        const { status, headers, body } = await answerOf(path, what)
        expect([status, headers['content-type']]).toEqual([404, 'application/json; charset=utf-8'])
        expect(body.error).toEqual({
          message:
            'There is no such route. Use one of: POST /v1/chat/completions, POST /v1/messages, POST /v1/completions, POST /v1/embeddings, POST /v1/images/generations, POST /v1/audio/speech, GET /v1/models, GET /v1/models/{id}, POST /v1/moderations, POST /v1/images/edits, POST /v1/audio/transcriptions, POST /v1/responses.',
          type: 'invalid_request_error',
          code: 'not_found',
          param: null,
        })
      }
    },
  )

  test('the 404 names only routes that exist, and none when there are none', async () => {
    const messageWith = (routes: readonly RouteName[]) =>
      sameFromEach(
        { gateway: { routes } },
        async ({ ask }) => (await ask('/v1/nothing')).json.error.message,
      )
    expect(await messageWith(['health', 'v1-models'])).toBe(
      'There is no such route. Use one of: GET /v1/models.',
    )
    expect(await messageWith(['health'])).toBe('There is no such route.')
  })

  test.each([
    ['//cache/clear'],
    ['/cache/clear/'],
    ['/CACHE/CLEAR'],
    ['/cache//clear'],
    ['/cache%2Fclear'],
    ['/%63ache/clear'],
    ['/cache;x/clear'],
    ['/cache/clear%20'],
    ['/cache/clear%00'],
  ])('DELETE %s is not taken for /cache/clear, even with the token', async (path) => {
    const { status } = await answerOf(path, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${token}` },
    })
    expect(status).toBe(404)
  })

  // Web servers may collapse dots before anybody sees the path; the guard is the route's own, so
  // nothing is won by it.
  test.each([
    ['/./cache/clear'],
    ['/x/../cache/clear'],
    ['/%2e/cache/clear'],
    ['/x/%2e%2e/cache/clear'],
    ['/\\cache/clear'],
  ])('DELETE %s clears nothing without the token', async (path) => {
    for (const site of sites) {
      const { status } = await site.ask(path, { method: 'DELETE' })
      expect([400, 401, 404]).toContain(status)
    }
  })

  test('the query does not count as part of the path', async () => {
    expect((await answerOf('/health/live?x=/cache/clear')).body).toEqual({ status: 'ok' })
  })

  test('an absolute target or a foreign host leads nowhere', async () => {
    for (const site of sites) {
      expect((await site.ask('/health/live', { headers: { host: 'evil.example' } })).json).toEqual({
        status: 'ok',
      })
      expect(
        (await site.ask('http://evil.example/cache/clear', { method: 'DELETE' })).status,
      ).not.toBe(200)
    }
  })
})

describe('methods', () => {
  test.each([
    ['/generate/text', 'GET', 'POST'],
    ['/generate/text', 'PUT', 'POST'],
    ['/generate/text', 'HEAD', 'POST'],
    ['/generate/stream', 'GET', 'POST'],
    ['/generate/batch', 'PATCH', 'POST'],
    ['/generate/cached', 'DELETE', 'POST'],
    ['/health', 'POST', 'GET, HEAD'],
    ['/pool/stats', 'DELETE', 'GET, HEAD'],
    ['/cache/clear', 'GET', 'DELETE'],
    ['/cache/clear', 'POST', 'DELETE'],
    ['/generate/text', 'TRACE', 'POST'],
    ['/health', 'TRACE', 'GET, HEAD'],
    ['/v1/models', 'POST', 'GET, HEAD'],
    ['/generate/text', 'OPTIONS', 'POST'],
  ])('%s refuses %s: 405 with Allow', async (path, method, allow) => {
    const answer = await answerOf(path, { method })
    expect(answer).toMatchObject({
      status: 405,
      headers: { allow, 'x-content-type-options': 'nosniff' },
    })
    if (method === 'HEAD') expect(answer.body).toBe('')
    else if (path.startsWith('/v1')) expect(answer.body.error.code).toBe('validation')
    else
      expect(answer.body).toMatchObject({
        code: 'VALIDATION',
        title: 'Method Not Allowed',
        detail: `Method not allowed. Use ${allow}.`,
      })
  })

  test('HEAD is GET without the body', async () => {
    const { body, ...got } = await answerOf('/health/live')
    expect(body).toEqual({ status: 'ok' })
    expect(await answerOf('/health/live', { method: 'HEAD' })).toEqual({ ...got, body: '' })
  })

  test('neither GET nor HEAD generates', async () => {
    const requests = await sameFromEach(sites, async ({ ask, upstream }) => {
      const before = upstream.requests.length
      for (const path of [
        'text',
        'queued',
        'retry',
        'circuit-breaker',
        'cached',
        'batch',
        'stream',
      ]) {
        await ask(`/generate/${path}?prompt=hello`)
        await ask(`/generate/${path}?prompt=hello`, { method: 'HEAD' })
      }
      for (const path of [
        '/text/hello',
        '/image/hello',
        '/audio/hello',
        '/v1/chat/completions?prompt=hello',
      ])
        await ask(path)
      return upstream.requests.length - before
    })
    expect(requests).toBe(0)
  })
})

describe('DELETE /cache/clear', () => {
  test.each([
    ['no token', {}, 401],
    ['a wrong token', { authorization: 'Bearer admin-token-of-the-wrong' }, 403],
    ['a longer token', { authorization: `Bearer ${token}x` }, 403],
    ['the beginning of the token', { authorization: `Bearer ${token.slice(0, -1)}` }, 403],
    [
      'another scheme',
      { authorization: `Basic ${Buffer.from(`admin:${token}`).toString('base64')}` },
      401,
    ],
    ['a bare token', { authorization: token }, 401],
    ['an empty token', { authorization: 'Bearer ' }, 401],
    ['the token in a cookie', { cookie: `token=${token}` }, 401],
  ])('with %s is refused and clears nothing', async (_name, headers, expected) => {
    const outcome = await sameFromEach(sites, async ({ ask }) => {
      await ask('/generate/cached', { body: { prompt } })
      const answer = comparable(
        await ask('/cache/clear', { method: 'DELETE', headers: headers as Record<string, string> }),
      )
      return { answer, cached: (await ask('/generate/cached', { body: { prompt } })).json.cached }
    })
    expect(outcome).toMatchObject({
      cached: true,
      answer: { status: expected, body: { code: expected === 401 ? 'AUTH' : 'FORBIDDEN' } },
    })
    expect(outcome.answer.headers['www-authenticate']).toBe(expected === 401 ? 'Bearer' : undefined)
    expect(JSON.stringify(outcome.answer)).not.toContain(token)
  })

  test('does not accept a token in the query', async () => {
    expect((await answerOf(`/cache/clear?token=${token}`, { method: 'DELETE' })).status).toBe(401)
  })

  test.each(['Bearer', 'bearer', 'BEARER'])('clears with the token as %s', async (scheme) => {
    const outcome = await sameFromEach(sites, async ({ ask }) => {
      await ask('/generate/cached', { body: { prompt } })
      const answer = comparable(
        await ask('/cache/clear', {
          method: 'DELETE',
          headers: { authorization: `${scheme} ${token}` },
        }),
      )
      return { answer, cached: (await ask('/generate/cached', { body: { prompt } })).json.cached }
    })
    expect(outcome).toMatchObject({
      cached: false,
      answer: { status: 200, body: { message: 'Cache cleared' } },
    })
  })

  test('refuses everybody when no token is configured', async () => {
    const answer = await sameFromEach({}, async ({ ask }) =>
      comparable(
        await ask('/cache/clear', {
          method: 'DELETE',
          headers: { authorization: 'Bearer undefined' },
        }),
      ),
    )
    expect(answer).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
  })
})

describe('CORS', () => {
  const origin = 'https://app.example'
  const preflight = (from: string, method = 'POST'): Ask => ({
    method: 'OPTIONS',
    headers: {
      origin: from,
      'access-control-request-method': method,
      'access-control-request-headers': 'content-type, x-stainless-lang',
    },
  })
  const corsOf = (headers: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(
      Object.entries(headers).filter(
        ([name]) => name.startsWith('access-control-') || name === 'vary',
      ),
    )

  test('sends no CORS headers by default, and treats a preflight as a wrong method', async () => {
    const plain = await answerOf('/generate/text', { body: { prompt }, headers: { origin } })
    const flight = await answerOf('/generate/text', preflight(origin))
    expect(plain.status).toBe(200)
    expect(flight.status).toBe(405)
    expect([corsOf(plain.headers), corsOf(flight.headers)]).toEqual([{}, {}])
  })

  describe('with an allow-list', () => {
    let listed: Site[]
    beforeAll(async () => {
      listed = await openEach({ gateway: { corsOrigins: [origin, 'http://localhost:3000'] } })
    })
    afterAll(() => closeAll(listed))
    const corsFor = (path: string, what: Ask) =>
      sameFromEach(listed, async ({ ask }) => {
        const { status, headers } = comparable(await ask(path, what))
        return { status, cors: corsOf(headers) }
      })
    const allowed = {
      'access-control-allow-origin': origin,
      'access-control-expose-headers':
        'x-request-id, x-process-time, x-cache, x-blossom-model, x-stream-id, server-timing, retry-after, x-should-retry, ratelimit, ratelimit-policy, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens',
      vary: 'origin',
    }

    test('an allowed origin may read every answer, errors and streams included', async () => {
      const headers = { origin }
      expect(await corsFor('/generate/text', { body: { prompt }, headers })).toEqual({
        status: 200,
        cors: allowed,
      })
      expect(await corsFor('/generate/stream', { body: { prompt }, headers })).toEqual({
        status: 200,
        cors: allowed,
      })
      expect(await corsFor('/generate/text', { body: {}, headers })).toEqual({
        status: 400,
        cors: allowed,
      })
      expect(await corsFor('/nothing', { headers })).toEqual({ status: 404, cors: allowed })
    })

    test.each([
      ['another origin', 'https://evil.example'],
      ['a longer name', 'https://app.example.evil.example'],
      ['another scheme', 'http://app.example'],
      ['another port', 'https://app.example:8443'],
      ['another case', 'https://APP.example'],
      ['null', 'null'],
      ['the star itself', '*'],
    ])('%s may read nothing', async (_name, from) => {
      expect(
        await corsFor('/generate/text', { body: { prompt }, headers: { origin: from } }),
      ).toEqual({
        status: 200,
        cors: { vary: 'origin' },
      })
      expect(await corsFor('/generate/text', preflight(from))).toEqual({
        status: 405,
        cors: { vary: 'origin' },
      })
    })

    test('a request without an origin gets an answer that varies by origin', async () => {
      expect(await corsFor('/health', {})).toEqual({ status: 200, cors: { vary: 'origin' } })
    })

    test('a preflight is answered with the route’s methods, for any header and never for credentials', async () => {
      const { status, cors } = await corsFor('/generate/text', preflight(origin))
      expect(status).toBe(204)
      expect(cors).toEqual({
        ...allowed,
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers':
          'authorization, content-type, cache-control, x-request-id, last-event-id, x-stream-resumable, idempotency-key, *',
        'access-control-max-age': '600',
      })
      expect(
        (await corsFor('/health', preflight(origin, 'GET'))).cors['access-control-allow-methods'],
      ).toBe('GET, HEAD')
    })

    test.each(['/nothing', '/v1/nothing'])(
      'a preflight of %s is answered, so that the page can read the 404',
      async (path) => {
        const { status, cors } = await corsFor(path, preflight(origin))
        expect([status, cors['access-control-allow-methods']]).toEqual([
          204,
          'GET, HEAD, POST, PUT, PATCH, DELETE',
        ])
        expect(await corsFor(path, { body: {}, headers: { origin } })).toEqual({
          status: 404,
          cors: allowed,
        })
        const foreign = await corsFor(path, preflight('https://evil.example'))
        expect(foreign).toEqual({ status: 404, cors: { vary: 'origin' } })
      },
    )

    test('OPTIONS that is not a preflight is a wrong method', async () => {
      expect(
        (await corsFor('/generate/text', { method: 'OPTIONS', headers: { origin } })).status,
      ).toBe(405)
    })
  })

  test('a star lets all origins read, but never with credentials', async () => {
    const cors = await sameFromEach({ gateway: { corsOrigins: ['*'] } }, async ({ ask }) =>
      corsOf(
        comparable(await ask('/health', { headers: { origin: 'https://anywhere.example' } }))
          .headers,
      ),
    )
    expect(cors).toEqual({
      'access-control-allow-origin': '*',
      'access-control-expose-headers': expect.any(String),
    })
  })
})

describe('headers', () => {
  test('keeps a caller’s request id, in the header and in the problem', async () => {
    const headers = { 'x-request-id': 'abc.DEF:12_3-4' }
    const good = await answerOf('/health/live', { headers })
    const bad = await answerOf('/generate/text', { body: {}, headers })
    expect(good.headers['x-request-id']).toBe('abc.DEF:12_3-4')
    expect(bad.body.requestId).toBe('abc.DEF:12_3-4')
  })

  test.each([['two words'], ['<script>'], ['x'.repeat(65)], ['ünïcode'], ['a,b'], ['']])(
    'replaces the request id %j with one of ours',
    async (given) => {
      const id = (
        await sites[0]!.ask('/health/live', {
          headers: { 'x-request-id': Buffer.from(given).toString('latin1') },
        })
      ).headers['x-request-id']
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
    },
  )

  test('gives every answer its own id', async () => {
    const ids = await Promise.all(
      Array.from(
        { length: 20 },
        async () => (await sites[0]!.ask('/health/live')).headers['x-request-id'],
      ),
    )
    expect(new Set(ids).size).toBe(20)
  })

  test('no header reveals what the server runs on', async () => {
    const { headers } = await answerOf('/generate/text', { body: { prompt } })
    expect(Object.keys(headers).filter((name) => /powered|server$|via|version/.test(name))).toEqual(
      [],
    )
  })

  test('no header echoes what a caller sent', async () => {
    const evil = 'evil\u2028header'
    const { headers } = await answerOf('/generate/text', {
      body: { prompt: `${evil}\r\nset-cookie: a=b`, model: 'openai' },
    })
    expect(JSON.stringify(headers)).not.toContain('evil')
    expect(headers['set-cookie']).toBeUndefined()
  })
})
