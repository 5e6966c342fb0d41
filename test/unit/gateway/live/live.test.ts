import type { AddressInfo } from 'node:net'
import express from 'express'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createGateway, type GatewayOptions, toNode } from '../../../../src/gateway/index.js'
import type { Snapshot } from '../../../../src/gateway/live/watch.js'
import {
  type BlossomLayer,
  breaker,
  createBlossom,
  queue,
  rateLimit,
  retry,
  standard,
} from '../../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'

const TOKEN = 'a-token-for-the-live-page'
const SECRET = 'a prompt that nobody else may read'

let upstream: LocalBlossom
const ends: (() => unknown)[] = []
beforeEach(async () => {
  upstream = await startLocalBlossom()
})
afterEach(async () => {
  vi.useRealTimers()
  for (const end of ends.splice(0).reverse()) await end()
  await upstream.close()
})

/** A gateway with a live page, and a browser's part of it. */
function open(options: GatewayOptions = {}, layers: readonly BlossomLayer[] = standard()) {
  const blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_secret' }).use(...layers)
  const gateway = createGateway(blossom, { adminToken: TOKEN, ...options })
  ends.push(
    () => gateway.close({ timeoutMs: 0 }),
    () => blossom.close({ timeoutMs: 0 }),
  )
  const ask = (path: string, init?: RequestInit) =>
    gateway(new Request(`http://localhost${path}`, init))
  const post = (
    fields: Record<string, string>,
    headers: Record<string, string> = {},
    path = '/live',
  ) => ask(path, { method: 'POST', body: new URLSearchParams(fields), headers })
  const signIn = async () =>
    (await post({ token: TOKEN })).headers.get('set-cookie')!.split(';', 1)[0]!
  const page = async (cookie: string) => (await ask('/live', { headers: { cookie } })).text()
  return { blossom, gateway, ask, post, signIn, page }
}

/** The snapshots of a feed, as they come. */
async function* snapshots(response: Response): AsyncGenerator<Snapshot> {
  let text = ''
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    text += piece
    const events = text.split('\n\n')
    text = events.pop()!
    for (const event of events)
      if (event.startsWith('data: ')) yield JSON.parse(event.slice('data: '.length)) as Snapshot
  }
}

async function snapshotThat(
  response: Response,
  fits: (snapshot: Snapshot) => boolean,
): Promise<Snapshot> {
  for await (const snapshot of snapshots(response)) if (fits(snapshot)) return snapshot
  throw new Error('The feed has ended.')
}

describe('the live page', () => {
  it('does not exist without an admin token, or when the routes leave it out', async () => {
    for (const options of [{ adminToken: undefined }, { routes: ['text'] as const }]) {
      const { ask } = open(options)
      for (const path of ['/live', '/live/feed']) expect((await ask(path)).status).toBe(404)
    }
  })

  it('shows only a form to visitors who have not signed in', async () => {
    const { ask } = open({ call: () => new Response(null, { status: 401 }) })
    const response = await ask('/live')
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(text).toContain('<label for="token">')
    expect(text).not.toMatch(/data-layer|application\/json/)
    expect((await ask('/live/feed')).status).toBe(401)
    const wrong = { headers: { cookie: 'blossom_live=guessed' } }
    expect((await ask('/live/feed', wrong)).status).toBe(401)
  })

  it.each([
    ['', {}, '/live', false],
    ['/ai', {}, '/ai/live', false],
    ['', { referer: 'https://example.org/behind/a/mount/live?x=1' }, '/behind/a/mount/live', false],
    ['', { referer: 'https://example.org/elsewhere; Domain=evil' }, '/live', false],
    ['', { 'x-forwarded-proto': 'https' }, '/live', true],
  ])(
    'signs in below %j with %j: a cookie for %s alone',
    async (prefix, headers, path, isSecure) => {
      const { post, ask } = open({ prefix })
      const response = await post({ token: TOKEN }, headers, `${prefix}/live`)
      expect([response.status, response.headers.get('location')]).toEqual([303, 'live'])
      const [cookie, ...attributes] = response.headers.get('set-cookie')!.split('; ')
      expect(attributes).toEqual([
        `Path=${path}`,
        'Max-Age=43200',
        'HttpOnly',
        'SameSite=Strict',
        ...(isSecure ? ['Secure'] : []),
      ])
      expect(cookie).not.toContain(TOKEN)
      const page = await ask(`${prefix}/live`, { headers: { cookie: cookie! } })
      expect(await page.text()).toContain('id="layers"')
    },
  )

  it('serves its own scripts and styles under a fresh nonce, and is never cached', async () => {
    const { ask, signIn } = open()
    const cookie = await signIn()
    const nonces = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const response = await ask('/live', { headers: { cookie } })
      const policy = response.headers.get('content-security-policy')!
      const [, nonce] = /script-src 'nonce-([^']+)'/.exec(policy)!
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("base-uri 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('unsafe')
      expect(response.headers.get('cache-control')).toBe('no-store')
      const text = await response.text()
      for (const [tag] of text.matchAll(/<(?:script|style)[^>]*>/g))
        expect(tag).toContain(`nonce="${nonce}"`)
      expect(text).not.toMatch(/ (?:style|on\w+)=/)
      nonces.add(nonce!)
    }
    expect(nonces.size).toBe(3)
  })

  it('refuses a wrong token without a cookie, and blocks sign-ins for a while from the tenth in a minute', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const { post } = open()
    for (let i = 0; i < 9; i++) {
      const response = await post({ token: `wrong ${i}` })
      expect(response.status).toBe(401)
      expect(response.headers.get('set-cookie')).toBeNull()
      expect(await response.text()).toContain('The admin token is wrong.')
    }
    // Nobody learns by trying on whether one is right.
    for (const token of ['wrong', TOKEN]) {
      const response = await post({ token })
      expect(response.status).toBe(429)
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(response.headers.get('set-cookie')).toBeNull()
    }
    await vi.advanceTimersByTimeAsync(60_001)
    expect((await post({ token: TOKEN })).status).toBe(303)
  })

  it('accepts nothing but a form', async () => {
    const { ask } = open()
    const json = { 'content-type': 'application/json' }
    const body = JSON.stringify({ token: TOKEN })
    expect((await ask('/live', { method: 'POST', headers: json, body })).status).toBe(415)
    const long = new URLSearchParams({ token: 'x'.repeat(10_000) })
    expect((await ask('/live', { method: 'POST', body: long })).status).toBe(413)
  })

  it('ends a session at sign-out and after twelve hours', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const { post, page, signIn } = open()
    const [one, two] = [await signIn(), await signIn()]
    expect((await post({ leave: 'yes' }, { cookie: one })).headers.get('set-cookie')).toContain(
      'Max-Age=0',
    )
    expect(await page(one)).toContain('<label for="token">')
    expect(await page(two)).toContain('id="layers"')
    await vi.advanceTimersByTimeAsync(12 * 3_600_000)
    expect(await page(two)).toContain('<label for="token">')
  })

  it('shows the stats of each layer and what is wrong with its place', async () => {
    const layers = [
      queue({ concurrency: 3 }),
      breaker({ key: 'model' }),
      rateLimit({ requests: 60 }),
    ]
    const { blossom, ask, signIn } = open({}, layers as never)
    await blossom.text.generate('Hello', { tenant: 'alice' })
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    const shown = await snapshotThat(feed, () => true)
    expect(shown.layers.map(({ name }) => name)).toEqual(blossom.describe().map(({ name }) => name))
    const notes = shown.layers.map(({ note }) => note)
    expect(notes).toEqual(blossom.describe().map(({ note }) => note))
    expect(notes.some((note) => note !== undefined)).toBe(true)
    expect(shown.layers[0]?.stats).toEqual((blossom.stats() as Record<string, object>).queue)
    expect(shown.layers[1]?.stats).toMatchObject({ state: 'closed', 'circuits.total': 1 })
  })

  it('counts calls by how they end, and lists the latest failures with their requests', async () => {
    const { ask, signIn } = open({}, [
      retry({ retries: 1, minDelayMs: 1 }),
      breaker({ minimumCalls: 3 }),
    ])
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    const generate = (prompt: string) =>
      ask('/generate/text', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt }),
      })
    await generate(SECRET)
    upstream.fault({ status: 503, times: 2 })
    const failed = await generate(SECRET)
    const shown = await snapshotThat(feed, ({ failures }) => failures.length > 0)
    expect(shown.traffic.totals).toEqual({ complete: 1, failed: 1, left: 0 })
    expect(shown.traffic.work).toMatchObject({ attempts: 3, retries: 1 })
    expect(shown.failures).toEqual([
      {
        at: expect.any(Number),
        code: 'SERVER',
        model: 'openai',
        status: failed.status,
        requestId: failed.headers.get('x-request-id'),
      },
    ])
    expect(shown.circuits).toEqual([
      { layer: 'breaker', state: 'open', resetsInMs: expect.any(Number) },
    ])
    const text = JSON.stringify(shown)
    for (const secret of [SECRET, TOKEN, 'sk_secret']) expect(text).not.toContain(secret)
  })

  it('lists failures of calls that the gateway did not make', async () => {
    const { blossom, ask, signIn } = open({}, [])
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    upstream.fault({ status: 500 })
    await expect(blossom.text.generate(SECRET)).rejects.toThrow()
    const { failures } = await snapshotThat(feed, (shown) => shown.failures.length > 0)
    expect(failures).toEqual([{ at: expect.any(Number), code: 'SERVER', model: 'openai' }])
  })

  it('shows which calls are in progress and which are waiting', async () => {
    const { blossom, ask, signIn } = open({}, [queue({ concurrency: 1 })])
    upstream.fault({ hang: true, times: 3 })
    const leaving = new AbortController()
    const calls = ['alice', 'alice', 'bob'].map((tenant) =>
      blossom.text.generate('Hi', { tenant, signal: leaving.signal }).catch(() => {}),
    )
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    const { tenants, waiting } = await snapshotThat(feed, () => true)
    expect(waiting).toBe(2)
    expect([...tenants].sort((a, b) => b.running - a.running)).toEqual([
      { tenant: 'alice', running: 1, waiting: 1 },
      { tenant: 'bob', running: 0, waiting: 1 },
    ])
    leaving.abort()
    await Promise.all(calls)
  })

  it('stays below 16 KiB a second, however long the names and however many the failures', async () => {
    const { ask, signIn } = open({ call: () => ({ tenant: 't'.repeat(200) }) })
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    upstream.fault({ status: 400, times: 100 })
    const body = JSON.stringify({
      model: 'm'.repeat(300),
      messages: [{ role: 'user', content: 'Hi' }],
    })
    for (let i = 0; i < 60; i++)
      await ask('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-request-id': `${i}`.padEnd(128, 'r') },
        body,
      })
    const shown = await snapshotThat(feed, ({ failures }) => failures.length === 50)
    expect(JSON.stringify(shown).length).toBeLessThan(16_384)
  })

  it('costs nothing while nobody watches, from a minute after the last page', async () => {
    const { ask, signIn } = open()
    const cookie = await signIn()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const leaving = new AbortController()
    const feed = await ask('/live/feed', { headers: { cookie }, signal: leaving.signal })
    await feed.body!.cancel()
    leaving.abort()
    await vi.advanceTimersByTimeAsync(59_000)
    expect(vi.getTimerCount()).toBeGreaterThan(0)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('shows isolated circuits until they are reset', async () => {
    const layer = breaker({ key: 'model' })
    const { ask, signIn } = open({}, [layer] as never)
    const cookie = await signIn()
    const circuits = async () => {
      const feed = await ask('/live/feed', { headers: { cookie } })
      return (await snapshotThat(feed, () => true)).circuits
    }
    layer.isolate('openai')
    const isolated = { layer: 'breaker', state: 'isolated', resetsInMs: 0 }
    expect(await circuits()).toEqual([{ ...isolated, key: 'openai' }])
    layer.isolate()
    expect(await circuits()).toEqual([isolated])
    layer.reset()
    expect(await circuits()).toEqual([])
  })

  it('reads a form that an outer parser has already read', async () => {
    const { blossom } = open()
    const form = `token=${TOKEN}`
    for (const body of [form, Buffer.from(form), { token: TOKEN }]) {
      const app = express()
      app.use((request, _, next) => {
        Object.assign(request, { body })
        next()
      })
      app.use(toNode(createGateway(blossom, { adminToken: TOKEN })))
      const server = app.listen(0)
      ends.push(() => server.close())
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/live`
      const init = { method: 'POST', body: new URLSearchParams({}), redirect: 'manual' } as const
      expect((await fetch(url, init)).status).toBe(303)
    }
  })

  it('ends its feeds when the gateway closes', async () => {
    const { gateway, ask, signIn } = open()
    const feed = await ask('/live/feed', { headers: { cookie: await signIn() } })
    const reading = feed.text()
    await gateway.close({ timeoutMs: 10_000 })
    expect(await reading).toMatch(/^data: /)
    // A page that comes back at once does not hold up the close.
    expect((await ask('/live/feed', { headers: { cookie: await signIn() } })).status).toBe(503)
  })
})
