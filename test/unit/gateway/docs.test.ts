import { afterEach, describe, expect, it, vi } from 'vitest'
import { createGateway } from '../../../src/gateway/gateway.js'
import { createBlossom } from '../../../src/index.js'
import { send } from '../../support/openapi.js'

const blossom = createBlossom()
const gateway = createGateway(blossom)

describe('GET /docs', () => {
  it('serves a page whose policy blocks everything from other origins', async () => {
    const page = await send(gateway, 'GET', '/docs')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'; script-src 'self';")
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval/)
    const links = [...(await page.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(
      ([, link = '']) => link,
    )
    expect(links.filter((link) => /^(\w+:|\/)/.test(link))).toEqual([])
    for (const link of links.filter((one) => one.startsWith('docs/'))) {
      const file = await send(gateway, 'GET', `/${link}`)
      expect([link, file.status]).toEqual([link, 200])
      expect(file.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      expect((await file.arrayBuffer()).byteLength).toBeGreaterThan(50)
    }
  })

  it('does not let files be cached for ever unless their address names the version', async () => {
    expect((await send(gateway, 'GET', '/docs/swagger-ui.css')).headers.get('cache-control')).toBe(
      'no-cache',
    )
    expect(
      (await send(gateway, 'GET', '/docs/swagger-ui.css?v=0')).headers.get('cache-control'),
    ).toBe('no-cache')
  })

  it.each([
    '/docs/',
    '/docs/index.html',
    '/docs/../package.json',
    '/docs/..%2fpackage.json',
    '/docs/package.json',
    '/docs//page.js',
  ])('does not serve %s', async (path) => {
    const { status } = await send(gateway, 'GET', path)
    expect(status).toBe(404)
  })
})

describe('routes that are switched off', () => {
  it.each([
    [['health'], 404, 404],
    [['openapi'], 200, 404],
    [['openapi', 'docs'], 200, 200],
  ] as const)('do not exist: %j gives %i and %i', async (routes, openapi, docs) => {
    const small = createGateway(blossom, { routes })
    expect((await send(small, 'GET', '/openapi.json')).status).toBe(openapi)
    for (const path of ['/docs', '/docs/page.js', '/docs/swagger-ui.css'])
      expect((await send(small, 'GET', path)).status).toBe(docs)
  })

  it('refuses to serve the page without a document', () => {
    expect(() => createGateway(blossom, { routes: ['docs'] })).toThrow(
      'the route "docs" needs the route "openapi"',
    )
  })
})

describe('without the viewer package', () => {
  afterEach(() => {
    vi.doUnmock('../../../src/gateway/routes/docs-viewer.js')
    vi.resetModules()
  })

  it('names the package in a 404, and fails when the routes ask for the page', async () => {
    vi.resetModules()
    vi.doMock('../../../src/gateway/routes/docs-viewer.js', async (original) => ({
      ...(await original<object>()),
      findViewer: () => undefined,
    }))
    const { createGateway: create } = await import('../../../src/gateway/gateway.js')
    for (const path of ['/docs', '/docs/page.js', '/docs/swagger-ui.css']) {
      const answer = await send(create(blossom), 'GET', path)
      expect(answer.status).toBe(404)
      expect(await answer.json()).toMatchObject({
        code: 'NOT_FOUND',
        detail: expect.stringContaining('npm install @fastify/swagger-ui'),
      })
    }
    expect(() => create(blossom, { routes: ['openapi', 'docs'] })).toThrow(
      'needs the package @fastify/swagger-ui. Install it with `npm install @fastify/swagger-ui`.',
    )
  })
})
