import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { collect, createBlossom, hedge, pool, queue, standard } from '../../../../src/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { chatEvents, chunk, completion, event } from '../../../support/wire.js'

/** A server that answers after a while, with a text; a stream begins with a role at once. */
const serving = (text: string, ms: number | ((model: string) => number)) =>
  httpServer(async ({ body }, response) => {
    const { stream = false, model } = JSON.parse(body)
    if (stream) {
      response.setHeader('content-type', 'text/event-stream')
      response.write(event(chunk({ role: 'assistant' })))
    }
    await wait(typeof ms === 'number' ? ms : ms(model))
    if (stream) return response.end(chatEvents(text))
    response.setHeader('content-type', 'application/json')
    response.setHeader('x-request-id', text)
    return response.end(JSON.stringify(completion(text)))
  })

const soon = { delayMs: 30, budget: false } as const
/** Longer than any of the tests. */
const NEVER_MS = 60_000

describe('hedge around the client', () => {
  it('never asks the same upstream twice', async () => {
    await using server = await serving('first', 150)
    await using blossom = createBlossom({ baseURL: server.url }).use(hedge(soon), pool())
    expect((await blossom.text.generate('Hi')).text).toBe('first')
    expect(server.requests.length).toBe(1)
  })

  it('asks another member, returns its answer with all attempts, and cuts off the first', async () => {
    await using slow = await serving('slow', NEVER_MS)
    await using quick = await serving('quick', 0)
    await using blossom = createBlossom().use(
      hedge(soon),
      queue(),
      pool({
        members: [
          { baseURL: slow.url, apiKey: 'a' },
          { baseURL: quick.url, apiKey: 'b' },
        ],
      }),
    )
    const meta = new Map<string, unknown>()
    expect(await blossom.text.generate('Hi', { meta })).toMatchObject({
      text: 'quick',
      requestId: 'quick',
      attempts: 2,
      cached: false,
    })
    expect(meta.get('answeredBy')).toEqual({ model: 'openai', member: 1 })
    expect(meta.get('client')).toEqual({ attempts: 2, requestId: 'quick' })
    await slow.idle()
    expect(blossom.stats()).toMatchObject({
      hedge: { won: 1 },
      queue: { running: 0 },
      pool: { active: 0 },
    })
  })

  it('does not take a role for content, and streams from one member only', async () => {
    await using slow = await serving('slow', NEVER_MS)
    await using quick = await serving('quick', 20)
    await using blossom = createBlossom().use(
      hedge(soon),
      pool({
        members: [
          { baseURL: slow.url, apiKey: 'a' },
          { baseURL: quick.url, apiKey: 'b' },
        ],
      }),
    )
    const pieces = await collect(await blossom.text.stream('Hi'))
    expect(pieces.map(({ text }) => text)).toEqual(['quick'])
    await slow.idle()
  })

  it('asks another model with the key of the call', async () => {
    await using server = await serving('text', (model) => (model === 'openai' ? NEVER_MS : 0))
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      hedge({ ...soon, to: ['mistral'] }),
      ...standard({ cache: false }),
    )
    const { text } = await blossom.text.generate('Hi', { apiKey: 'sk_visitor' })
    expect(text).toBe('text')
    const seen = server.requests.map(({ body, headers }) => [
      JSON.parse(body).model,
      headers.authorization,
    ])
    expect(seen).toEqual([
      ['openai', 'Bearer sk_visitor'],
      ['mistral', 'Bearer sk_visitor'],
    ])
  })

  it('asks another client, but does not wait in its queue', async () => {
    await using server = await serving('first', 200)
    await using other = await serving('other', NEVER_MS)
    await using backup = createBlossom({ baseURL: other.url, apiKey: 'sk_backup' }).use(
      queue({ concurrency: 1 }),
    )
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      hedge({ ...soon, to: [backup] }),
    )
    const [one, two] = await Promise.all(['Hi', 'Ho'].map((text) => blossom.text.generate(text)))
    expect([one?.text, two?.text]).toEqual(['first', 'first'])
    expect(other.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer sk_backup'])
    expect(blossom.stats().hedge).toEqual({ hedged: 1, won: 0, lost: 1, refused: 1 })
    expect(backup.stats().queue).toMatchObject({ running: 0, waiting: 0 })
  })

  it('does not ask twice for account data', async () => {
    await using server = await httpServer(async (_, response) => {
      await wait(100)
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ balance: 5 }))
    })
    await using blossom = createBlossom({ baseURL: server.url, apiKey: 'sk_own' }).use(
      hedge(soon),
      pool({ members: [{ apiKey: 'a' }, { apiKey: 'b' }] }),
    )
    expect(await blossom.account.balance()).toEqual({ balance: 5 })
    expect(server.requests.length).toBe(1)
  })
})
