import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createBlossom, TooLargeError } from '../../../../src/index.js'
import { flood, httpServer } from '../../../support/bare-server.js'
import { KEY, PROMPT } from '../../../support/secrets.js'
import { readText, textOf } from '../../../support/text-streams.js'
import { failure } from '../../../support/watch.js'
import { chatEvents, chunk, DONE, event } from '../../../support/wire.js'
import { SSE, streaming } from './streaming.js'

describe('sizes', () => {
  it.each([
    ['an endless line', 'data: {"choices":[{"delta":{"content":"', 'x'],
    ['an event of endless lines', 'data: x\n', 'data: x\n'],
    ['an endless comment', ':', ':'],
  ])('refuse %s, and memory stays where it was', async (_name, start, part) => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(start)
      flood(response, part.repeat(65_536 / part.length))
    })
    const before = process.memoryUsage().rss
    const error = await failure(
      createBlossom({ baseURL: server.url, apiKey: KEY }).text.stream(PROMPT),
    )
    expect(error).toBeInstanceOf(TooLargeError)
    expect(error).toMatchObject({ code: 'TOO_LARGE', status: 502, retryable: false })
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * 2 ** 20)
    await server.idle()
  })

  it('refuse a line of 64 MB after the commit without calling it broken', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(event(chunk({ content: 'Hi' })))
      response.write('data: ')
      const block = 'x'.repeat(2 ** 20)
      let sent = 0
      const send = () => {
        while (!response.destroyed && sent++ < 64)
          if (!response.write(block)) return void response.once('drain', send)
      }
      send()
    })
    const { text, error } = await readText(
      await createBlossom({ baseURL: server.url }).text.stream(PROMPT),
    )
    expect(text).toBe('Hi')
    expect(error).toMatchObject({ code: 'TOO_LARGE', retryable: false })
    await server.idle()
  })

  it('of one event follow maxResponseBytes when it is lower', async () => {
    await using server = await streaming(chatEvents('x'.repeat(100_000)))
    const error = await failure(
      createBlossom({ baseURL: server.url, maxResponseBytes: 50_000 }).text.stream(PROMPT),
    )
    expect(error).toBeInstanceOf(TooLargeError)
  })

  it('do not limit the total', async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `${i} ${'x'.repeat(1_000)}`)
    await using server = await streaming(chatEvents(...texts))
    const blossom = createBlossom({ baseURL: server.url, maxResponseBytes: 50_000 })
    expect(await textOf(await blossom.text.stream(PROMPT))).toBe(texts.join(''))
  })

  it('stall the server while the reader is slow, and continue when it reads', async () => {
    const block = event(chunk({ content: 'x'.repeat(4_000) }))
    let sent = 0
    let stalled = () => {}
    const stalling = new Promise<void>((resolve) => {
      stalled = resolve
    })
    await using server = await httpServer((_request, response: ServerResponse) => {
      response.writeHead(200, SSE)
      const total = 64 * 2 ** 20
      const send = () => {
        while (!response.destroyed && sent < total) {
          sent += block.length
          if (!response.write(block)) {
            const timer = setTimeout(stalled, 150)
            response.once('drain', () => {
              clearTimeout(timer)
              send()
            })
            return
          }
        }
        response.end(event(chunk({}, 'stop')) + DONE)
      }
      send()
    })
    const before = process.memoryUsage().rss
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    await stream.next()
    await stalling
    const held = sent
    // What the kernel keeps for the two sockets is most of it.
    expect(held).toBeLessThan(24 * 2 ** 20)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    let read = 0
    while (read < held + 2 ** 20) read += (await stream.next()).value?.text.length ?? 0
    expect(sent).toBeGreaterThan(held)
    await stream.return(undefined)
    await server.idle()
  }, 20_000)
})
