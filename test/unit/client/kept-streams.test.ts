import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { createBlossom } from '../../../src/client/index.js'
import { base, collect, stack } from '../../../src/core/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { startLocalBlossom } from '../../../src/testing/local-blossom/index.js'

const CHUNKS = 300
const TEXT = 'é'.repeat(8_000)

it("a stream is not cached when its stack reports it incomplete, even if the client's own would cache it", async () => {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url })
  const fn = (content: string) => blossom.chat.stream({ messages: [{ role: 'user', content }] })
  const ask = stack(base(fn, { complete: () => false }), cache())
  try {
    for (let i = 0; i < 2; i++)
      expect((await collect(await ask('Hello'))).length).toBeGreaterThan(1)
    expect(upstream.requests).toHaveLength(2)
  } finally {
    await ask.close()
    await blossom.close()
    await upstream.close()
  }
})

it.each([
  ['many chunks', CHUNKS, TEXT],
  ['few chunks, the first of which is larger than what is remembered', 2, 'x'.repeat(2 ** 21)],
])('a stream longer than an error can remember is cached whole: %s', async (_, count, text) => {
  let requests = 0
  const server = createServer((_request, response) => {
    requests++
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const event = (delta: object, finish_reason: string | null = null) =>
      response.write(
        `data: ${JSON.stringify({ id: 'x', choices: [{ index: 0, delta, finish_reason }] })}\n\n`,
      )
    for (let i = 0; i < count; i++) event({ content: `${i} ${text}` })
    event({}, 'stop')
    response.end('data: [DONE]\n\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const blossom = createBlossom({
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  }).use(cache())
  const read = async () =>
    collect(await blossom.chat.stream({ messages: [{ role: 'user', content: 'Tell me all' }] }))
  try {
    const first = await read()
    expect(first).toHaveLength(count + 1)
    expect(await read()).toEqual(first)
    expect(await read()).toEqual(first)
    expect(requests).toBe(1)
  } finally {
    await blossom.close()
    server.close()
  }
})
