import { describe, expect, it } from 'vitest'
import {
  type BlossomOptions,
  breaker,
  cache,
  collect,
  createBlossom,
  PaymentRequiredError,
  PermissionError,
  pool,
  retry,
} from '../../../src/index.js'
import { type BareServer, httpServer } from '../../support/bare-server.js'
import { everythingOf, KEY } from '../../support/secrets.js'
import { chunk, completion, DONE, event } from '../../support/wire.js'

const BUDGET =
  'The API key used for this request has reached its budget. Top up at https://enter.pollinations.ai.'
const NOTICES = [
  [BUDGET, 'PAYMENT'],
  [
    'The API key used for this request only spends Quest Pollen: see https://enter.pollinations.ai',
    'PAYMENT',
  ],
  [
    "The account behind this API key doesn't have enough credits. https://enter.pollinations.ai",
    'PAYMENT',
  ],
  [
    "The API key used for this request isn't allowed to use claude. https://enter.pollinations.ai",
    'FORBIDDEN',
  ],
] as const

const PRIVATE = 'private, no-store'
const ZERO = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }

interface Answer {
  readonly text: string
  readonly usage?: object | undefined
  readonly header?: string | undefined
}

/** Answers as JSON, as a stream or as text, as the request asks. */
const answering = (of: (key: string | undefined) => Answer): Promise<BareServer> =>
  httpServer(({ path, body, headers: { authorization } }, response) => {
    const { text, usage = ZERO, header = PRIVATE } = of(authorization)
    const type = path.startsWith('/text/')
      ? 'text/plain'
      : body.includes('"stream":true')
        ? 'text/event-stream'
        : 'application/json'
    response.writeHead(200, { 'content-type': type, 'cache-control': header })
    if (type === 'text/plain') return response.end(text)
    if (type === 'application/json')
      return response.end(JSON.stringify({ ...completion(text), usage }))
    const chunks = [
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: text }),
      chunk({}, 'stop'),
      { ...chunk({}), choices: [], usage },
    ]
    return response.end(chunks.map(event).join('') + DONE)
  })

const clientOf = ({ url }: BareServer, options: Omit<BlossomOptions, 'layers'> = {}) =>
  createBlossom({ baseURL: url, apiKey: KEY, ...options }).use(
    cache(),
    retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0 }),
    breaker({ minimumCalls: 1, failureRate: 0.01 }),
  )

describe('a notice in place of an answer', () => {
  it.each(NOTICES)('is an error, both plain and streamed: %s', async (text, code) => {
    await using server = await answering(() => ({ text }))
    await using blossom = clientOf(server)
    const failures = [
      blossom.text.generate('Hi'),
      blossom.text.stream('Hi').then((stream) => collect(stream)),
      blossom.request({ path: '/text/Hi' }),
    ]
    for (const failed of failures) {
      const error = await failed.catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(code === 'PAYMENT' ? PaymentRequiredError : PermissionError)
      expect(error).toMatchObject({ code, upstreamStatus: 200, upstreamMessage: text })
      expect(everythingOf(error)).not.toContain('pollinations.ai')
    }
    expect(server.requests).toHaveLength(3)
    expect(blossom.stats().breaker).toMatchObject({ state: 'closed' })
    expect(blossom.stats().cache).toMatchObject({ entries: 0 })
  })

  it('is passed on with notices: pass', async () => {
    await using server = await answering(() => ({ text: BUDGET }))
    await using blossom = clientOf(server, { notices: 'pass' })
    expect((await blossom.text.generate('Hi')).text).toBe(BUDGET)
    const pieces = await collect(await blossom.text.stream('Hi!'))
    expect(pieces.map(({ text }) => text).join('')).toBe(BUDGET)
  })

  it('puts the pool member aside', async () => {
    await using server = await answering((key) =>
      key === 'Bearer sk_poor' ? { text: BUDGET } : { text: 'Hello', header: 'public' },
    )
    const members = [{ apiKey: 'sk_poor' }, { apiKey: 'sk_rich' }]
    await using blossom = createBlossom({ baseURL: server.url }).use(pool({ members }))
    const outcomes = []
    for (let i = 0; i < 5; i++)
      outcomes.push(
        await blossom.text.generate(`${i}`).then(
          ({ text }) => text,
          ({ code }) => code,
        ),
      )
    expect(outcomes.filter((one) => one === 'PAYMENT').length).toBeLessThanOrEqual(1)
    expect(outcomes.at(-1)).toBe('Hello')
  })
})

describe('an answer that only looks like a notice', () => {
  const usage = { prompt_tokens: 5, completion_tokens: 20, total_tokens: 25 }
  it.each<[string, Answer, boolean, boolean]>([
    ['under another header', { text: BUDGET, header: 'public, max-age=60' }, true, true],
    ['under half of the header', { text: BUDGET, header: 'no-store' }, true, true],
    ['with usage', { text: BUDGET, usage }, true, false],
    ['without a link', { text: BUDGET.replace('enter.', '') }, true, true],
    ['with more before it', { text: `They say: ${BUDGET}` }, true, true],
    ['of another text', { text: 'Hello, see enter.pollinations.ai' }, true, true],
  ])('is passed on: %s', async (_name, answer, plain, streamed) => {
    await using server = await answering(() => answer)
    await using blossom = clientOf(server)
    if (plain) expect((await blossom.text.generate('Hi')).text).toBe(answer.text)
    if (!streamed) return
    const pieces = await collect(await blossom.text.stream('Hi!'))
    expect(pieces.map(({ text }) => text).join('')).toBe(answer.text)
  })
})
