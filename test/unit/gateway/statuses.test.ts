import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type BlossomLayer, breaker, queue, rateLimit, retry, timeout } from '../../../src/index.js'
import type { Fault } from '../../../src/testing/index.js'
import { pipelined } from '../../support/http-client.js'
import {
  closeAll,
  comparable,
  openEach,
  type Site,
  type SiteOptions,
  sameFromEach,
  wholeStack,
} from '../../support/http-site.js'
import { KEY, PROMPT } from '../../support/secrets.js'

const body = { prompt: PROMPT }

/**
 * What an answer must never show: where upstream is, whose key it has, what it said, and the inside
 * of this library.
 */
const inside = (text: string, site: Site): string[] =>
  [
    KEY,
    PROMPT,
    new URL(site.upstream.url).host,
    '127.0.0.1',
    'told to answer',
    'SECRET-OF-UPSTREAM',
    '    at ',
    '.ts',
    '.js',
    'node_modules',
    'cause',
  ].filter((word) => text.includes(word))

/** Paths of the guide that make one generation. */
const plain = ['text', 'queued', 'retry', 'circuit-breaker', 'cached', 'stream']

/**
 * Faults that are tried on all of them; the others on a plain one and on the stream, as the routes
 * share what follows.
 */
const EVERYWHERE: ReadonlySet<string> = new Set([
  '400',
  '401, about the server’s key',
  '429',
  '503',
])

/** Asks with retries of no weight and a breaker that never opens. */
const calm = (): BlossomLayer[] => wholeStack().filter(({ name }) => name !== 'breaker')
const patient: SiteOptions = { layers: () => [...calm(), breaker({ minimumCalls: 1_000 })] }

describe('what upstream does, and what the caller is told', () => {
  let sites: Site[]
  beforeAll(async () => {
    sites = await openEach(patient)
  })
  afterAll(() => closeAll(sites))

  const statuses: readonly [
    name: string,
    fault: Fault,
    status: number,
    code: string,
    requests: number,
  ][] = [
    ['400', { status: 400 }, 400, 'BAD_REQUEST', 1],
    ['422', { status: 422 }, 422, 'BAD_REQUEST', 1],
    ['401, about the server’s key', { status: 401 }, 502, 'AUTH', 1],
    ['402, about the server’s account', { status: 402 }, 503, 'PAYMENT', 1],
    ['403, about the server’s key', { status: 403 }, 502, 'FORBIDDEN', 1],
    ['404', { status: 404 }, 404, 'NOT_FOUND', 1],
    ['405', { status: 405 }, 400, 'BAD_REQUEST', 1],
    ['409', { status: 409 }, 502, 'SERVER', 3],
    ['429', { status: 429, retryAfter: 7 }, 429, 'RATE_LIMITED', 1],
    ['500', { status: 500 }, 502, 'SERVER', 3],
    ['502', { status: 502 }, 502, 'SERVER', 3],
    ['503', { status: 503 }, 503, 'SERVER', 3],
    ['503 with a wait', { status: 503, retryAfter: 7 }, 503, 'SERVER', 1],
    ['504', { status: 504 }, 504, 'SERVER', 3],
    ['a page of the edge', { status: 522 }, 502, 'SERVER', 3],
    [
      'words of its own',
      { status: 500, body: `SECRET-OF-UPSTREAM ${KEY} Error: x\n at file.js:1` },
      502,
      'SERVER',
      3,
    ],
    ['a redirect', { redirect: 'http://elsewhere.example/' }, 502, 'PROTOCOL', 1],
    ['a web page', { json: 'html' }, 502, 'PROTOCOL', 3],
    ['broken JSON', { json: 'malformed' }, 502, 'PROTOCOL', 3],
    ['nothing', { json: 'empty' }, 502, 'PROTOCOL', 3],
    ['JSON of another shape', { json: 'shape' }, 502, 'PROTOCOL', 3],
    ['no HTTP', { raw: 'SSH-2.0-OpenSSH_9.6\r\n' }, 502, 'PROTOCOL', 3],
    ['a connection reset', { resetBeforeHeaders: true }, 502, 'NETWORK', 3],
  ]

  test.each(statuses)('%s', async (name, fault, status, code, requests) => {
    for (const path of EVERYWHERE.has(name) ? plain : ['text', 'stream']) {
      // Shapes of JSON are no matter of streams, which say it in events.
      if (path === 'stream' && fault.json !== undefined && fault.json !== 'html') continue
      // An account that was limited rests: each path has its own.
      const open = fault.status === 429 ? patient : sites
      const outcome = await sameFromEach(open, async (site) => {
        const { upstream, ask, errors } = site
        upstream.reset()
        upstream.faults.push({ ...fault, times: requests })
        const told = errors.length
        const answer = await ask(`/generate/${path}`, { body })
        const shown = JSON.stringify([answer.headers, answer.text])
        return {
          status: answer.status,
          type: answer.headers['content-type'],
          retryAfter: answer.headers['retry-after'],
          body: comparable(answer).body,
          inside: inside(shown, site),
          requests: upstream.requests.length,
          told: errors.length - told,
        }
      })
      expect(outcome, `${path}: ${name}`).toEqual({
        status,
        type: 'application/problem+json',
        retryAfter: fault.retryAfter === undefined ? undefined : '7',
        body: {
          type: 'about:blank',
          title: expect.any(String),
          status,
          detail: expect.stringMatching(/^[A-Z].*\.$/),
          code,
          requestId: 'ID',
        },
        inside: [],
        requests,
        told: 1,
      })
    }
  })

  test.each([
    [401, 502, 'auth', 'server_error'],
    [402, 503, 'payment', 'server_error'],
    [404, 404, 'not_found', 'invalid_request_error'],
    [422, 422, 'bad_request', 'invalid_request_error'],
    [429, 429, 'rate_limited', 'rate_limit_error'],
    [500, 502, 'server', 'server_error'],
  ])('upstream’s %i below /v1 is a %i of OpenAI’s shape', async (upstreams, status, code, type) => {
    const outcome = await sameFromEach(upstreams === 429 ? patient : sites, async (site) => {
      const { upstream, ask } = site
      upstream.reset()
      upstream.faults.push({
        status: upstreams,
        times: 3,
        ...(upstreams === 429 && { retryAfter: 7 }),
      })
      const answer = await ask('/v1/chat/completions', {
        body: { messages: [{ role: 'user', content: PROMPT }] },
      })
      return { ...comparable(answer), inside: inside(answer.text, site) }
    })
    expect(outcome).toMatchObject({
      status,
      inside: [],
      body: { error: { message: expect.stringMatching(/\.$/), type, code, param: null } },
    })
    // Our retries did what could be done: an SDK's own would only multiply them.
    expect(outcome.headers['x-should-retry']).toBe(
      status >= 500 || status === 429 ? 'false' : undefined,
    )
  })
})

describe('time-outs', () => {
  const hurried: SiteOptions = {
    layers: () => [
      ...calm(),
      breaker({ minimumCalls: 1_000 }),
      timeout({ name: 'attempt2', ms: 20 }),
    ],
  }

  test('are 408 on the route of the circuit breaker and 504 on all others', async () => {
    const statuses = await sameFromEach(hurried, async ({ ask, upstream }) => {
      const seen = []
      for (const path of plain) {
        upstream.faults.push({ hang: true, times: 3 })
        const { status, json } = await ask(`/generate/${path}`, { body })
        seen.push([path, status, json.code, json.title])
      }
      return seen
    })
    expect(statuses).toEqual(
      plain.map((path) => [
        path,
        ...(path === 'circuit-breaker'
          ? [408, 'TIMEOUT', 'Request Timeout']
          : [504, 'TIMEOUT', 'Gateway Timeout']),
      ]),
    )
  })
})

describe('refusals of our own', () => {
  test('an open breaker is 503 with the time to wait, and sends nothing upstream', async () => {
    const outcome = await sameFromEach({}, async (site) => {
      const { ask, upstream } = site
      upstream.fail(500, 15)
      for (let i = 0; i < 5; i++) await ask('/generate/text', { body })
      const before = upstream.requests.length
      const refused = []
      for (const path of plain) refused.push(comparable(await ask(`/generate/${path}`, { body })))
      refused.push(comparable(await ask('/v1/chat/completions', { body: { messages: [{}] } })))
      return { refused, requests: upstream.requests.length - before }
    })
    expect(outcome.requests).toBe(0)
    for (const { status, headers, body } of outcome.refused) {
      expect(status).toBe(503)
      expect(Number(headers['retry-after'])).toBeGreaterThan(25)
      expect(Number(headers['retry-after'])).toBeLessThanOrEqual(30)
      expect(body.code ?? body.error.code).toMatch(/^breaker_open$/i)
    }
  })

  test('a full queue is 503 with a time to wait, at once', async () => {
    const layers = () => [retry({ retries: 0 }), queue({ concurrency: 1, maxWaiting: 1 })]
    const outcome = await sameFromEach(
      { layers, upstream: { latencyMs: ({ rawBody }) => (rawBody.includes('slow') ? 60_000 : 0) } },
      async (site) => {
        const { ask, visit, upstream, blossom } = site
        // One answer, so that the queue knows how long they take.
        await ask('/generate/queued', { body })
        void visit('/generate/queued', { body: { prompt: 'slow' } }).catch(() => {})
        await upstream.waitFor(({ active }) => active === 1)
        void visit('/generate/queued', { body: { prompt: 'slow' } }).catch(() => {})
        while ((blossom.stats() as unknown as { queue: { waiting: number } }).queue.waiting === 0)
          await ask('/health/live')
        const { status, headers, json } = await ask('/generate/queued', { body })
        return {
          status,
          code: json.code,
          waits: Number(headers['retry-after']) >= 0,
          requests: upstream.requests.length,
        }
      },
    )
    expect(outcome).toEqual({ status: 503, code: 'QUEUE_FULL', waits: true, requests: 2 })
  })

  test('a call that the rate limit would delay too long is 429 with the time to wait', async () => {
    const layers = () => [
      timeout({ ms: 1_000 }),
      retry({ retries: 0 }),
      rateLimit({ by: 'all', requests: { limit: 2, burst: 2 } }),
    ]
    const outcome = await sameFromEach({ layers }, async ({ ask, upstream }) => {
      const answers = []
      for (let i = 0; i < 3; i++) answers.push(await ask('/generate/text', { body }))
      const { status, headers, json } = answers[2]!
      return {
        first: answers[0]!.status,
        status,
        code: json.code,
        wait: Number(headers['retry-after']),
        requests: upstream.requests.length,
      }
    })
    expect(outcome).toMatchObject({ first: 200, status: 429, code: 'RATE_LIMITED', requests: 2 })
    expect(outcome.wait).toBeGreaterThan(25)
    expect(outcome.wait).toBeLessThanOrEqual(30)
  })
})

describe('health', () => {
  test('reports the state in the guide’s terms, and nothing else', async () => {
    const outcome = await sameFromEach({}, async ({ ask }) => {
      const answers = [await ask('/health'), await ask('/health/live'), await ask('/health/ready')]
      return answers.map(comparable)
    })
    const [health, live, ready] = outcome
    expect(health).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    })
    expect(health!.body).toEqual({
      status: 'healthy',
      timestamp: 'TIME',
      uptime_seconds: expect.anything(),
      pool_stats: { max_connections: 10, active_connections: 0, available_connections: 10 },
      circuit_breaker_state: 'closed',
      breakers: { open: 0, total: 0 },
    })
    expect([live!.body, ready!.body]).toEqual([{ status: 'ok' }, { status: 'ready' }])
  })

  test('a thousand probes cost no generation, even while upstream hangs', async () => {
    const layers = () => [breaker(), queue()]
    const outcome = await sameFromEach(
      { layers, upstream: { latencyMs: 60_000 } },
      async ({ url, visit, upstream }) => {
        for (let i = 0; i < 8; i++) void visit('/generate/text', { body }).catch(() => {})
        await upstream.waitFor(({ active }) => active === 5)
        const probes = Array.from(
          { length: 1_000 },
          (_, nth) => ['/health', '/health/live', '/health/ready'][nth % 3]!,
        )
        const statuses = await pipelined(url, probes)
        return {
          probes: statuses.length,
          statuses: [...new Set(statuses)],
          requests: upstream.requests.length,
        }
      },
    )
    expect(outcome).toEqual({ probes: 1_000, statuses: [200], requests: 5 })
  })

  test('an open breaker makes readiness 503 but not liveness; a successful trial restores it', async () => {
    const layers = () => [...calm(), breaker({ minimumCalls: 2, resetMs: 1_000 })]
    const outcome = await sameFromEach({ layers }, async ({ ask, upstream }) => {
      upstream.fail(500, 2)
      await ask('/generate/text', { body })
      const open = [await ask('/health'), await ask('/health/ready'), await ask('/health/live')]
      let state = 'open'
      while (state === 'open') state = (await ask('/health')).json.circuit_breaker_state
      const halfOpen = [state, (await ask('/health/ready')).status]
      await ask('/generate/text', { body })
      const closed = [
        (await ask('/health')).json.circuit_breaker_state,
        (await ask('/health/ready')).status,
      ]
      return {
        open: open.map(({ status }) => status),
        body: [
          open[0]!.json.status,
          open[0]!.json.circuit_breaker_state,
          Object.keys(open[0]!.json).length,
        ],
        halfOpen,
        closed,
      }
    })
    expect(outcome).toEqual({
      open: [503, 503, 200],
      body: ['unhealthy', 'open', 6],
      // Ready again before anybody has tried, or no traffic would ever come to try.
      halfOpen: ['half_open', 200],
      closed: ['closed', 200],
    })
  })

  test('one open circuit among those of several models leaves the server ready', async () => {
    const layers = () => [...calm(), breaker({ minimumCalls: 1, key: 'model' })]
    const health = async ({ ask }: Pick<Site, 'ask'>) => {
      const { status, json } = await ask('/health')
      return [
        status,
        json.circuit_breaker_state,
        json.breakers,
        (await ask('/health/ready')).status,
      ]
    }
    const outcome = await sameFromEach({ layers }, async ({ ask, upstream }) => {
      await ask('/generate/text', { body: { ...body, model: 'mistral' } })
      upstream.fail(500, 2)
      await ask('/generate/text', { body })
      const one = await health({ ask })
      await ask('/generate/text', { body: { ...body, model: 'mistral' } })
      return { one, both: await health({ ask }) }
    })
    expect(outcome).toEqual({
      one: [200, 'closed', { open: 1, total: 2 }, 200],
      both: [503, 'open', { open: 2, total: 2 }, 503],
    })
  })

  test('draining makes readiness 503 and refuses new calls with CLOSED, while running calls finish', async () => {
    const outcome = await sameFromEach(
      { upstream: { latencyMs: 150, reply: () => 'Done.' } },
      async ({ ask, upstream, gateway }) => {
        const underWay = ask('/generate/text', { body })
        await upstream.waitFor(({ active }) => active === 1)
        gateway.drain()
        const health = await ask('/health')
        const answers = [
          health,
          await ask('/health/ready'),
          await ask('/health/live'),
          await ask('/pool/stats'),
        ]
        const refused = [
          await ask('/generate/text', { body }),
          await ask('/generate/batch', { body: { prompts: ['a'] } }),
          await ask('/generate/stream', { body }),
          await ask('/v1/chat/completions', { body: { messages: [{}] } }),
          await ask('/v1/models'),
        ]
        return {
          statuses: answers.map(({ status }) => status),
          health: health.json.status,
          refused: refused.map(({ status, json }) => [status, json.code ?? json.error.code]),
          underWay: (await underWay).json.text,
          requests: upstream.requests.length,
        }
      },
    )
    const closed = [503, 'CLOSED']
    expect(outcome).toEqual({
      statuses: [503, 503, 200, 200],
      health: 'draining',
      refused: [closed, closed, closed, [503, 'closed'], [503, 'closed']],
      underWay: 'Done.',
      requests: 1,
    })
  })

  test('a requested probe is paid for once per interval, and its verdict counts', async () => {
    const outcome = await sameFromEach(
      { gateway: { probe: { everyMs: 60_000 } } },
      async ({ ask, upstream }) => {
        upstream.fail(400)
        const answers = await Promise.all(Array.from({ length: 5 }, () => ask('/health')))
        answers.push(await ask('/health'))
        const ready = await ask('/health/ready')
        return {
          statuses: [...new Set(answers.map(({ status }) => status))],
          ready: ready.status,
          requests: upstream.requests.length,
        }
      },
    )
    expect(outcome).toEqual({ statuses: [503], ready: 200, requests: 1 })
  })
})
