import { readFileSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  CORE,
  createGateway,
  type Gateway,
  type GatewayCore,
} from '../../../src/gateway/gateway.js'
import type { GatewayOptions } from '../../../src/gateway/options.js'
import { ROUTE_NAMES } from '../../../src/gateway/routes/names.js'
import {
  type Blossom,
  breaker,
  cache,
  createBlossom,
  pool,
  queue,
  retry,
  standard,
  timeout,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { Contract, type OpenApi, send } from '../../support/openapi.js'

const adminToken = 'only-for-these-tests'
const PROMPT = { prompt: 'Why do flowers bloom?' }

let upstream: LocalBlossom
let blossom: Blossom<readonly unknown[]>
let gateway: Gateway
let contract: Contract

const contractOf = async (of: Gateway, prefix = ''): Promise<Contract> =>
  new Contract((await (await send(of, 'GET', `${prefix}/openapi.json`)).json()) as OpenApi)

beforeAll(async () => {
  upstream = await startLocalBlossom({ reply: () => 'To be seen.', keys: ['good'] })
  blossom = createBlossom({ baseURL: upstream.url, apiKey: 'good' }).use(...standard())
  gateway = createGateway(blossom, {
    adminToken,
    bodyLimit: 20_000,
    mediaBodyLimit: 20_000,
    streams: true,
    metrics: true,
  })
  contract = await contractOf(gateway)
})
afterAll(async () => {
  await blossom.close()
  await upstream.close()
})
beforeEach(() => upstream.reset())

describe('GET /openapi.json', () => {
  it('is valid OpenAPI 3.1, of this version', async () => {
    expect(await new Validator().validate({ ...contract.document })).toEqual({ valid: true })
    expect(contract.document).toMatchObject({ openapi: expect.stringMatching(/^3\.1\./) })
    const manifest = JSON.parse(
      readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
    )
    expect(contract.document.info.version).toBe(manifest.version)
  })

  it('has every route with its method, and nothing else', () => {
    const { routing } = (gateway as unknown as { [CORE]: GatewayCore })[CORE]
    const isPart = (path: string) => path.startsWith('/docs/') || path === '/live/feed'
    const routes = routing.all
      .filter(({ method, path }) => !isPart(path) && !(method === 'POST' && path === '/live'))
      .map(({ method, path }) => `${method} ${path}`)
    expect(contract.operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(
      routes.sort(),
    )
    // Those of batches are there with the option only.
    const others = ROUTE_NAMES.filter((name) => !/^v1-(files|batches)-/.test(name))
    expect(routes).toHaveLength(others.length)
    expect(new Set(contract.operations.map(({ described }) => described.operationId)).size).toBe(
      routes.length,
    )
  })

  it('leaves out the routes whose layer is not in the stack, and what only they need', async () => {
    const small = await contractOf(
      createGateway(createBlossom(), { routes: ['openapi', 'health-live', 'stream'] }),
    )
    expect(Object.keys(small.document.paths)).toEqual([
      '/generate/stream',
      '/health/live',
      '/openapi.json',
    ])
    expect(Object.keys(small.document.components.schemas).sort()).toEqual([
      'Alive',
      'GenerateRequest',
      'Problem',
      'TextEvents',
    ])
    expect(small.document.components.securitySchemes).toEqual({})
    const bare = await contractOf(createGateway(createBlossom()))
    for (const path of [
      '/generate/queued',
      '/generate/retry',
      '/generate/circuit-breaker',
      '/generate/cached',
      '/cache/clear',
    ])
      expect(bare.document.paths).not.toHaveProperty([path])
  })

  it('is the same text each time', async () => {
    const other = createGateway(blossom, {
      adminToken: 'another-of-these-tests',
      bodyLimit: 20_000,
      streams: true,
      metrics: true,
    })
    const texts = await Promise.all(
      [gateway, gateway, other].map(async (of) => (await send(of, 'GET', '/openapi.json')).text()),
    )
    expect(new Set(texts).size).toBe(1)
    expect(texts[0]).not.toContain(adminToken)
  })

  it('shows the public path, which may differ from the prefix', async () => {
    const mounted = await contractOf(createGateway(blossom, { prefix: '/ai' }), '/ai')
    expect(Object.keys(mounted.document.paths).every((path) => path.startsWith('/ai/'))).toBe(true)
    expect(mounted.document.info.description).toContain('/ai/ws/generate')
    const behind = createGateway(blossom, { prefix: '/inner', publicPath: '/outer' })
    expect(Object.keys((await contractOf(behind, '/inner')).document.paths)).toContain(
      '/outer/generate/text',
    )
  })

  it('describes forwarded keys and the refusals of `call`', async () => {
    const asking = { forwardKeys: true, call: () => undefined }
    const { document } = await contractOf(createGateway(blossom, asking))
    const { post } = document.paths['/generate/text'] ?? {}
    expect(post?.security).toEqual([{ ownKey: [] }, {}])
    expect(Object.keys(post?.responses ?? {})).toEqual(
      expect.arrayContaining(['401', '402', '403']),
    )
    expect(Object.keys(document.paths['/pool/stats']?.get?.responses ?? {})).toEqual([
      '200',
      '401',
      '403',
      '500',
    ])
    expect(Object.keys(document.paths['/health/live']?.get?.responses ?? {})).toEqual([
      '200',
      '500',
    ])
    expect(contract.document.paths['/cache/clear']?.delete?.security).toEqual([{ adminToken: [] }])
  })

  it('has examples that its own schemas accept', () => {
    const contents = contract.operations.flatMap(({ described }) => [
      described.requestBody,
      ...Object.values(described.responses),
    ])
    const examples = [...contents, ...Object.values(contract.document.components.responses)]
      .flatMap((one) => Object.values(one?.content ?? {}))
      .filter(({ example }) => example !== undefined)
    expect(examples.length).toBeGreaterThan(30)
    for (const { schema, example } of examples)
      expect([example, contract.judge(schema ?? {}, true)(example)]).toEqual([example, true])
  })
})

/** Bodies on both sides of every limit. Numbers are near their ends more often than not. */
const near = ({ min, max }: { min: number; max: number }) =>
  fc.oneof(
    fc.constantFrom(min - 1, min, min + 0.5, min + 1, max - 1, max, max + 1e-9, max + 1),
    fc.integer({ min: -5, max: max + 5 }),
  )
const odd = fc.constantFrom<unknown>(
  null,
  true,
  '',
  ' ',
  '\t\n\u00a0\ufeff',
  'word',
  0,
  -1,
  [],
  ['word'],
  {},
  { a: 1 },
)
const maybe = (...values: fc.Arbitrary<unknown>[]) =>
  fc.option(fc.oneof(...values, odd), { nil: undefined })

const generateBody = fc.record({
  prompt: fc.oneof(
    { weight: 3, arbitrary: fc.constant('Hello') },
    { weight: 1, arbitrary: maybe(fc.string({ maxLength: 3 })) },
  ),
  max_tokens: maybe(near({ min: 1, max: 32_768 })),
  temperature: maybe(near({ min: 0, max: 2 })),
  model: maybe(fc.constant('openai')),
  more: maybe(fc.anything({ maxDepth: 1 })),
})
const lengths = fc.constantFrom(0, 1, 2, 100, 101)
const batchBody = fc.record({
  prompts: fc.oneof(
    { weight: 4, arbitrary: lengths.map((length) => Array.from({ length }, () => 'Hello')) },
    maybe(fc.array(odd)),
  ),
  batch_size: maybe(near({ min: 1, max: 100 })),
})

describe('the request schemas and the validators', () => {
  const agrees = async (path: string, body: unknown) => {
    const text = JSON.stringify(body)
    const response = await send(gateway, 'POST', path, text)
    await response.body?.cancel()
    expect([path, text, response.status !== 400]).toEqual([
      path,
      text,
      contract.requestOf('POST', path)(JSON.parse(text)),
    ])
  }

  it.each(['text', 'queued', 'retry', 'circuit-breaker', 'cached', 'stream'])(
    'agree on /generate/%s',
    async (name) => {
      await fc.assert(
        fc.asyncProperty(generateBody, (body) => agrees(`/generate/${name}`, body)),
        { numRuns: 60 },
      )
    },
  )

  it('agree on /generate/batch', async () => {
    await fc.assert(
      fc.asyncProperty(batchBody, (body) => agrees('/generate/batch', body)),
      { numRuns: 40 },
    )
  })

  it.each([
    [
      '/generate/text',
      [
        [],
        'text',
        1,
        null,
        {},
        PROMPT,
        { ...PROMPT, max_tokens: 1e15 },
        { ...PROMPT, temperature: -0 },
      ],
    ],
    [
      '/generate/batch',
      [{ prompts: 'Hello' }, { prompts: { length: 1 } }, { prompts: [1, null, '', 'Hello'] }],
    ],
    [
      '/v1/chat/completions',
      [
        {},
        { messages: [] },
        { messages: null },
        { messages: 'Hello' },
        { messages: ['Hello'] },
        { messages: [{ role: 'user', content: 'Hello' }], stream: 'true' },
        { messages: [{ role: 'user', content: 'Hello' }], model: '' },
      ],
    ],
    [
      '/v1/chat/completions',
      [{ messages: [{ role: 'user', content: 'Hello' }], model: null, unheard_of: [] }],
    ],
    [
      '/v1/embeddings',
      [
        {},
        { input: null },
        { input: 'Hello' },
        { input: ['Hello', 'again'] },
        { input: 'Hello', model: 5 },
        { input: 5 },
        { input: {} },
      ],
    ],
    [
      '/v1/images/generations',
      [{}, { prompt: ' ' }, { prompt: 7 }, { prompt: 'Roses', size: '64x64' }],
    ],
    ['/v1/audio/speech', [{}, { input: '' }, { input: ['Hello'] }, { input: 'Hello' }]],
    [
      '/v1/responses',
      [{}, { input: '' }, { input: [] }, { input: 5 }, { input: 'Hello', stream: 'true' }],
    ],
    ['/v1/responses', [{ input: 'Hello' }, { input: [{ role: 'user', content: 'Hello' }] }]],
  ])('agree at the edges of %s', async (path, bodies) => {
    for (const body of bodies as unknown[]) await agrees(path, body)
  })
})

type Described = (typeof contract.operations)[number]['described']
const takes = (described: Described, type: string) =>
  described.requestBody !== undefined && type in described.requestBody.content
const takesJson = (described: Described) => takes(described, 'application/json')
/** Forms are tried where their routes are. */
const takesForm = (described: Described) => takes(described, 'multipart/form-data')

describe('real answers are as the document says', () => {
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

  it('for every route that answers well', async () => {
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

  it('for streams that are resumed and stopped', async () => {
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
