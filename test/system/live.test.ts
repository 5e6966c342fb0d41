import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, toNode } from '../../src/gateway/index.js'
import { type Blossom, createBlossom, standard } from '../../src/index.js'
import { type RedisShared, redisShared } from '../../src/redis/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'
import { RedisServer } from '../support/redis-server.js'

const CHROMIUM = process.env.CHROMIUM_PATH || '/usr/bin/chromium'
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync']
const TOKEN = 'a-token-for-the-live-page'
const SECRET = 'a prompt that nobody else may read'
/** Screenshots, to look at. */
const SHOTS = join(import.meta.dirname, '../../coverage/live')
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const SIZES = [
  { width: 1280, height: 900 },
  { width: 375, height: 800 },
]

describe('/live in Chromium', () => {
  let upstream: LocalBlossom
  let redis: RedisServer
  let shared: RedisShared
  let blossom: Blossom<readonly unknown[]>
  let server: Server
  let browser: Browser
  let origin: string
  let traffic: NodeJS.Timeout | undefined
  const pages: Page[] = []

  beforeAll(async () => {
    if (!existsSync(CHROMIUM))
      throw new Error(
        `Chromium is not at ${CHROMIUM}: install it, or name its place in CHROMIUM_PATH.`,
      )
    mkdirSync(SHOTS, { recursive: true })
    redis = await RedisServer.start()
    shared = redisShared({ url: redis.url })
    upstream = await startLocalBlossom({ coalesce: false })
    blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_secret' }).use(
      ...standard({
        cache: { shared },
        rateLimit: { requests: 1_000_000 },
        queue: { concurrency: 50 },
        retry: { retries: 0 },
        breaker: { resetMs: 5_000, minimumCalls: 5 },
      }),
    )
    const gateway = createGateway(blossom, {
      prefix: '/ai',
      adminToken: TOKEN,
      call: (request) => ({ tenant: request.headers.get('x-tenant') ?? undefined }),
    })
    server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS })
  })
  afterEach(async () => {
    clearInterval(traffic)
    for (const page of pages.splice(0)) await page.close()
  })
  afterAll(async () => {
    await browser?.close()
    server?.closeAllConnections()
    server?.close()
    await blossom?.close()
    await shared?.close()
    await upstream?.close()
    await redis?.remove()
  })

  const ask = (prompt: string) =>
    fetch(`${origin}/ai/generate/text`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-tenant': 'alice' },
      body: JSON.stringify({ prompt }),
    }).then((answer) => answer.text())

  let asked = 0
  /** So many calls a second, of which none waits for another. */
  function load(rate: number): void {
    clearInterval(traffic)
    traffic = setInterval(() => {
      for (let i = 0; i < rate / 10; i++) ask(`${SECRET} ${asked++}`).catch(() => {})
    }, 100)
  }

  /** A page that notes what it asks for, complains of and moves. */
  async function opened(colorScheme: 'light' | 'dark' = 'light', size = SIZES[0]!) {
    const page = await browser.newPage({ colorScheme, viewport: size })
    pages.push(page)
    const complaints: string[] = []
    const requested: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    page.on('pageerror', ({ message }) => complaints.push(message))
    page.on('request', (request) => requested.push(new URL(request.url()).origin))
    await page.addInitScript(`
      window.shifted = 0
      new PerformanceObserver((list) => {
        for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) shifted += value
      }).observe({ type: 'layout-shift', buffered: true })`)
    return { page, complaints, requested }
  }

  async function signIn(page: Page): Promise<void> {
    await page.goto(`${origin}/ai/live`)
    await page.getByLabel('Admin token').fill(TOKEN)
    await page.keyboard.press('Enter')
    await page.locator('#link', { hasText: 'live' }).waitFor()
  }

  const figure = (page: Page, layer: string, stat: string) =>
    page.locator(`[data-layer="${layer}"] [data-stat="${stat}"]`).textContent()
  const number = async (page: Page, layer: string, stat: string) =>
    Number((await figure(page, layer, stat))?.replaceAll(',', ''))

  /** What axe has found, in words. */
  async function findings(page: Page): Promise<string[]> {
    // As a debugger would: the page's own policy lets nobody add a script.
    const session = await page.context().newCDPSession(page)
    await session.send('Runtime.evaluate', { expression: AXE })
    const { result } = await session.send('Runtime.evaluate', {
      expression:
        'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html).join(" ")))',
      awaitPromise: true,
      returnByValue: true,
    })
    return result.value as string[]
  }

  it('refuses a wrong token, and shows the composition of the stack with the right one', async () => {
    const { page, complaints, requested } = await opened()
    await page.goto(`${origin}/ai/live`)
    await page.getByLabel('Admin token').fill('a wrong one')
    await page.getByRole('button', { name: 'Show the page' }).click()
    await page.getByRole('alert').filter({ hasText: 'The admin token is wrong.' }).waitFor()
    // The browser tells of the 401.
    complaints.length = 0
    await signIn(page)
    const layers = await page
      .locator('[data-layer]')
      .evaluateAll((all) => all.map((box) => box.getAttribute('data-layer')))
    expect(layers).toEqual(blossom.describe().map(({ name }) => name))
    expect(page.url()).toBe(`${origin}/ai/live`)
    expect(await page.evaluate('document.cookie')).toBe('')
    await page.waitForTimeout(2_500)
    expect(complaints).toEqual([])
    expect([...new Set(requested)]).toEqual([origin])
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Admin token').waitFor()
  })

  it('follows the load within two seconds, and holds no prompt and no key', async () => {
    const { page } = await opened()
    await signIn(page)
    for (let i = 0; i < 3; i++) {
      await Promise.all(Array.from({ length: 10 }, (_, n) => ask(`${SECRET} ${i} ${n}`)))
      const { cache, queue } = blossom.stats() as unknown as Record<string, Record<string, number>>
      await expect
        .poll(
          async () => [
            await number(page, 'cache', 'misses'),
            await number(page, 'queue', 'completed'),
          ],
          { timeout: 2_000 },
        )
        .toEqual([cache!.misses, queue!.completed])
    }
    const content = await page.content()
    for (const secret of [SECRET, TOKEN, 'sk_secret']) expect(content).not.toContain(secret)
  })

  it('shows an open breaker by a word, with the time until it is half-open, and what has failed', async () => {
    const { page } = await opened()
    await signIn(page)
    upstream.fault({ status: 503, times: 40 })
    load(40)
    await expect.poll(() => figure(page, 'breaker', 'state')).toBe('open')
    await page.locator('#circuits', { hasText: /half-open in \d+ s/ }).waitFor()
    await page.locator('#failures td', { hasText: 'BREAKER_OPEN' }).first().waitFor()
    for (const colorScheme of ['light', 'dark'] as const)
      for (const size of SIZES) await look(page, 'breaker-open', colorScheme, size)
    upstream.reset()
    await expect.poll(() => figure(page, 'breaker', 'state'), { timeout: 30_000 }).toBe('closed')
  })

  /** Takes a picture, and finds nothing wrong with the page. */
  async function look(
    page: Page,
    name: string,
    colorScheme: 'light' | 'dark',
    size: { width: number; height: number },
  ) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize(size)
    await page.screenshot({
      path: join(SHOTS, `${name}-${size.width}-${colorScheme}.png`),
      fullPage: true,
    })
    expect(await findings(page)).toEqual([])
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(size.width)
  }

  it.each([0, 1_000])(
    'is whole at %i calls a second: light and dark, wide and narrow, without a shift',
    async (rate) => {
      if (rate > 0) load(rate)
      for (const colorScheme of ['light', 'dark'] as const)
        for (const size of SIZES) {
          const { page, complaints } = await opened(colorScheme, size)
          await signIn(page)
          await page.waitForTimeout(3_000)
          expect(await page.evaluate('shifted')).toBeLessThan(0.05)
          await look(page, `${rate}-a-second`, colorScheme, size)
          expect(complaints).toEqual([])
          await page.close()
        }
    },
  )

  it('says when Redis is gone, and when it is back', async () => {
    const { page } = await opened()
    await signIn(page)
    load(20)
    await page.locator('#processes', { hasText: 'connected' }).waitFor({ timeout: 30_000 })
    await redis.kill()
    await page.locator('#processes', { hasText: 'each process decides alone' }).waitFor()
    await look(page, 'redis-gone', 'light', SIZES[0]!)
    await redis.start()
    await page.locator('#processes', { hasText: 'connected' }).waitFor({ timeout: 60_000 })
  })

  it('can be used by keyboard, and pauses while it is hidden', async () => {
    const { page } = await opened()
    await signIn(page)
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the stack')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    expect(
      await page.evaluate(
        "document.activeElement.closest('section').getAttribute('aria-labelledby')",
      ),
    ).toBe('failures-title')
    const hide = (hidden: boolean) =>
      page.evaluate(
        `Object.defineProperty(document, 'hidden', { configurable: true, value: ${hidden} }), document.dispatchEvent(new Event('visibilitychange'))`,
      )
    await hide(true)
    await page.locator('#link', { hasText: 'paused' }).waitFor()
    await hide(false)
    await page.locator('#link', { hasText: 'live' }).waitFor()
  })
})
