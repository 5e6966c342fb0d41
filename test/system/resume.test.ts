import { existsSync } from 'node:fs'
import { createBlossom, standard } from 'blossom-stack'
import { type LocalBlossom, startLocalBlossom } from 'blossom-stack/testing'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Options, type Site, start } from '../../examples/resume/server.js'
import type { LogProcess } from '../support/log-process.js'
import { freePort } from '../support/redis-server.js'
import { SharedMemory } from '../support/resuming.js'

const CHROMIUM = process.env.CHROMIUM_PATH || '/usr/bin/chromium'
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking']
const TEXT =
  'Flowers bloom to be seen by those who carry their pollen from one to the next. '.repeat(4)

let browser: Browser
beforeAll(async () => {
  if (!existsSync(CHROMIUM))
    throw new Error(
      `Chromium is not at ${CHROMIUM}: install it, or name its place in CHROMIUM_PATH.`,
    )
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS })
})
afterAll(() => browser?.close())

/** A server, as one of several. */
interface Member {
  readonly site: Site
  readonly processes: readonly LogProcess[]
}

let upstream: LocalBlossom
let memory: SharedMemory
let members: Member[]
let ports: number[]
beforeEach(async () => {
  upstream = await startLocalBlossom({ reply: () => TEXT, chunkDelayMs: 20 })
  memory = new SharedMemory()
  members = []
  ports = [await freePort(), await freePort()]
})
afterEach(async () => {
  for (const { site } of members) await site.handOver(0)
  memory.close()
  await upstream.close()
})

const addressOf = (port: number) => `http://127.0.0.1:${port}`

/** Starts the server that has one of the ports, or starts it again. */
async function open(index: number): Promise<Member> {
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(...standard())
  const { shared, processes } = memory.forServer()
  const options: Options = {
    blossom,
    shared,
    chats: new Map(),
    others: ports.filter((_, i) => i !== index).map(addressOf),
    port: ports[index] as number,
    host: '127.0.0.1',
  }
  const member = { site: await start(options), processes }
  members.push(member)
  return member
}

/** Opens the page of a server, and notes where it went and what it complained of. */
async function opened({ site }: Member) {
  const page = await browser.newPage()
  const requested: string[] = []
  const errors: string[] = []
  page.on('request', (request) => requested.push(`${request.method()} ${request.url()}`))
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) errors.push(message.text())
  })
  await page.goto(site.url)
  return { page, requested, errors }
}

const answerIn = (page: Page) => async () => (await page.locator('#answer').textContent()) ?? ''
const stateIn = (page: Page) => async () => (await page.locator('#state').textContent()) ?? ''

/** Asks, and resolves when a part of the answer is there. */
async function ask(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Ask' }).click()
  await expect.poll(answerIn(page), { timeout: 20_000 }).toMatch(/^Flowers bloom/)
  expect((await answerIn(page)()).length).toBeLessThan(TEXT.length)
}

describe('the page of examples/resume in Chromium', () => {
  it('shows the whole answer although its server is restarted in the middle of it', async () => {
    const [a] = [await open(0), await open(1)]
    const { page, requested, errors } = await opened(a as Member)
    await ask(page)
    const handedOver = a?.site.handOver()
    await expect.poll(stateIn(page), { timeout: 20_000 }).toBe('Complete.')
    expect(await answerIn(page)()).toBe(TEXT)
    await handedOver
    const origins = ports.map(addressOf)
    expect(requested.filter((one) => !origins.some((origin) => one.includes(origin)))).toEqual([])
    expect(requested.some((one) => one.startsWith(`GET ${origins[1]}/ai/v1/streams/`))).toBe(true)
    expect(errors).toEqual([])
    // Upstream was asked once.
    expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(['complete'])
    await page.close()
  })

  it('continues where it stopped when it is reloaded', async () => {
    const a = await open(0)
    const { page, requested } = await opened(a)
    await ask(page)
    await page.reload()
    await expect.poll(stateIn(page), { timeout: 20_000 }).toBe('Complete.')
    expect(await answerIn(page)()).toBe(TEXT)
    expect(requested.filter((one) => one.startsWith('POST'))).toHaveLength(1)
    await page.reload()
    expect(await answerIn(page)()).toBe(TEXT)
    await page.close()
  })

  it('shows what was written and reports the lost server when that server is killed', async () => {
    const [a] = [await open(0), await open(1)]
    const { page } = await opened(a as Member)
    await ask(page)
    for (const process of a?.processes ?? []) process.kill()
    a?.site.server.close()
    a?.site.server.closeAllConnections()
    await expect.poll(stateIn(page), { timeout: 20_000 }).toMatch(/^Failed \(owner_lost\)/)
    const text = await answerIn(page)()
    expect(text.length).toBeGreaterThan(10)
    expect(TEXT.startsWith(text)).toBe(true)
    await page.close()
  })

  it('stops an answer', async () => {
    const a = await open(0)
    const { page } = await opened(a)
    await ask(page)
    await page.getByRole('button', { name: 'Stop' }).click()
    await expect.poll(stateIn(page), { timeout: 20_000 }).toBe('Stopped.')
    await upstream.waitFor(({ active }) => active === 0)
    expect((await answerIn(page)()).length).toBeLessThan(TEXT.length)
    await page.close()
  })
})
