/**
 * Closes two servers in the middle of streams that can be resumed, and prints what is left of them:
 * active resources of the process beyond those that were there before, what still waits for a
 * moment, requests that upstream still answers, and what the log in memory still holds.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createBlossom } from '../../src/client/index.js'
import { backgroundDeadlines, deadlines } from '../../src/core/index.js'
import { createGateway, toNode } from '../../src/gateway/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { SharedMemory } from '../support/resuming.js'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const resources = () => process.getActiveResourcesInfo().filter((name) => name !== 'Immediate')

async function serve(baseURL: string, memory: SharedMemory) {
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL }).use(
    cache(),
    dedupe(),
    queue({ concurrency: 100 }),
  )
  const { shared } = memory.forServer()
  const gateway = createGateway(blossom, { streams: { shared } })
  const server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.close()
      await gateway.close({ timeoutMs: 50 })
      server.closeAllConnections()
      await blossom.close({ timeoutMs: 50 })
    },
  }
}

async function begin(url: string, prompt: string) {
  const leaving = new AbortController()
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true' },
    body: JSON.stringify({ messages: [{ role: 'user', content: prompt }], stream: true }),
    signal: leaving.signal,
  })
  const id = response.headers.get('x-stream-id')
  const text = response.text().catch(() => 'left')
  return { id, text, leave: () => leaving.abort() }
}

const upstream = await startLocalBlossom({ coalesce: false, words: 50 })
upstream.fault({
  match: ({ rawBody }) => rawBody.includes('stalls'),
  stallAfterChunks: 3,
  times: 100,
})
const before = { resources: resources(), waiting: deadlines.size + backgroundDeadlines.size }
const memory = new SharedMemory()
const [a, b] = [await serve(upstream.url, memory), await serve(upstream.url, memory)]
const all = []
for (let i = 0; i < 10; i++) {
  const ended = await begin(a.url, `${i} ends`)
  await ended.text
  const [read, left, stopped] = [
    await begin(a.url, `${i} stalls, is read`),
    await begin(a.url, `${i} stalls, is left`),
    await begin(a.url, `${i} stalls, is stopped`),
  ]
  left.leave()
  await fetch(`${a.url}/v1/streams/${stopped.id}`, { method: 'DELETE' })
  for (const { id } of [ended, read, left, stopped])
    for (const { url } of [a, b])
      all.push((await fetch(`${url}/v1/streams/${id}`)).text().catch(() => 'cut'))
  all.push(read.text, left.text, stopped.text)
}
await upstream.waitFor(({ active }) => active === 20)
await Promise.all([a.close(), b.close()])
memory.close()
await Promise.allSettled(all)
const extra = () => {
  const left = resources()
  for (const name of before.resources) {
    const at = left.indexOf(name)
    if (at >= 0) left.splice(at, 1)
  }
  return left
}
const until = performance.now() + 15_000
while ((extra().length > 0 || upstream.active > 0) && performance.now() < until) await turn()
console.log(
  JSON.stringify({
    resources: extra(),
    waiting: deadlines.size + backgroundDeadlines.size - before.waiting,
    active: upstream.active,
    bytes: memory.bytes,
  }),
)
await upstream.close()
