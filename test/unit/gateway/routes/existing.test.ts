import { describe, expect, test } from 'vitest'
import { createGateway } from '../../../../src/gateway/index.js'
import { ConfigError, createBlossom, isStackError } from '../../../../src/index.js'
import { sameFromEach } from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'

describe('routes that exist', () => {
  const bare = { layers: () => [] }

  test('a route whose layer is missing does not exist; the others do', async () => {
    const outcome = await sameFromEach(bare, async ({ ask }) => {
      const paths = [
        '/generate/queued',
        '/generate/retry',
        '/generate/circuit-breaker',
        '/generate/cached',
      ]
      const missing = []
      for (const path of paths) missing.push((await ask(path, { body: { prompt } })).status)
      for (const path of ['/pool/stats', '/queue/stats']) missing.push((await ask(path)).status)
      missing.push((await ask('/cache/clear', { method: 'DELETE' })).status)
      const there = []
      for (const path of ['/generate/text', '/generate/stream'])
        there.push((await ask(path, { body: { prompt } })).status)
      there.push((await ask('/generate/batch', { body: { prompts: ['a'] } })).status)
      return { missing, there, health: (await ask('/health')).json }
    })
    expect(outcome.missing).toEqual([404, 404, 404, 404, 404, 404, 404])
    expect(outcome.there).toEqual([200, 200, 200])
    expect(outcome.health).toMatchObject({
      status: 'healthy',
      pool_stats: {},
      circuit_breaker_state: 'unknown',
    })
  })

  test.each([
    'queued',
    'retry',
    'circuit-breaker',
    'cached',
    'pool-stats',
    'queue-stats',
    'cache-clear',
  ] as const)('naming %s without its layer is a ConfigError', (name) => {
    const make = () => createGateway(createBlossom({ apiKey: 'sk_test' }), { routes: [name] })
    expect(make).toThrow(ConfigError)
    expect(make).toThrow(new RegExp(`the route "${name}" needs a \\w+ layer`))
  })

  test('`routes` leaves out every route it does not name', async () => {
    const outcome = await sameFromEach(
      { gateway: { routes: ['text', 'health-live'] } },
      async ({ ask }) => [
        (await ask('/generate/text', { body: { prompt } })).status,
        (await ask('/health/live')).status,
        (await ask('/generate/stream', { body: { prompt } })).status,
        (await ask('/pool/stats')).status,
        (await ask('/v1/models')).status,
      ],
    )
    expect(outcome).toEqual([200, 200, 404, 404, 404])
  })

  test.each([
    [
      { routes: ['text', '/v1/chat/completions'] },
      /option "routes" must be a list of route names out of text, .+, got an array that contains "\/v1\/chat\/completions"\./,
    ],
    [{ routes: [5] }, /option "routes" must be .+, got an array that contains 5\./],
    [{ routes: 'text' }, /option "routes" must be .+, got "text"\./],
    [{ prefix: 'ai' }, /option "prefix" must be/],
    [{ prefix: '/ai/' }, /option "prefix" must be/],
    [{ adminToken: 'short' }, /option "adminToken" must be .* got an invalid value/],
    [{ bodyLimit: 0 }, /option "bodyLimit" must be/],
    [{ mediaBodyLimit: 0.5 }, /option "mediaBodyLimit" must be/],
    [{ corsOrigins: ['app.example'] }, /option "corsOrigins" must be/],
    [{ corsOrigins: ['https://app.example/'] }, /option "corsOrigins" must be/],
    [{ models: [''] }, /option "models" must be/],
    [{ forwardKeys: 'yes' }, /option "forwardKeys" must be/],
    [{ heartbeatMs: -1 }, /option "heartbeatMs" must be/],
    [{ probe: { everyMs: 10 } }, /option "probe" must be/],
    [{ cors: true }, /option "cors" is unknown/],
  ])('option %j is refused', (options, message) => {
    let error: unknown
    try {
      createGateway(createBlossom({ apiKey: 'sk_test' }), options as never)
    } catch (thrown) {
      error = thrown
    }
    expect(isStackError(error, 'CONFIG')).toBe(true)
    expect((error as Error).message).toMatch(message)
  })
})
