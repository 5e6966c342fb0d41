import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  blossomFromEnv,
  createGateway,
  type Environment,
  gatewayOptionsFromEnv,
} from '../../../src/gateway/index.js'
import { isStackError, type TimelineEntry } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { KEY } from '../../support/secrets.js'
import { STANDARD_NAMES } from '../../support/standard-names.js'
import { catchWarnings } from '../../support/warnings.js'
import { watch } from '../../support/watch.js'

const key = { POLLINATIONS_API_KEY: KEY }

/** What the environment is refused with. */
function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (isStackError(error, 'CONFIG')) return error.message
    throw error
  }
  throw new Error('It was not refused.')
}

const namesOf = (env: Environment) =>
  blossomFromEnv(env)
    .describe()
    .map(({ name }) => name)
const statsOf = (env: Environment) => blossomFromEnv(env).stats()

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('blossomFromEnv', () => {
  test('has the recommended layers with the figures of the guide', () => {
    expect(namesOf(key)).toEqual(STANDARD_NAMES)
    expect(statsOf(key)).toMatchObject({
      queue: { concurrency: 5 },
      pool: { max: 10 },
      breaker: { state: 'closed' },
    })
  })

  test.each([
    [{ POLLINATIONS_API_KEY: KEY, BLOSSOM_API_KEY: 'sk_second' }, KEY],
    [{ BLOSSOM_API_KEY: 'sk_second' }, 'sk_second'],
    [{ POLLINATIONS_API_KEY: '  ', BLOSSOM_API_KEY: 'sk_second' }, 'sk_second'],
    [{ POLLINATIONS_API_KEY: ` ${KEY}\n` }, KEY],
  ])('takes the key and the address from %j', async (env, expected) => {
    await using upstream = await startLocalBlossom()
    await using blossom = blossomFromEnv({ ...env, BLOSSOM_BASE_URL: upstream.url })
    await blossom.text.generate('Hello')
    expect(upstream.requests[0]!.keySha256).toBe(
      createHash('sha256').update(expected).digest('hex'),
    )
  })

  test('BLOSSOM_POOL_CONNECTIONS and BLOSSOM_QUEUE_CONCURRENCY set the sizes', () => {
    const stats = statsOf({ ...key, BLOSSOM_POOL_CONNECTIONS: '3', BLOSSOM_QUEUE_CONCURRENCY: '2' })
    expect(stats).toMatchObject({ queue: { concurrency: 2 }, pool: { max: 3 } })
  })

  test('BLOSSOM_QUEUE_MAX_WAITING bounds the queue', async () => {
    await using upstream = await startLocalBlossom({ latencyMs: 60_000 })
    const blossom = blossomFromEnv({
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_QUEUE_CONCURRENCY: '1',
      BLOSSOM_QUEUE_MAX_WAITING: '0',
    })
    const first = blossom.text.generate('one').catch(() => {})
    await upstream.waitFor(({ active }) => active === 1)
    await expect(blossom.text.generate('two')).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await blossom.close({ timeoutMs: 0 })
    await first
  })

  test('BLOSSOM_RETRIES sets how often a call is retried', async () => {
    await using upstream = await startLocalBlossom()
    await using blossom = blossomFromEnv({
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_RETRIES: '0',
    })
    upstream.fail(503)
    await expect(blossom.text.generate('one')).rejects.toMatchObject({ code: 'SERVER' })
    expect(upstream.requests).toHaveLength(1)
  })

  test.each([
    [{ BLOSSOM_TIMEOUT_MS: '30' }, 30],
    [{ BLOSSOM_TIMEOUT_MS: '5000', BLOSSOM_ATTEMPT_TIMEOUT_MS: '20', BLOSSOM_RETRIES: '0' }, 20],
  ])('%j ends a call in time', async (env, ms) => {
    await using upstream = await startLocalBlossom({ latencyMs: 60_000 })
    await using blossom = blossomFromEnv({ ...key, BLOSSOM_BASE_URL: upstream.url, ...env })
    await expect(blossom.text.generate('one')).rejects.toMatchObject({ code: 'TIMEOUT', ms })
  })

  test.each([
    ['an attempt', { BLOSSOM_RETRIES: '0' }, 30_000],
    ['a call', { BLOSSOM_ATTEMPT_TIMEOUT_MS: '600000' }, 60_000],
  ])('gives %s its time limit by default', async (_, env, ms) => {
    await using upstream = await startLocalBlossom()
    upstream.fault({ hang: true })
    await using blossom = blossomFromEnv({ ...key, BLOSSOM_BASE_URL: upstream.url, ...env })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const call = watch(blossom.text.generate('one'))
    await upstream.waitFor(({ active }) => active === 1)
    await vi.advanceTimersByTimeAsync(ms - 1)
    expect(call.state).toBe('pending')
    await vi.advanceTimersByTimeAsync(1)
    vi.useRealTimers()
    expect(call.error).toMatchObject({ code: 'TIMEOUT', ms })
  })

  test('BLOSSOM_RATE_LIMIT_PER_MINUTE refuses calls that cannot start in time', async () => {
    await using upstream = await startLocalBlossom()
    const env = {
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_RATE_LIMIT_PER_MINUTE: '1',
      BLOSSOM_TIMEOUT_MS: '1000',
    }
    await using blossom = blossomFromEnv(env)
    await blossom.text.generate('one')
    await expect(blossom.text.generate('two')).rejects.toMatchObject({ code: 'RATE_LIMITED' })
  })

  test('BLOSSOM_CACHE switches the cache off, BLOSSOM_CACHE_TTL_MS ends its entries', async () => {
    expect(namesOf({ ...key, BLOSSOM_CACHE: 'off' })).not.toContain('cache')
    expect(namesOf({ ...key, BLOSSOM_CACHE: 'on' })).toContain('cache')
    await using upstream = await startLocalBlossom()
    await using blossom = blossomFromEnv({
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_CACHE_TTL_MS: '1',
    })
    await blossom.text.generate('one')
    const written = performance.now()
    while (performance.now() - written < 5) await new Promise(setImmediate)
    expect((await blossom.text.generate('one')).cached).toBe(false)
  })

  test('an unreachable Redis costs a miss and a warning, never a call; closing twice is fine', async () => {
    const warnings = catchWarnings()
    await using upstream = await startLocalBlossom()
    const blossom = blossomFromEnv({
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      REDIS_URL: 'redis://127.0.0.1:1',
    })
    expect((await blossom.text.generate('one')).cached).toBe(false)
    expect((await blossom.text.generate('one')).cached).toBe(true)
    await vi.waitFor(() => expect(warnings.join('\n')).toMatch(/Redis/), { timeout: 20_000 })
    await Promise.all([blossom.close(), blossom.close()])
    await blossom.close()
  })

  test('REDIS_URL does not matter while nothing is shared', async () => {
    const warnings = catchWarnings()
    await using upstream = await startLocalBlossom()
    await using blossom = blossomFromEnv({
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      REDIS_URL: 'redis://127.0.0.1:1',
      BLOSSOM_CACHE: 'off',
      BLOSSOM_SHARED_BREAKER: 'off',
    })
    expect(blossom.describe().map(({ name }) => name)).not.toContain('cache')
    await blossom.text.generate('one')
    expect(warnings.join('\n')).not.toMatch(/Redis/)
  })

  test('BLOSSOM_SHARED_CONCURRENCY shares slots between all servers, and needs a fixed queue concurrency', async () => {
    catchWarnings()
    await using upstream = await startLocalBlossom()
    const env = {
      ...key,
      BLOSSOM_BASE_URL: upstream.url,
      REDIS_URL: 'redis://127.0.0.1:1',
      BLOSSOM_SHARED_CONCURRENCY: 'on',
    }
    await using blossom = blossomFromEnv(env)
    const meta = new Map<string, unknown>()
    await blossom.text.generate('one', { meta })
    expect(meta.get('queue')).toMatchObject({ alone: true })
    expect(refusal(() => blossomFromEnv({ ...env, BLOSSOM_QUEUE_CONCURRENCY: 'adaptive' }))).toBe(
      'The environment variable BLOSSOM_QUEUE_CONCURRENCY must be an integer while BLOSSOM_SHARED_CONCURRENCY is on.',
    )
  })

  test('an invalid key stops the start, even when another key would be used', () => {
    expect(refusal(() => blossomFromEnv({ ...key, BLOSSOM_API_KEY: 'two words' }))).toMatch(
      /^The environment variable BLOSSOM_API_KEY must be /,
    )
  })

  test('an empty variable counts as unset', () => {
    const empty = {
      BLOSSOM_BASE_URL: '',
      BLOSSOM_TIMEOUT_MS: ' ',
      BLOSSOM_CACHE: '',
      REDIS_URL: '',
      BLOSSOM_API_KEY: '',
    }
    expect(namesOf({ ...key, ...empty })).toHaveLength(8)
  })

  test('fails without a key, unless callers bring their own', () => {
    for (const env of [{}, { POLLINATIONS_API_KEY: '' }, { BLOSSOM_FORWARD_KEYS: 'off' }]) {
      expect(refusal(() => blossomFromEnv(env))).toMatch(
        /^The environment variable POLLINATIONS_API_KEY \(or BLOSSOM_API_KEY\) must be set/,
      )
    }
    expect(namesOf({ BLOSSOM_FORWARD_KEYS: 'on' })).toHaveLength(8)
  })
})

describe('gatewayOptionsFromEnv', () => {
  test('without variables is safe: no origins, no admin, no keys forwarded, 1 MiB', () => {
    expect(gatewayOptionsFromEnv({})).toEqual({
      bodyLimit: 1024 * 1024,
      forwardKeys: false,
      errorDetail: 'safe',
      log: expect.any(Function),
    })
  })

  test('reads origins, token, forwarding and limit into options that createGateway takes', () => {
    const options = gatewayOptionsFromEnv({
      BLOSSOM_CORS_ORIGINS: 'https://app.example/, http://localhost:3000',
      BLOSSOM_ADMIN_TOKEN: 'admin-token-of-the-tests',
      BLOSSOM_FORWARD_KEYS: 'on',
      BLOSSOM_BODY_LIMIT: '2000',
      BLOSSOM_ERROR_DETAIL: 'full',
      LOG_LEVEL: 'silent',
    })
    expect(options).toEqual({
      corsOrigins: ['https://app.example', 'http://localhost:3000'],
      adminToken: 'admin-token-of-the-tests',
      forwardKeys: true,
      errorDetail: 'full',
      bodyLimit: 2_000,
    })
    expect(() => createGateway(blossomFromEnv(key), options)).not.toThrow()
    expect(gatewayOptionsFromEnv({ BLOSSOM_CORS_ORIGINS: '*' }).corsOrigins).toEqual(['*'])
  })

  test('serves metrics to everybody or to holders of the token, and only when enabled', () => {
    const token = 'metrics-token-of-the-tests'
    const metricsOf = (env: Environment) => gatewayOptionsFromEnv(env).metrics
    expect(metricsOf({})).toBeUndefined()
    expect(metricsOf({ BLOSSOM_METRICS: 'on' })).toBe(true)
    expect(metricsOf({ BLOSSOM_METRICS_TOKEN: token })).toEqual({ token })
    expect(metricsOf({ BLOSSOM_METRICS: 'on', BLOSSOM_METRICS_TOKEN: token })).toEqual({ token })
  })

  test('calculates the cost of calls from its prices', async () => {
    await using upstream = await startLocalBlossom({ keys: [KEY] })
    const env = { ...key, BLOSSOM_BASE_URL: upstream.url }
    const costOf = async (prices: Environment) => {
      await using blossom = blossomFromEnv({ ...env, ...prices })
      const meta = new Map<string, unknown>()
      const { usage } = await blossom.text.generate('Hello', { meta })
      const end = (meta.get('timeline') as TimelineEntry[]).at(-1) as { cost?: number }
      return { cost: end.cost, usage }
    }
    expect((await costOf({})).cost).toBeUndefined()
    const { cost, usage } = await costOf({ BLOSSOM_PRICES: '*=1000000/2000000' })
    expect(cost).toBeCloseTo((usage?.promptTokens ?? 0) + (usage?.completionTokens ?? 0) * 2, 6)
  })

  test.each([
    ['silent', []],
    ['error', ['error']],
    ['warn', ['warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['debug', ['info', 'warn', 'error']],
    [undefined, ['info', 'warn', 'error']],
  ])('LOG_LEVEL %s writes lines of JSON for %j', (level, shown) => {
    const lines: string[] = []
    vi.spyOn(process.stdout, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
    const { log } = gatewayOptionsFromEnv({ LOG_LEVEL: level })
    for (const one of ['info', 'warn', 'error'] as const) log?.({ level: one } as never)
    vi.restoreAllMocks()
    expect(lines.every((line) => line.endsWith('\n'))).toBe(true)
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(shown)
  })
})

describe('a wrong value', () => {
  const client = (env: Environment) => blossomFromEnv({ ...key, ...env })
  const wrong: readonly [
    name: string,
    values: readonly string[],
    read: (env: Environment) => unknown,
  ][] = [
    ['POLLINATIONS_API_KEY', ['two words', 'sk_ünïcode', 'sk_a\nb'], client],
    ['BLOSSOM_API_KEY', ['two words', 'sk_a\u0000b'], (env) => blossomFromEnv(env)],
    [
      'BLOSSOM_BASE_URL',
      [
        'not-a-url',
        'file:///etc/passwd',
        'http://user:secret@host.example',
        'https://host.example/v1',
        'https://host.example/?a=b',
      ],
      client,
    ],
    [
      'BLOSSOM_TIMEOUT_MS',
      ['0', '-1', '1e3', '5s', '1.5', 'NaN', 'Infinity', '99999999999999999999'],
      client,
    ],
    ['BLOSSOM_ATTEMPT_TIMEOUT_MS', ['0', 'soon'], client],
    ['BLOSSOM_RETRIES', ['-1', '101', 'two'], client],
    ['BLOSSOM_POOL_CONNECTIONS', ['0', 'many'], client],
    ['BLOSSOM_QUEUE_MAX_WAITING', ['-1', ' 5 6 '], client],
    ['BLOSSOM_RATE_LIMIT_PER_MINUTE', ['-1', '60/min'], client],
    ['BLOSSOM_QUEUE_CONCURRENCY', ['0', '0x10', 'adaptiv', '4-200'], client],
    [
      'BLOSSOM_QUEUE_WEIGHTS',
      ['gold', 'gold=', '=3', 'gold=0', 'gold=-1', 'a=1,a=2', 'a=1,'],
      client,
    ],
    ['BLOSSOM_POOL_GATE', ['key', 'on'], client],
    ['BLOSSOM_BREAKER_SLOW_MS', ['-1', '5s'], client],
    ['BLOSSOM_BREAKER_TRIALS', ['0', '1001'], client],
    ['BLOSSOM_TOKEN_LIMIT_PER_MINUTE', ['-1', '100k'], client],
    ['BLOSSOM_TENANT_TOKEN_LIMIT_PER_MINUTE', ['-1', '1e5'], client],
    ['BLOSSOM_TENANT_LIMIT_MODE', ['refuse', 'Wait'], client],
    ['BLOSSOM_BUDGET', ['5', '5/week', '0/day', '-1/day', '$5/day', '1e3/day'], client],
    ['BLOSSOM_TENANT_BUDGET', ['day', '5 a day', '0.0000001/day'], client],
    [
      'BLOSSOM_PRICES',
      ['openai', 'openai=1', 'openai=a/b', '=1/2', 'a=1/2/3/4', 'a=1/2;b=1/2'],
      client,
    ],
    ['BLOSSOM_FALLBACK_MODELS', ['two words', 'a,,b'], client],
    ['BLOSSOM_HEDGE_MODELS', ['two words', ',a'], client],
    ['BLOSSOM_HEDGE_DELAY_MS', ['0', 'p99', '1s'], client],
    ['BLOSSOM_CACHE', ['yes', 'ON', 'redis'], client],
    ['BLOSSOM_CACHE_TTL_MS', ['0', '30m'], client],
    [
      'REDIS_URL',
      ['localhost:6379', 'http://localhost', 'redis://', 'redis://a b', 'redis://host:port'],
      client,
    ],
    [
      'BLOSSOM_CORS_ORIGINS',
      [
        'app.example',
        'https://app.example/path',
        'https://a.example,,',
        'https://user@a.example',
        'https://A.example',
      ],
      gatewayOptionsFromEnv,
    ],
    [
      'BLOSSOM_ADMIN_TOKEN',
      ['short', 'with spaces in the token', 'sixteen-but-ünïcode'],
      gatewayOptionsFromEnv,
    ],
    ['BLOSSOM_SHARED_BREAKER', ['true', 'yes'], client],
    ['BLOSSOM_SHARED_CONCURRENCY', ['5', 'adaptive'], client],
    ['BLOSSOM_FORWARD_KEYS', ['true', '1'], gatewayOptionsFromEnv],
    ['BLOSSOM_ERROR_DETAIL', ['on', 'Full'], gatewayOptionsFromEnv],
    ['BLOSSOM_METRICS', ['yes', 'true'], gatewayOptionsFromEnv],
    ['BLOSSOM_METRICS_TOKEN', ['short', 'with spaces in the token'], gatewayOptionsFromEnv],
    ['BLOSSOM_BODY_LIMIT', ['0', '1mb'], gatewayOptionsFromEnv],
    ['LOG_LEVEL', ['verbose', 'INFO'], gatewayOptionsFromEnv],
  ]

  test.each(wrong)(
    'of %s stops the start with one line that names it without showing the value',
    (name, values, read) => {
      const messages = new Set(values.map((value) => refusal(() => read({ [name]: value }))))
      // One sentence for all of them can show none.
      expect(messages.size).toBe(1)
      expect([...messages][0]).toMatch(
        new RegExp(`^The environment variable ${name} must be [^\\n]+\\.$`),
      )
    },
  )
})
