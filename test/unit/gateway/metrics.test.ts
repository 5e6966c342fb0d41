import { describe, expect, it, vi } from 'vitest'
import { createGateway, type GatewayOptions } from '../../../src/gateway/index.js'
import { ConfigError, createBlossom, standard } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { parsePrometheus, sumOf } from '../../support/prometheus-text.js'

const TOKEN = 'scrape-scrape-scrape'

async function gatewayWith(options: GatewayOptions) {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url }).use(...standard())
  const gateway = createGateway(blossom, options)
  return {
    blossom,
    gateway,
    get: (path: string, headers: Record<string, string> = {}) =>
      gateway(new Request(`http://localhost${path}`, { headers })),
    async [Symbol.asyncDispose]() {
      await blossom.close()
      await upstream.close()
    },
  }
}

describe('GET /metrics', () => {
  it('does not exist unless it is switched on', async () => {
    for (const metrics of [undefined, false]) {
      await using server = await gatewayWith({ metrics })
      expect((await server.get('/metrics')).status).toBe(404)
    }
    await using left = await gatewayWith({ metrics: true, routes: ['text'] })
    expect((await left.get('/metrics')).status).toBe(404)
  })

  it('serves the metrics to everybody, below its prefix, without identifying the caller', async () => {
    const call = vi.fn(() => new Response(null, { status: 401 }))
    await using server = await gatewayWith({ metrics: true, prefix: '/ai', call })
    await server.blossom.text.generate('Hello')
    const answer = await server.get('/ai/metrics')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(sumOf(parsePrometheus(await answer.text()), 'blossom_calls_total')).toBe(1)
    expect(call).not.toHaveBeenCalled()
    expect((await server.get('/metrics')).status).toBe(404)
  })

  it('requires its own token, which is shown nowhere', async () => {
    await using server = await gatewayWith({
      metrics: { token: TOKEN, labels: { service: 'garden', tenant: true } },
      adminToken: 'admin-admin-admin-admin',
    })
    for (const authorization of [
      '',
      'Bearer',
      `Basic ${TOKEN}`,
      'Bearer admin-admin-admin-admin',
    ]) {
      const refused = await server.get('/metrics', authorization ? { authorization } : {})
      expect([authorization, refused.status]).toEqual([authorization, 401])
      expect(refused.headers.get('www-authenticate')).toBe('Bearer')
      expect(await refused.text()).not.toContain(TOKEN)
    }
    await server.blossom.text.generate('Hello', { tenant: 'gold' })
    const given = await server.get('/metrics', { authorization: `Bearer ${TOKEN}` })
    const families = parsePrometheus(await given.text())
    const labels = { service: 'garden', tenant: 'gold' }
    expect(sumOf(families, 'blossom_calls_total', labels)).toBe(1)
  })

  it('counts what the gateway’s routes request', async () => {
    await using server = await gatewayWith({ metrics: true })
    const ask = () =>
      server.gateway(
        new Request('http://localhost/v1/chat/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"model":"mistral","stream":true,"messages":[{"role":"user","content":"Hi"}]}',
        }),
      )
    await (await ask()).text()
    await (await ask()).text()
    const families = parsePrometheus(await (await server.get('/metrics')).text())
    const labels = { operation: 'chat', model: 'mistral', outcome: 'complete' }
    expect(sumOf(families, 'blossom_calls_total', labels)).toBe(2)
    expect(sumOf(families, 'blossom_attempts_total')).toBe(1)
    expect(sumOf(families, 'blossom_first_token_seconds_count')).toBe(2)
  })

  it('counts until the gateway is closed', async () => {
    await using server = await gatewayWith({ metrics: true })
    await server.gateway.close()
    await server.blossom.text.generate('Hello')
    const families = parsePrometheus(await (await server.get('/metrics')).text())
    expect(sumOf(families, 'blossom_calls_total')).toBe(0)
  })

  it('refuses wrong options, without showing a token', () => {
    const blossom = createBlossom()
    for (const metrics of ['on', 5, { token: 'short' }, { tokens: TOKEN }, { labels: { le: 'x' } }])
      expect(() => createGateway(blossom, { metrics: metrics as never })).toThrow(ConfigError)
    expect(() => createGateway(blossom, { metrics: { token: 'a secret' } })).not.toThrow(/a secret/)
    expect(() => createGateway(blossom, { routes: ['metrics'] })).toThrow(
      'createGateway: the route "metrics" needs the option "metrics".',
    )
  })
})
