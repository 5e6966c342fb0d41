import { once } from 'node:events'
import { createServer } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { toNode } from '../../../src/gateway/index.js'
import { queue } from '../../../src/index.js'
import { begin } from '../../support/http-client.js'
import { ExpressFramework, frameworks } from '../../support/http-frameworks.js'
import { openSite, type Site, type SiteOptions, until } from '../../support/http-site.js'
import { http2Client } from '../../support/http2-client.js'
import { PROMPT } from '../../support/secrets.js'

const body = { prompt: PROMPT }
const chat = { messages: [{ role: 'user', content: PROMPT }] }

/** How soon upstream must know that a caller has left. Milliseconds. */
const SOON = 500

interface Stats {
  queue: { running: number; waiting: number }
  pool: { active: number }
}
const statsOf = ({ blossom }: Site) => blossom.stats() as unknown as Stats

/** Resolves when upstream has seen the leaving and nothing is held for it any more. */
async function freed(site: Site): Promise<void> {
  await site.upstream.waitFor(
    ({ requests, active }) => active === 0 && requests.every(({ outcome }) => outcome !== 'open'),
    SOON,
  )
  await until(
    () => statsOf(site),
    ({ queue, pool }) => queue.running === 0 && queue.waiting === 0 && pool.active === 0,
  )
}

describe.each(frameworks)('a caller who leaves a server of $name', (framework) => {
  const hanging = { latencyMs: 60_000 }

  test.each([
    ['/generate/text', body],
    ['/generate/cached', body],
    ['/generate/stream', body],
    ['/v1/chat/completions', chat],
    ['/v1/images/generations', body],
    ['/v1/embeddings', { input: 'a' }],
  ])('before the answer of %s stops upstream at once and frees its slot', async (path, payload) => {
    await using site = await openSite(framework, { upstream: hanging })
    const sent = begin(site.url, path, { body: payload }).on('error', () => {})
    await site.upstream.waitFor(
      ({ active, requests }) => active === 1 && requests[0]!.rawBody !== '',
    )
    sent.destroy()
    await freed(site)
    await site.logged(1)
    expect(site.upstream.requests.map(({ outcome }) => outcome)).toEqual(['aborted'])
    expect(site.log[0]).toMatchObject({ status: 499, level: 'warn' })
    expect(site.log[0]).not.toHaveProperty('code')
    expect(site.errors).toEqual([])
  })

  test.each([
    ['/generate/stream', body],
    ['/v1/chat/completions', { ...chat, stream: true }],
  ])('in the middle of %s stops upstream at once and frees its slot', async (path, payload) => {
    await using site = await openSite(framework, { upstream: { words: 50 } })
    site.upstream.faults.push({ stallAfterChunks: 3 })
    const visit = await site.visit(path, { body: payload })
    await visit.next()
    visit.leave()
    await freed(site)
    await site.logged(1)
    expect(site.log).toMatchObject([{ status: 499, firstTokenMs: expect.any(Number) }])
    expect(site.errors).toEqual([])
  })

  test('from a batch stops every prompt and starts no more', async () => {
    await using site = await openSite(framework, { upstream: hanging })
    const prompts = Array.from({ length: 20 }, (_, i) => `prompt ${i}`)
    const sent = begin(site.url, '/generate/batch', { body: { prompts, batch_size: 3 } }).on(
      'error',
      () => {},
    )
    await site.upstream.waitFor(({ active }) => active === 3)
    sent.destroy()
    await freed(site)
    expect(site.upstream.requests).toHaveLength(3)
  })

  test('while the call is still waiting costs nothing', async () => {
    await using site = await openSite(framework, {
      layers: () => [queue({ concurrency: 1 })],
      upstream: { latencyMs: ({ rawBody }) => (rawBody.includes('slow') ? 60_000 : 0) },
    })
    const slow = begin(site.url, '/generate/text', { body: { prompt: 'slow' } }).on(
      'error',
      () => {},
    )
    await site.upstream.waitFor(({ active }) => active === 1)
    const waiting = begin(site.url, '/generate/text', { body: { prompt: 'waiting' } }).on(
      'error',
      () => {},
    )
    await until(
      () => statsOf(site),
      ({ queue }) => queue.waiting === 1,
    )
    waiting.destroy()
    await until(
      () => statsOf(site),
      ({ queue }) => queue.waiting === 0,
    )
    slow.destroy()
    await site.upstream.waitFor(({ active }) => active === 0, SOON)
    expect((await site.ask('/generate/text', { body })).status).toBe(200)
    expect(site.upstream.requests.map(({ rawBody }) => rawBody.includes('waiting'))).toEqual([
      false,
      false,
    ])
  })

  test('in the middle of sending a request causes no error', async () => {
    await using site = await openSite(framework)
    const socket = connect(Number(new URL(site.url).port), '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      `POST /generate/text HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"prompt":`,
    )
    // The server has begun to read as soon as it answers somebody who came later.
    await site.ask('/health/live')
    socket.destroy()
    await site.logged(2)
    expect(site.log[1]).toMatchObject({ route: '/generate/text', status: 499 })
    expect(site.errors).toEqual([])
    expect(site.upstream.requests).toEqual([])
  })

  test('a reader who stops reading slows upstream down, and leaving still ends the call', async () => {
    await using site = await openSite(framework)
    site.upstream.faults.push({ bigBody: Number.POSITIVE_INFINITY })
    const visit = await site.visit('/generate/stream', { body })
    await visit.next()
    const [sent] = site.upstream.requests
    // Without back-pressure it would grow for ever.
    for (let before = -1; before !== sent!.bytesSent; ) {
      before = sent!.bytesSent
      await delay(150)
    }
    expect(sent!.bytesSent).toBeLessThan(32 * 1024 * 1024)
    visit.leave()
    await freed(site)
    // The end is seen although nobody asked for more.
    await site.logged(1)
    expect(site.log[0]).toMatchObject({ status: 499 })
    await site.gateway.close()
  }, 20_000)

  test('after the answer does not count as leaving', async () => {
    await using site = await openSite(framework)
    await site.ask('/generate/stream', { body })
    await site.ask('/generate/text', { body })
    expect(site.log.map(({ status }) => status)).toEqual([200, 200])
    expect(site.upstream.requests.map(({ outcome }) => outcome)).toEqual(['complete', 'complete'])
  })
})

describe.each(frameworks)('closing a gateway of $name', (framework) => {
  test('lets streams and plain calls finish, refuses new ones, and resolves when all are done', async () => {
    await using site = await openSite(framework, {
      upstream: {
        words: 20,
        chunkDelayMs: 10,
        latencyMs: ({ path }) => (path.includes('chat') ? 0 : 100),
      },
    })
    const stream = await site.visit('/generate/stream', { body })
    await stream.next()
    const image = site.ask('/v1/images/generations', { body })
    await site.upstream.waitFor(({ active }) => active === 2)
    let closed = false
    const closing = site.gateway.close().then(() => {
      closed = true
    })
    expect(await site.ask('/generate/text', { body })).toMatchObject({
      status: 503,
      json: { code: 'CLOSED' },
    })
    expect((await site.ask('/health/ready')).status).toBe(503)
    expect(closed).toBe(false)
    expect((await stream.rest()).endsWith('data: [DONE]\n\n')).toBe(true)
    expect((await image).status).toBe(200)
    await closing
    expect(
      site.log.filter(
        ({ route }) => route.startsWith('/generate/stream') || route.startsWith('/v1'),
      ),
    ).toMatchObject([{ status: 200 }, { status: 200 }])
  })

  test('cuts off unfinished calls: a stream gets an error event and no [DONE], a plain call 503', async () => {
    await using site = await openSite(framework, {
      upstream: { latencyMs: ({ path }) => (path.includes('chat') ? 0 : 60_000) },
    })
    site.upstream.faults.push({ stallAfterChunks: 2 })
    const stream = await site.visit('/generate/stream', { body })
    await stream.next()
    const image = site.ask('/v1/images/generations', { body })
    await site.upstream.waitFor(({ active }) => active === 2)
    await site.gateway.close({ timeoutMs: 20 })
    const rest = await stream.rest()
    expect(rest).toMatch(/event: error\ndata: \[ERROR\] \{"code":"(CLOSED|STREAM)".*\n\n$/)
    expect(rest).not.toContain('[DONE]')
    expect(await image).toMatchObject({ status: 503, json: { error: { code: 'closed' } } })
    await freed(site)
    await site.logged(2)
    expect(site.log.map(({ status, code }) => [status, code])).toEqual(
      expect.arrayContaining([
        [200, expect.stringMatching(/^(CLOSED|STREAM)$/)],
        [503, 'CLOSED'],
      ]),
    )
  })

  test('twice is the same as once', async () => {
    await using site = await openSite(framework, { upstream: { latencyMs: 50 } })
    const call = site.ask('/generate/text', { body })
    await site.upstream.waitFor(({ active }) => active === 1)
    await Promise.all([
      site.gateway.close(),
      site.gateway.close(),
      site.gateway.close({ timeoutMs: 0 }),
    ])
    expect((await call).status).toBe(200)
    await site.gateway.close()
  })
})

describe('a client of HTTP/2 that leaves', () => {
  async function openHttp2(options?: SiteOptions) {
    const site = await openSite(ExpressFramework, options)
    const server = createServer(toNode(site.gateway)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = http2Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    return {
      site,
      client,
      async [Symbol.asyncDispose]() {
        client.close()
        server.close()
        await site[Symbol.asyncDispose]()
      },
    }
  }

  test.each([
    ['/generate/text', body],
    ['/v1/chat/completions', chat],
    ['/v1/chat/completions', { ...chat, stream: true }],
  ])('before the answer of %s stops upstream at once and is logged', async (path, payload) => {
    await using it = await openHttp2({ upstream: { latencyMs: 60_000 } })
    const begun = it.site.upstream.waitFor(({ active }) => active === 1)
    await it.client.leave(path, { body: payload }, begun)
    await freed(it.site)
    await it.site.logged(1)
    expect(it.site.log).toMatchObject([{ status: 499, level: 'warn', route: path }])
    expect(it.site.errors).toEqual([])
  })

  test('in the middle of a stream stops upstream at once and is logged', async () => {
    await using it = await openHttp2({ upstream: { words: 50 } })
    it.site.upstream.faults.push({ stallAfterChunks: 3 })
    await it.client.leave('/generate/stream', { body }, 'begun')
    await freed(it.site)
    await it.site.logged(1)
    expect(it.site.log).toMatchObject([{ status: 499, firstTokenMs: expect.any(Number) }])
  })

  test('by breaking the connection stops everything running on it', async () => {
    await using it = await openHttp2({ upstream: { latencyMs: 60_000 } })
    const { client, site } = it
    const begun = site.upstream.waitFor(({ active }) => active === 2)
    const asked = ['a', 'b'].map((prompt) => client.ask('/generate/text', { body: { prompt } }))
    const ended = Promise.allSettled(asked)
    await begun
    client.close()
    await freed(site)
    await site.logged(2)
    expect(site.log.map(({ status }) => status)).toEqual([499, 499])
    await ended
  })

  test('is not logged as leaving when the whole answer was sent', async () => {
    await using it = await openHttp2({ upstream: { words: 5_000, coalesce: false } })
    const answers = await Promise.all(
      ['/generate/text', '/generate/stream'].map((path) =>
        it.client.ask(path, { body: { ...body, max_tokens: 10_000 } }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    await it.site.logged(2)
    expect(it.site.log.map(({ status }) => status)).toEqual([200, 200])
  })
})
