import { describe, expect, test } from 'vitest'
import type { BlossomRequest } from '../../../src/client/index.js'
import { defineLayer, type Handler } from '../../../src/core/index.js'
import type { BlossomLayer } from '../../../src/index.js'
import type { LocalBlossomRequest } from '../../../src/testing/index.js'
import { type Gate, gate } from '../../support/gate.js'
import { frameworks } from '../../support/http-frameworks.js'
import { openSite } from '../../support/http-site.js'

/** Holds each prompt until the test lets it go, and keeps account of who has begun. */
class Window {
  readonly begun: string[] = []
  most = 0
  #running = 0
  readonly #gates = new Map<string, Gate>()
  readonly #changed: (() => void)[] = []

  readonly layer = defineLayer({
    name: 'window',
    wrap: (next: Handler<BlossomRequest, unknown>) => async (request, context) => {
      const prompt = promptOf(request)
      const held = gate()
      this.#gates.set(prompt, held)
      this.begun.push(prompt)
      this.most = Math.max(this.most, ++this.#running)
      for (const tell of this.#changed.splice(0)) tell()
      try {
        await held.promise
        return await next(request, context)
      } finally {
        this.#running--
      }
    },
  }) as unknown as BlossomLayer

  async begins(count: number): Promise<void> {
    while (this.begun.length < count)
      await new Promise<void>((resolve) => this.#changed.push(resolve))
  }

  letGo(prompt: string): void {
    this.#gates.get(prompt)!.open()
  }
}

const promptOf = ({ body }: BlossomRequest | LocalBlossomRequest) =>
  (body as { messages: { content: string }[] }).messages[0]!.content
const prompts = (count: number) => Array.from({ length: count }, (_, i) => `p${i}`)
const echo = { reply: (request: LocalBlossomRequest) => `re: ${promptOf(request)}` }

describe.each(frameworks)('a batch at a server of $name', (framework) => {
  test('starts the next prompt as soon as any prompt ends, however long the others take', async () => {
    const window = new Window()
    await using site = await openSite(framework, { layers: () => [window.layer], upstream: echo })
    const answer = site.ask('/generate/batch', { body: { prompts: prompts(12), batch_size: 3 } })
    await window.begins(3)
    expect(window.begun).toEqual(['p0', 'p1', 'p2'])
    // The first one never ends while all others pass by: fixed groups would wait for it.
    for (let i = 1; i <= 9; i++) {
      window.letGo(`p${i}`)
      await window.begins(3 + i)
      expect(window.begun).toHaveLength(3 + i)
    }
    for (const slow of ['p0', 'p10', 'p11']) window.letGo(slow)
    expect((await answer).json).toEqual({
      total: 12,
      processed: 12,
      results: prompts(12).map((one) => `re: ${one}`),
    })
    expect(window.most).toBe(3)
  })

  test('one failing prompt costs one result and one request', async () => {
    await using site = await openSite(framework, { upstream: echo })
    site.upstream.faults.push({ status: 400, match: (request) => promptOf(request) === 'p4' })
    const { json } = await site.ask('/generate/batch', {
      body: { prompts: prompts(10), batch_size: 2 },
    })
    expect(json).toMatchObject({ total: 10, processed: 9 })
    expect(json.results.map((one: unknown) => typeof one)).toEqual(
      prompts(10).map((one) => (one === 'p4' ? 'object' : 'string')),
    )
    expect(site.upstream.requests).toHaveLength(10)
  })

  test.each([
    [2, 2],
    [undefined, 5],
  ])('with a batch_size of %s has %i prompts upstream at once', async (batch_size, expected) => {
    const window = new Window()
    await using site = await openSite(framework, { layers: () => [window.layer], upstream: echo })
    const answer = site.ask('/generate/batch', { body: { prompts: prompts(20), batch_size } })
    for (let i = 0; i < 20; i++) {
      await window.begins(Math.min(20, expected + i))
      window.letGo(`p${i}`)
    }
    expect((await answer).json.processed).toBe(20)
    expect(window.most).toBe(expected)
  })

  test('equal prompts in one batch are generated separately', async () => {
    await using site = await openSite(framework, { upstream: echo })
    await site.ask('/generate/batch', { body: { prompts: ['same', 'same', 'same'] } })
    expect(site.upstream.requests).toHaveLength(3)
  })
})
