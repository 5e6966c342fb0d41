import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ExpressFramework, frameworks, KoaFramework } from '../../../support/http-frameworks.js'
import {
  comparable,
  heldStack,
  openSite,
  type SiteOptions,
  sameFromEach,
  until,
} from '../../../support/http-site.js'
import { spy } from '../../../support/layers.js'
import { KEY, PROMPT as prompt } from '../../../support/secrets.js'

const body = { prompt }

describe('who the caller is', () => {
  const known: SiteOptions = {
    around: { authentication: true },
    gateway: ({ userOf }) => ({
      call: (_, platform) => {
        const user = userOf(platform)
        if (user === undefined)
          return new Response('Who are you?', {
            status: 401,
            headers: { 'www-authenticate': 'Basic', 'x-mine': 'yes' },
          })
        return { tenant: user, clientAddress: '192.0.2.1' }
      },
    }),
  }
  const as = (user: string) => ({ body, headers: { 'x-user': user } })

  test('tenants never share an answer, whether stored or in progress', async () => {
    const outcome = await sameFromEach(
      { ...known, layers: heldStack },
      async ({ ask, upstream, gate, blossom, log }) => {
        const crowd = ['ann', 'ann', 'bob', 'bob'].map((user) => ask('/generate/cached', as(user)))
        await until(
          () => blossom.stats() as unknown as { dedupe: { joined: number; inFlight: number } },
          ({ dedupe }) => dedupe.joined === 2 && dedupe.inFlight === 2,
        )
        gate.open()
        await Promise.all(crowd)
        const underWay = upstream.requests.length
        const stored = [
          await ask('/generate/cached', as('ann')),
          await ask('/generate/cached', as('bob')),
          await ask('/generate/cached', as('cid')),
        ]
        return {
          underWay,
          cached: stored.map(({ json }) => json.cached),
          requests: upstream.requests.length,
          log: [log.at(-1)!.tenant, log.at(-1)!.clientAddress],
        }
      },
    )
    expect(outcome).toEqual({
      underWay: 2,
      cached: [true, true, false],
      requests: 3,
      log: ['cid', '192.0.2.1'],
    })
  })

  test('a returned Response refuses the call unchanged, before the body is read or anything is spent', async () => {
    const outcome = await sameFromEach(known, async ({ ask, upstream }) => {
      const answers = [
        await ask('/generate/text', { body }),
        await ask('/v1/chat/completions', { body: { messages: [] } }),
        await ask('/generate/text', { body: 'no JSON', headers: { 'content-type': 'text/plain' } }),
        await ask('/pool/stats'),
      ]
      return { answers: answers.map(comparable), requests: upstream.requests.length }
    })
    expect(outcome.requests).toBe(0)
    for (const answer of outcome.answers) {
      expect(answer).toMatchObject({ status: 401, body: 'Who are you?' })
      expect(answer.headers).toMatchObject({
        'www-authenticate': 'Basic',
        'x-mine': 'yes',
        'x-request-id': 'an id',
        'x-content-type-options': 'nosniff',
      })
    }
  })

  test('probes and the admin are not asked for a caller: probes have no credentials, the admin has a token', async () => {
    const gateway: SiteOptions['gateway'] = {
      adminToken: 'admin-token-of-the-tests',
      call: () => new Response(null, { status: 403 }),
    }
    const outcome = await sameFromEach({ gateway }, async ({ ask }) => [
      (await ask('/health')).status,
      (await ask('/health/live')).status,
      (await ask('/health/ready')).status,
      (
        await ask('/cache/clear', {
          method: 'DELETE',
          headers: { authorization: 'Bearer admin-token-of-the-tests' },
        })
      ).status,
      (await ask('/cache/clear', { method: 'DELETE' })).status,
      (await ask('/queue/stats')).status,
    ])
    expect(outcome).toEqual([200, 200, 200, 200, 401, 403])
  })

  test('a redirect to a login keeps its location and its cookies', async () => {
    const call = () => {
      const response = new Response(null, {
        status: 302,
        headers: { location: 'https://login.example/' },
      })
      response.headers.append('set-cookie', 'a=1; HttpOnly')
      response.headers.append('set-cookie', 'b=2')
      return response
    }
    for (const framework of frameworks) {
      await using site = await openSite(framework, { gateway: { call } })
      const { status, headers } = await site.ask('/generate/text', { body })
      expect([status, headers.location]).toEqual([302, 'https://login.example/'])
      // Koa joins what it is given.
      if (framework !== KoaFramework)
        expect(headers['set-cookie']).toEqual(['a=1; HttpOnly', 'b=2'])
    }
  })

  class ForeignResponse {
    readonly status = 403
    readonly headers = new Headers({ 'x-foreign': 'yes' })
    async arrayBuffer() {
      return new TextEncoder().encode('Not you.').buffer
    }
  }

  test('a Response from another implementation refuses, too', async () => {
    const outcome = await sameFromEach(
      { gateway: { call: () => new ForeignResponse() as never } },
      async ({ ask, upstream }) => {
        const { status, text, headers } = await ask('/generate/text', { body })
        return { status, text, foreign: headers['x-foreign'], requests: upstream.requests.length }
      },
    )
    expect(outcome).toEqual({ status: 403, text: 'Not you.', foreign: 'yes', requests: 0 })
  })

  test.each([
    ['false', () => false],
    ['a string', () => 'no'],
    ['a numeric tenant', () => ({ tenant: 5 })],
    ['an empty tenant', () => ({ tenant: '' })],
    ['a misspelt name', () => ({ tennant: 'x' })],
    ['a priority that is no number', () => ({ priority: 'high' })],
    [
      'an exception',
      () => {
        throw new Error(`secret ${KEY}`)
      },
    ],
    ['a rejection', () => Promise.reject(new Error(`secret ${KEY}`))],
  ])('%s instead of a caller lets nobody in', async (_name, call) => {
    const outcome = await sameFromEach(
      { gateway: { call: call as never } },
      async ({ ask, upstream, errors }) => {
        const { status, json, text } = await ask('/generate/text', { body })
        return {
          status,
          detail: json.detail,
          leaks: text.includes('secret'),
          requests: upstream.requests.length,
          told: errors.length,
        }
      },
    )
    expect(outcome).toEqual({
      status: 500,
      detail: 'An unexpected error occurred.',
      leaks: false,
      requests: 0,
      told: 1,
    })
  })

  test('undefined, a promise of it and null stand for everybody', async () => {
    for (const call of [() => undefined, async () => undefined, () => null as never, () => ({})]) {
      await using site = await openSite(ExpressFramework, { gateway: { call } })
      expect((await site.ask('/generate/text', { body })).status).toBe(200)
    }
  })

  test('the callback gets the request’s own method, headers and address', async () => {
    const outcome = await sameFromEach(
      {
        around: { mount: '/ai' },
        gateway: ({ prefix }) => ({
          prefix: prefix('/ai'),
          call: ({ method, headers, url }) =>
            new Response(`${method} ${headers.get('x-user')} ${new URL(url).search}`, {
              status: 418,
            }),
        }),
      },
      async ({ ask }) => (await ask('/ai/generate/text?a=b', as('ann'))).text,
    )
    expect(outcome).toBe('POST ann ?a=b')
  })

  test('tenant and priority reach the layers', async () => {
    const layer = spy()
    await using site = await openSite(ExpressFramework, {
      layers: () => [layer as never],
      gateway: { call: () => ({ tenant: 'ann', priority: 7 }) },
    })
    await site.ask('/generate/text', { body })
    expect(layer.context).toMatchObject({ tenant: 'ann', priority: 7, cache: 'no-store' })
    await site.ask('/v1/chat/completions', { body: { messages: [{ role: 'user', content: 'a' }] } })
    expect(layer.context).toMatchObject({ tenant: 'ann', priority: 7, cache: 'default' })
  })
})

describe('the caller’s own key', () => {
  const callers = 'sk_the-callers-own-key'
  const sha = (key: string) => createHash('sha256').update(key).digest('hex')
  const bearer = (key: string) => ({ body, headers: { authorization: `Bearer ${key}` } })
  const upstream = { keys: [KEY, callers, 'sk_another-caller'] }

  test('is ignored unless the owner says otherwise', async () => {
    const keys = await sameFromEach({ upstream }, async ({ ask, upstream }) => {
      await ask('/generate/text', bearer(callers))
      await ask('/v1/chat/completions', {
        ...bearer(callers),
        body: { messages: [{ role: 'user', content: 'a' }] },
      })
      return upstream.requests.map(({ keySha256 }) => keySha256)
    })
    expect(keys).toEqual([sha(KEY), sha(KEY)])
  })

  test('pays when it is forwarded; otherwise the server’s key does', async () => {
    const keys = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        await ask('/generate/text', bearer(callers))
        await ask('/generate/stream', bearer(callers))
        await ask('/generate/batch', { ...bearer(callers), body: { prompts: ['a'] } })
        await ask('/v1/models', { headers: { authorization: `Bearer ${callers}` } })
        await ask('/generate/text', { body })
        return upstream.requests.map(({ keySha256 }) => keySha256)
      },
    )
    expect(keys).toEqual([sha(callers), sha(callers), sha(callers), sha(callers), sha(KEY)])
  })

  test('separates cached answers by the key that paid for them', async () => {
    const cached = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask }) => {
        const seen = []
        for (const key of [callers, callers, 'sk_another-caller', KEY])
          seen.push((await ask('/generate/cached', bearer(key))).json.cached)
        return seen
      },
    )
    expect(cached).toEqual([false, true, false, false])
  })

  test.each([
    [401, 'AUTH', 'Bearer'],
    [402, 'PAYMENT', undefined],
    [403, 'FORBIDDEN', undefined],
  ])('passes upstream’s %i about it on to the caller', async (status, code, challenge) => {
    const outcome = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        upstream.fail(status, 2)
        const guide = await ask('/generate/text', bearer(callers))
        const openai = await ask('/v1/chat/completions', {
          ...bearer(callers),
          body: { messages: [{ role: 'user', content: 'a' }] },
        })
        return { guide: comparable(guide), openai: comparable(openai) }
      },
    )
    expect(outcome.guide).toMatchObject({
      status,
      body: { status, code, detail: expect.stringContaining(String(status)) },
    })
    expect(outcome.guide.headers['www-authenticate']).toBe(challenge)
    expect(outcome.openai).toMatchObject({ status, body: { error: { code: code.toLowerCase() } } })
    expect(JSON.stringify(outcome)).not.toContain(callers)
  })

  test('leaves an upstream 401 about the server’s own key a 502, even where keys are forwarded', async () => {
    const status = await sameFromEach(
      { upstream, gateway: { forwardKeys: true } },
      async ({ ask, upstream }) => {
        upstream.fail(401)
        return (await ask('/generate/text', { body })).status
      },
    )
    expect(status).toBe(502)
  })
})
