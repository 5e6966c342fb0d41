import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { createGateway, type Gateway } from '../../../../src/gateway/gateway.js'
import type { GatewayOptions } from '../../../../src/gateway/options.js'
import {
  breaker,
  cache,
  createBlossom,
  pool,
  queue,
  retry,
  timeout,
} from '../../../../src/index.js'
import { type Contract, contractOf, send } from '../../../support/openapi.js'
import { adminToken, openDocumented, PROMPT } from './documented.js'

const { upstream, blossom, gateway, contract, close } = await openDocumented()
afterAll(close)
beforeEach(() => upstream.reset())

type Described = (typeof contract.operations)[number]['described']
const takes = (described: Described, type: string) =>
  described.requestBody !== undefined && type in described.requestBody.content
const takesJson = (described: Described) => takes(described, 'application/json')
/** Forms are tried where their routes are. */
const takesForm = (described: Described) => takes(described, 'multipart/form-data')

describe('real answers match the document', () => {
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
    { of = gateway, by = contract, headers = {} } = {},
  ) => {
    const response = await send(of, method, path, body, headers)
    const { status } = response
    return { status, faults: await by.faultsOf(method, path, response) }
  }
  const admin = { headers: { authorization: `Bearer ${adminToken}` } }

  it('for every successful route', async () => {
    const bodies: Record<string, unknown> = { '/generate/batch': { prompts: ['Hello', ''] } }
    for (const { method, path, described } of contract.operations) {
      // What is at such a path depends on what was asked before.
      if (path.includes('{id}') || takesForm(described)) continue
      const body = bodies[path] ?? described.requestBody?.content['application/json']?.example
      for (const _ of ['a miss', 'a hit'])
        expect([path, await ask(method, path, body, admin)]).toEqual([
          path,
          { status: 200, faults: [] },
        ])
    }
    const chat = { messages: [{ role: 'user', content: 'Hello' }], stream: true }
    expect(await ask('POST', '/v1/chat/completions', chat)).toEqual({ status: 200, faults: [] })
    const response = { input: 'Hello', stream: true }
    expect(await ask('POST', '/v1/responses', response)).toEqual({ status: 200, faults: [] })
  })

  it('for resumed and stopped streams', async () => {
    const chat = { messages: [{ role: 'user', content: 'Hello' }], stream: true }
    const path = '/v1/streams/{id}'
    const begun = await send(gateway, 'POST', '/v1/chat/completions', chat, {
      'x-stream-resumable': 'true',
    })
    const id = begun.headers.get('x-stream-id') ?? ''
    expect(await contract.faultsOf('POST', '/v1/chat/completions', begun)).toEqual([])
    for (const [method, at, status] of [
      ['GET', id, 200],
      ['GET', `${id}?after=0`, 200],
      ['GET', `${id}?after=1000`, 204],
      ['GET', `${id}?after=no`, 400],
      ['GET', 'unknown', 404],
      ['DELETE', id, 204],
      ['GET', id, 410],
      ['DELETE', 'unknown', 404],
    ] as const) {
      const response = await send(gateway, method, path.replace('{id}', at))
      expect([at, response.status]).toEqual([at, status])
      expect([at, await contract.faultsOf(method, path, response)]).toEqual([at, []])
    }
  })

  it.each([
    [400, {}],
    [400, '{'],
    [
      404,
      {
        ...PROMPT,
        messages: [{ role: 'user', content: 'Hello' }],
        input: 'Hello',
        max_tokens: 5,
        model: 'no-such-model',
      },
    ],
    [413, { ...PROMPT, more: 'x'.repeat(20_000) }],
  ])('for %s', async (status, body) => {
    for (const { path, described } of contract.operations) {
      if (!takesJson(described) || (status === 404 && path === '/generate/batch')) continue
      // There it would be a prompt that is stored.
      const { prompt: _, ...asked } = Object(body)
      const sent = path === '/v1/responses' && typeof body === 'object' ? asked : body
      expect([path, await ask('POST', path, sent)]).toEqual([path, { status, faults: [] }])
    }
  })

  it('for 415', async () => {
    for (const { path, described } of contract.operations)
      if (takesJson(described))
        expect(await ask('POST', path, 'a', { headers: { 'content-type': 'text/plain' } })).toEqual(
          { status: 415, faults: [] },
        )
  })

  it('for 401 and 403 of the cache', async () => {
    expect(await ask('DELETE', '/cache/clear')).toEqual({ status: 401, faults: [] })
    const wrong = { headers: { authorization: 'Bearer wrong' } }
    expect(await ask('DELETE', '/cache/clear', undefined, wrong)).toEqual({
      status: 403,
      faults: [],
    })
  })

  /** Without retries, so that a failure is there at once. */
  async function fragile(
    options: GatewayOptions,
    run: (of: Gateway, by: Contract) => Promise<void>,
  ) {
    const layers = [
      cache(),
      timeout({ ms: 300, streamMs: 300, firstTokenMs: 300 }),
      retry({ retries: 0 }),
      breaker({ minimumCalls: 5 }),
      queue(),
      pool(),
    ]
    const client = createBlossom({ baseURL: upstream.url, apiKey: 'good' }).use(...layers)
    const of = createGateway(client, options)
    try {
      await run(of, await contractOf(of))
    } finally {
      await client.close({ timeoutMs: 0 })
    }
  }
  const CALLS = [
    '/generate/text',
    '/generate/circuit-breaker',
    '/generate/stream',
    '/v1/chat/completions',
    '/v1/audio/speech',
  ]
  const body = { ...PROMPT, input: 'Hello', messages: [{ role: 'user', content: 'Hello' }] }

  it.each([
    [{ status: 401 }, 502],
    [{ status: 402 }, 503],
    [{ status: 400 }, 400],
    [{ status: 422 }, 422],
    [{ status: 429, retryAfter: 7 }, 429],
    [{ status: 500 }, 502],
    [{ status: 503, retryAfter: 7 }, 503],
    [{ status: 504 }, 504],
    [{ resetBeforeHeaders: true }, 502],
    [{ json: 'malformed' }, 502],
  ] as const)('for upstream with %o', async (fault, status) => {
    for (const path of CALLS)
      await fragile({}, async (of, by) => {
        upstream.reset()
        upstream.fault({ ...fault, times: 9 })
        expect([path, await ask('POST', path, body, { of, by })]).toEqual([
          path,
          { status, faults: [] },
        ])
      })
  })

  it('for an answer that takes too long, and a breaker that has opened', async () => {
    upstream.fault({ hang: true, times: Number.POSITIVE_INFINITY })
    await fragile({}, async (of, by) => {
      const statusOf = (path: string) => (path === '/generate/circuit-breaker' ? 408 : 504)
      for (const path of CALLS)
        expect([path, await ask('POST', path, body, { of, by })]).toEqual([
          path,
          { status: statusOf(path), faults: [] },
        ])
      for (const path of CALLS)
        expect([path, await ask('POST', path, body, { of, by })]).toEqual([
          path,
          { status: 503, faults: [] },
        ])
      for (const path of ['/health', '/health/ready'])
        expect(await ask('GET', path, undefined, { of, by })).toEqual({ status: 503, faults: [] })
    })
  })

  it("for a caller's own key that upstream refuses", async () => {
    await fragile({ forwardKeys: true }, async (of, by) => {
      const wrong = { of, by, headers: { authorization: 'Bearer wrong' } }
      for (const path of CALLS)
        expect([path, await ask('POST', path, body, wrong)]).toEqual([
          path,
          { status: 401, faults: [] },
        ])
    })
  })

  it('for a server that shuts down', async () => {
    await fragile({}, async (of, by) => {
      of.drain()
      for (const path of [...CALLS, '/generate/batch'])
        expect(await ask('POST', path, body, { of, by })).toEqual({ status: 503, faults: [] })
      for (const path of ['/health', '/health/ready'])
        expect(await ask('GET', path, undefined, { of, by })).toEqual({ status: 503, faults: [] })
      expect(await ask('GET', '/health/live', undefined, { of, by })).toEqual({
        status: 200,
        faults: [],
      })
    })
  })

  it('for an unexpected error', async () => {
    const call = () => {
      throw new Error('unforeseen')
    }
    const of = createGateway(blossom, { call })
    for (const { method, path } of contract.operations) {
      // These do not ask who the caller is.
      if (/^\/(health|live|metrics|cache\/clear)/.test(path) || path.includes('{id}')) continue
      expect([path, await ask(method, path, method === 'POST' ? body : undefined, { of })]).toEqual(
        [path, { status: 500, faults: [] }],
      )
    }
  })
})
