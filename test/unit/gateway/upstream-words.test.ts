import { afterEach, describe, expect, it } from 'vitest'
import { createGateway, type GatewayOptions } from '../../../src/gateway/index.js'
import { breaker, createBlossom, pool, retry } from '../../../src/index.js'
import { type BareServer, httpServer } from '../../support/bare-server.js'
import { KEY } from '../../support/secrets.js'
import { completion } from '../../support/wire.js'

const SENTENCE = 'This model takes 8192 tokens, your messages have 9000.'
const TOO_LONG = {
  error: {
    message: SENTENCE,
    type: 'invalid_request_error',
    param: 'messages',
    code: 'context_length_exceeded',
  },
}
const QUOTA = {
  error: { message: 'You exceeded your quota.', type: 'insufficient_quota', code: null },
}

describe('what upstream says about a request', () => {
  let server: BareServer | undefined
  afterEach(() => server?.[Symbol.asyncDispose]())

  const again = () => retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0, budget: false })

  async function ask(status: number, answer: object, options: GatewayOptions = {}, key?: string) {
    server = await httpServer((_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answer))
    })
    const blossom = createBlossom({ baseURL: server.url, apiKey: KEY }).use(again())
    const response = await createGateway(
      blossom,
      options,
    )(
      new Request('http://gateway/v1/chat/completions', {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }] }),
      }),
    )
    await blossom.close()
    return { status: response.status, ...((await response.json()) as { error: object }) }
  }

  it('reaches the client as its code and field, without the sentence', async () => {
    const { status, error } = await ask(400, TOO_LONG)
    expect(status).toBe(400)
    expect(error).toMatchObject({
      type: 'invalid_request_error',
      code: 'context_length_exceeded',
      param: 'messages',
    })
    expect(JSON.stringify(error)).not.toContain('9000')
    expect(server?.requests).toHaveLength(1)
  })

  it('reaches the client with the sentence under errorDetail: full', async () => {
    const { error } = await ask(400, TOO_LONG, { errorDetail: 'full' })
    expect(error).toMatchObject({ message: expect.stringContaining(SENTENCE) })
  })

  it('is withheld when code or field are not well known', async () => {
    const secret = { message: 'x', code: 'tenant_4711_exceeded', param: 'internal_route' }
    const { error } = await ask(400, { error: secret })
    expect(error).toMatchObject({ code: 'bad_request', param: null })
  })

  it('is withheld when a quota is used up, to reveal nothing of the account', async () => {
    const { status, error } = await ask(429, QUOTA, { errorDetail: 'full' })
    expect(status).toBe(503)
    expect(error).toMatchObject({ code: 'payment', type: 'server_error' })
    expect(JSON.stringify(error)).not.toContain('quota')
    expect(server?.requests).toHaveLength(1)
  })

  it('tells the owner of a key that its quota is used up', async () => {
    const { status, error } = await ask(429, QUOTA, { forwardKeys: true }, 'sk_of_the_caller')
    expect(status).toBe(402)
    expect(error).toMatchObject({ code: 'insufficient_quota', type: 'insufficient_quota' })
  })

  it.each([423, 424, 499])('is not blamed on the client: %i', async (code) => {
    const { status, error } = await ask(code, {})
    expect([status, server?.requests.length]).toEqual([502, 1])
    expect(error).toMatchObject({ type: 'server_error', code: 'server' })
  })

  it('is retried when it was too early: 425', async () => {
    const { status } = await ask(425, {})
    expect([status, server?.requests.length]).toEqual([502, 3])
  })
})

describe('a quota that is used up', () => {
  it('takes the pool member out of use, without counting as an upstream failure', async () => {
    await using server = await httpServer(({ headers }, response) => {
      const isPoor = headers.authorization === 'Bearer sk_poor'
      response.writeHead(isPoor ? 429 : 200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(isPoor ? QUOTA : completion('Hi.')))
    })
    const members = [{ apiKey: 'sk_poor' }, { apiKey: 'sk_rich' }]
    await using blossom = createBlossom({ baseURL: server.url }).use(
      retry({ retries: 0 }),
      breaker({ minimumCalls: 1, failureRate: 0.01 }),
      pool({ members }),
    )
    const outcomes = []
    for (let i = 0; i < 4; i++)
      outcomes.push(
        await blossom.text.generate('Hi').then(
          ({ text }) => text,
          ({ code }) => code,
        ),
      )
    expect(outcomes.filter((outcome) => outcome === 'PAYMENT').length).toBeLessThanOrEqual(1)
    expect(outcomes.at(-1)).toBe('Hi.')
    expect(
      server.requests.filter(({ headers }) => headers.authorization === 'Bearer sk_poor').length,
    ).toBeLessThanOrEqual(1)
  })
})

it('two chained gateways retry a failure once, not once each', async () => {
  await using server = await httpServer((_request, response) => {
    response.writeHead(503, { 'content-type': 'application/json' })
    response.end('{}')
  })
  const again = () => retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0, budget: false })
  await using inner = createBlossom({ baseURL: server.url }).use(again())
  const gateway = createGateway(inner)
  await using middle = await httpServer(async ({ method, path, headers, body }, response) => {
    const answer = await gateway(
      new Request(`http://inner${path}`, {
        method,
        headers: { 'content-type': headers['content-type'] ?? '' },
        body,
      }),
    )
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(await answer.text())
  })
  await using outer = createBlossom({ baseURL: middle.url }).use(again())
  await expect(
    outer.chat.create({ messages: [{ role: 'user', content: 'Hi' }] }),
  ).rejects.toMatchObject({ code: 'SERVER', retryable: false })
  expect([middle.requests.length, server.requests.length]).toEqual([1, 3])
})
