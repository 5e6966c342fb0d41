import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { toNode } from '../../src/gateway/index.js'
import { begin } from '../support/http-client.js'
import { ExpressFramework } from '../support/http-frameworks.js'
import { openSite, type Site, until } from '../support/http-site.js'
import { http2Client } from '../support/http2-client.js'

/** How soon upstream must know that a client has left. Milliseconds. */
const SOON = 500

interface Client {
  readonly protocol: 'HTTP/1' | 'HTTP/2'
  readonly path: '/generate/text' | '/generate/stream' | '/v1/chat/completions'
  readonly streams: boolean
  /** `before` the answer begins, or when its first bytes have come. */
  readonly leaves: 'never' | 'before' | 'begun'
}

const client: fc.Arbitrary<Client> = fc.record({
  protocol: fc.constantFrom('HTTP/1', 'HTTP/2'),
  path: fc.constantFrom('/generate/text', '/generate/stream', '/v1/chat/completions'),
  streams: fc.boolean(),
  leaves: fc.constantFrom('never', 'before', 'begun'),
})

let site: Site
let http2: ReturnType<typeof http2Client>
let server: ReturnType<typeof createServer>

beforeAll(async () => {
  const latencyMs = ({ rawBody }: { rawBody: string }) => (rawBody.includes('slow') ? 60_000 : 0)
  site = await openSite(ExpressFramework, {
    upstream: { latencyMs, words: 30, chunkDelayMs: 2, coalesce: false },
  })
  server = createServer(toNode(site.gateway)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  http2 = http2Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})

afterAll(async () => {
  http2.close()
  server.close()
  await site[Symbol.asyncDispose]()
})

let asked = 0

/** The status of the answer, or undefined when the client has left. */
async function play({ protocol, path, streams, leaves }: Client): Promise<number | undefined> {
  const isStream = path === '/generate/stream' || (streams && path.startsWith('/v1'))
  const prompt = `${leaves === 'before' ? 'slow' : 'quick'} ${++asked}`
  const body = path.startsWith('/v1')
    ? { messages: [{ role: 'user', content: prompt }], stream: isStream }
    : { prompt }
  // A whole answer has come as soon as it has begun.
  if (leaves === 'never' || (leaves === 'begun' && !isStream)) {
    const { status } =
      protocol === 'HTTP/2' ? await http2.ask(path, { body }) : await site.ask(path, { body })
    return status
  }
  const isUpstream = () =>
    site.upstream.waitFor(({ requests }) =>
      requests.some(({ rawBody, outcome }) => rawBody.includes(prompt) && outcome === 'open'),
    )
  if (protocol === 'HTTP/2')
    await http2.leave(path, { body }, leaves === 'begun' ? 'begun' : isUpstream())
  else if (leaves === 'before') {
    const sent = begin(site.url, path, { body }).on('error', () => {})
    await isUpstream()
    sent.destroy()
  } else {
    const visit = await site.visit(path, { body })
    await visit.next()
    visit.leave()
  }
  return undefined
}

interface Stats {
  readonly queue: { running: number; waiting: number }
  readonly pool: { active: number }
}

it('upstream stops within 500 ms and every slot is freed whenever any reader leaves, over HTTP/1 and HTTP/2', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(client, { minLength: 1, maxLength: 8 }), async (clients) => {
      const statuses = await Promise.all(clients.map(play))
      expect(statuses.filter((status) => status !== undefined && status !== 200)).toEqual([])
      await site.upstream.waitFor(({ active }) => active === 0, SOON)
      await until(
        () => site.blossom.stats() as unknown as Stats,
        ({ queue, pool }) => queue.running === 0 && queue.waiting === 0 && pool.active === 0,
      )
      const left = clients.filter(({ leaves }) => leaves === 'before').length
      const stopped = site.upstream.requests.filter(
        ({ rawBody, outcome }) => rawBody.includes('slow') && outcome === 'aborted',
      )
      expect(stopped).toHaveLength(left)
      site.upstream.reset()
    }),
    { numRuns: 100 },
  )
  expect(site.errors).toEqual([])
}, 120_000)
