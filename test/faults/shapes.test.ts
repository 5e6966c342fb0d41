import { afterAll, beforeAll, expect, it } from 'vitest'
import { breaker, cache, createBlossom, retry } from '../../src/index.js'
import { type BareServer, httpServer } from '../support/bare-server.js'
import { failure } from '../support/watch.js'

let body: unknown
let upstream: BareServer
beforeAll(async () => {
  upstream = await httpServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
  )
})
afterAll(() => upstream[Symbol.asyncDispose]())

const client = () =>
  createBlossom({ baseURL: upstream.url }).use(
    cache(),
    retry({ minDelayMs: 0, maxDelayMs: 0 }),
    breaker(),
  )
type Client = ReturnType<typeof client>

it.each([
  [
    'models',
    (blossom: Client) => blossom.models.list(),
    { object: 'list' },
    { data: [{ id: 'a' }] },
    true,
  ],
  [
    'a balance',
    (blossom: Client) => blossom.account.balance(),
    { balance: '1' },
    { balance: 1 },
    false,
  ],
  [
    'embeddings',
    (blossom: Client) => blossom.embeddings.create(['a']),
    { data: [] },
    { data: [{ embedding: [1] }] },
    true,
  ],
  [
    'embeddings by request()',
    (blossom: Client) =>
      blossom.request({ path: '/v1/embeddings', body: { input: [[1, 2], [3]] } }),
    { data: [{ embedding: 'AAAA' }] },
    { data: [{ embedding: 'AAAA' }, { embedding: 'AAAA' }] },
    true,
  ],
])(
  'an answer that is no %s is asked for again, speaks against upstream and is not kept',
  async (_what, call, wrong, right, kept) => {
    await using blossom = client()
    body = wrong
    const before = upstream.requests.length
    expect(await failure(call(blossom))).toMatchObject({ code: 'PROTOCOL' })
    expect(upstream.requests.length - before).toBe(3)
    expect(blossom.stats()).toMatchObject({
      breaker: { failures: 3, successes: 0 },
      cache: { entries: 0 },
    })
    body = right
    await call(blossom)
    expect(blossom.stats().cache.entries).toBe(kept ? 1 : 0)
  },
)

it.each([
  [{ input: [1, 2, 3] }, { data: [{ embedding: [1] }] }],
  [{ input: 'a', encoding_format: 'base64' }, { data: [{ index: 0, embedding: 'AAAA' }] }],
])('embeddings asked for by request() may have other forms (%j)', async (asked, answer) => {
  body = answer
  expect(await client().request({ path: '/v1/embeddings', body: asked })).toEqual(answer)
})
