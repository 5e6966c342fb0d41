import { readFileSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { CORE, createGateway, type GatewayCore } from '../../../../src/gateway/gateway.js'
import { ROUTE_NAMES } from '../../../../src/gateway/routes/names.js'
import { createBlossom } from '../../../../src/index.js'
import { contractOf, send } from '../../../support/openapi.js'
import { adminToken, openDocumented } from './documented.js'

const { upstream, blossom, gateway, contract, close } = await openDocumented()
afterAll(close)
beforeEach(() => upstream.reset())

describe('GET /openapi.json', () => {
  it('is valid OpenAPI 3.1, of this version', async () => {
    expect(await new Validator().validate({ ...contract.document })).toEqual({ valid: true })
    expect(contract.document).toMatchObject({ openapi: expect.stringMatching(/^3\.1\./) })
    const manifest = JSON.parse(
      readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'),
    )
    expect(contract.document.info.version).toBe(manifest.version)
  })

  it('lists every route with its method, and nothing else', () => {
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

  it('leaves out the routes whose layer is missing, and what only they need', async () => {
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
