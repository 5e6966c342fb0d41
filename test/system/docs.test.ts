import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGateway, toNode } from '../../src/gateway/index.js'
import { type Blossom, createBlossom, standard } from '../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'

const root = join(import.meta.dirname, '../..')
const CHROMIUM = process.env.CHROMIUM_PATH || '/usr/bin/chromium'
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

describe('/docs in Chromium', () => {
  let upstream: LocalBlossom
  let blossom: Blossom<readonly unknown[]>
  let server: Server
  let browser: Browser
  let origin: string

  beforeAll(async () => {
    if (!existsSync(CHROMIUM))
      throw new Error(
        `Chromium is not at ${CHROMIUM}: install it, or name its place in CHROMIUM_PATH.`,
      )
    upstream = await startLocalBlossom({ reply: () => 'Because they want to be seen.' })
    blossom = createBlossom({ baseURL: upstream.url }).use(...standard())
    const gateway = toNode(
      createGateway(blossom, { prefix: '/ai', adminToken: 'only-for-this-test' }),
    )
    server = createServer(gateway).listen(0, '127.0.0.1')
    await once(server, 'listening')
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS })
  })
  afterAll(async () => {
    await browser?.close()
    server?.closeAllConnections()
    server?.close()
    await blossom?.close()
    await upstream?.close()
  })

  /** A page that notes where it went and what it complained of. */
  async function opened(
    path: string,
  ): Promise<{ page: Page; requested: string[]; complaints: string[] }> {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } })
    const requested: string[] = []
    const complaints: string[] = []
    page.on('request', (request) => requested.push(request.url()))
    page.on(
      'console',
      (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()),
    )
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(origin + path)
    return { page, requested, complaints }
  }

  const isOwn = (url: string) => url.startsWith(`${origin}/`) || /^(data|blob):/.test(url)

  it('shows the routes, and nothing of it comes from elsewhere', async () => {
    const { page, requested, complaints } = await opened('/ai/docs')
    await page.getByText('/ai/generate/text', { exact: false }).first().waitFor()
    await page.getByText('/ai/v1/chat/completions', { exact: false }).first().waitFor()
    await page.waitForLoadState('networkidle')
    await page.screenshot({ path: join(tmpdir(), 'blossom-stack-docs.png'), fullPage: true })
    const { paths } = (await (await fetch(`${origin}/ai/openapi.json`)).json()) as {
      paths: Record<string, object>
    }
    const operations = Object.values(paths).flatMap(Object.keys)
    expect(operations.length).toBeGreaterThan(20)
    expect(await page.locator('.opblock').count()).toBe(operations.length)
    expect(requested.filter((url) => !isOwn(url))).toEqual([])
    expect(requested).toContain(`${origin}/ai/openapi.json`)
    expect(complaints).toEqual([])
    await page.close()
  })

  it('lets one try a route', async () => {
    const { page, requested, complaints } = await opened('/ai/docs')
    const block = page.locator('#operations-Generation-text')
    await block.locator('.opblock-summary').click()
    await block.getByRole('button', { name: 'Try it out' }).click()
    await block.getByRole('button', { name: 'Execute' }).click()
    await block
      .locator('.live-responses-table')
      .getByText('Because they want to be seen.')
      .waitFor()
    await block.locator('.opblock-section-request-body').scrollIntoViewIfNeeded()
    await page.screenshot({ path: join(tmpdir(), 'blossom-stack-docs-tried.png') })
    expect(requested).toContain(`${origin}/ai/generate/text`)
    expect(requested.filter((url) => !isOwn(url))).toEqual([])
    expect(complaints).toEqual([])
    await page.close()
  })

  it('fits a narrow screen', async () => {
    const { page } = await opened('/ai/docs')
    await page.setViewportSize({ width: 390, height: 800 })
    await page.getByText('/ai/generate/text', { exact: false }).first().waitFor()
    await page.screenshot({ path: join(tmpdir(), 'blossom-stack-docs-narrow.png') })
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390)
    await page.close()
  })
})

describe('the built gateway', () => {
  const SCRIPT = `
const gateway = createGateway(createBlossom(), { routes: ['openapi', 'docs'] })
const get = async (path) => (await gateway(new Request('http://localhost' + path))).status
Promise.all(['/docs', '/docs/swagger-ui-bundle.js', '/openapi.json', '/health'].map(get)).then((all) => console.log(JSON.stringify(all)))
`
  it.each([
    [
      'ESM',
      'module',
      `import { createBlossom } from 'blossom-stack'\nimport { createGateway } from 'blossom-stack/http'\n`,
    ],
    [
      'CommonJS',
      'commonjs',
      `const { createBlossom } = require('blossom-stack')\nconst { createGateway } = require('blossom-stack/http')\n`,
    ],
  ])('finds the viewer as %s', (_, type, imports) => {
    const output = execFileSync(
      process.execPath,
      [`--input-type=${type}`, '-e', imports + SCRIPT],
      { cwd: root, encoding: 'utf8' },
    )
    expect(JSON.parse(output)).toEqual([200, 200, 200, 404])
  })
})
