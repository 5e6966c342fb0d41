import { describe, expect, it } from 'vitest'
import {
  type BlossomLayer,
  breaker,
  cache,
  collect,
  createBlossom,
  retry,
  timeout,
} from '../../../src/index.js'
import { httpServer } from '../../support/bare-server.js'
import { chatEvents, chunk, completion, DONE, event } from '../../support/wire.js'

const SSE = 'text/event-stream'
const JSON_TYPE = 'application/json'
const messages = [{ role: 'user', content: 'Hi' }]

/** A server that answers everything with this, and a client of it that tries twice. */
async function site(type: string, body: string | Buffer, ...layers: readonly BlossomLayer[]) {
  const server = await httpServer((_request, response) => {
    response.writeHead(200, { 'content-type': type })
    response.end(body)
  })
  const blossom = createBlossom({
    baseURL: server.url,
    layers: [...layers, retry({ retries: 1, minDelayMs: 0, maxDelayMs: 0, budget: false })],
  })
  return {
    blossom,
    server,
    async [Symbol.asyncDispose]() {
      await blossom.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** The text of a stream, or what became of it. */
async function outcomeOf(stream: Promise<AsyncIterable<{ text: string }>>): Promise<string> {
  let text = ''
  try {
    for await (const piece of await stream) text += piece.text
    return text
  } catch (error) {
    return (error as { code: string }).code
  }
}

const part = (index: number, content: string, finish: string | null = null) => ({
  ...chunk({}),
  choices: [{ index, delta: { content }, finish_reason: finish }],
})
const role = event(chunk({ role: 'assistant' }))
const hello = event(chunk({ content: 'Hello' }))
const stop = event(chunk({}, 'stop'))
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }

describe('a stream', () => {
  it.each([
    [
      'whose finish reason is empty in every chunk',
      event(chunk({ content: 'Hel' }, '')),
      'STREAM',
      1,
    ],
    [
      'one of whose choices has not ended',
      event(part(0, 'Hello', 'stop')) + event(part(1, 'Hel')),
      'STREAM',
      1,
    ],
    [
      'one of whose choices has only begun',
      event(part(0, 'Hello', 'stop')) + event(part(1, '')) + DONE,
      'STREAM',
      1,
    ],
    [
      'whose choices end in another order',
      event(part(1, 'b')) +
        event(part(0, 'Hello')) +
        event(part(1, '', 'stop')) +
        event(part(0, '', 'stop')) +
        DONE,
      'Hello',
      1,
    ],
    [
      'that fails in a choice before it has begun',
      role +
        event({
          ...chunk({}, 'error'),
          choices: [{ index: 0, delta: {}, finish_reason: 'error', error: { code: 503 } }],
        }),
      'SERVER',
      2,
    ],
    ['that fails in a choice after it has begun', hello + event(chunk({}, 'error')), 'STREAM', 1],
    ['that is a refusal without a status', event({ detail: 'Not today.' }), 'SERVER', 2],
    ['that breaks after an event that only keeps it alive', event({ type: 'ping' }), 'PROTOCOL', 2],
    [
      'that breaks after a report of progress',
      `event: progress\n${event({ percent: 5 })}`,
      'PROTOCOL',
      2,
    ],
    ['that breaks after a thought', event(chunk({ reasoning: 'Hm.' })), 'STREAM', 1],
    ['that breaks after a picture', event(chunk({ images: [{ index: 0 }] })), 'STREAM', 1],
    [
      'whose last chunk has null for choices',
      hello + stop + event({ ...chunk({}), choices: null, usage }) + DONE,
      'Hello',
      1,
    ],
    [
      'whose last chunk has no choices',
      hello + stop + event({ id: 'x', usage }) + DONE,
      'Hello',
      1,
    ],
    [
      'with events that keep it alive',
      event({ type: 'ping' }) + hello + event({ type: 'ping' }) + event({}) + stop + DONE,
      'Hello',
      1,
    ],
    [
      'with events of another name',
      `event: progress\n${event({ percent: 5 })}event: log\ndata: no JSON\n\n${hello}${stop}${DONE}event: x\n${event({})}`,
      'Hello',
      1,
    ],
    ['with blanks around its end', `${hello}${stop}data: [DONE]  \n\n`, 'Hello', 1],
    ['with events of blanks', `data:   \n\n${hello}data:   \n\n${stop}${DONE}`, 'Hello', 1],
    [
      'with something that cannot be read after the whole answer',
      `${hello}${stop}data: {"usa\n\n${event([1])}${DONE}`,
      'Hello',
      1,
    ],
    [
      'with something that cannot be read before the end',
      `${hello}data: {"usa\n\n${stop}${DONE}`,
      'STREAM',
      1,
    ],
    [
      'of parts',
      event(chunk({ content: [{ type: 'text', text: 'Hello' }] })) + stop + DONE,
      'Hello',
      1,
    ],
    [
      'with an empty error',
      event({ ...chunk({ content: 'Hello' }), error: {} }) + stop + DONE,
      'Hello',
      1,
    ],
  ])('%s', async (_name, events, expected, requests) => {
    await using one = await site(SSE, events)
    expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe(expected)
    expect(one.server.requests).toHaveLength(requests)
  })

  it('passes on usage that comes without choices as a chunk with none', async () => {
    await using one = await site(
      SSE,
      hello + stop + event({ id: 'x', choices: null, usage }) + DONE,
    )
    const stream = await one.blossom.text.stream('Hi')
    await collect(stream)
    expect(stream.usage).toMatchObject({ totalTokens: 2 })
    const chunks = await collect(await one.blossom.chat.stream({ messages }))
    expect(chunks.at(-1)).toEqual({ id: 'x', choices: [], usage })
  })

  it('gives its readers nothing but chunks', async () => {
    const named = `event: progress\n${event({ percent: 5 })}`
    await using one = await site(
      SSE,
      event({ type: 'ping' }) + named + hello + named + stop + named + DONE,
    )
    const chunks = await collect(await one.blossom.chat.stream({ messages }))
    expect(chunks.map(({ choices }) => choices[0]?.delta)).toEqual([{ content: 'Hello' }, {}])
  })

  it.each([
    ['reasoning', 'Hm.'],
    ['reasoning_details', [{ type: 'reasoning.text', text: 'Hm.' }]],
    ['thinking', 'Hm.'],
    ['images', [{ index: 0 }]],
    ['function_call', { name: 'f' }],
    ['of_tomorrow', 'x'],
  ])('begins with %s, so that no limit on the first token cuts it', async (name, value) => {
    await using server = await httpServer(async (_request, response) => {
      response.writeHead(200, { 'content-type': SSE })
      response.write(event(chunk({ role: 'assistant', content: '' })))
      response.write(event(chunk({ [name]: value })))
      await new Promise((resolve) => setTimeout(resolve, 300))
      response.end(hello + stop + DONE)
    })
    await using blossom = createBlossom({ baseURL: server.url }).use(timeout({ firstTokenMs: 200 }))
    expect(await outcomeOf(blossom.text.stream('Hi'))).toBe('Hello')
    expect(server.requests).toHaveLength(1)
  })
})

describe('an answer', () => {
  it.each([
    ['JSON labelled as events', SSE, JSON.stringify(completion('Hello'))],
    [
      'JSON with a byte order mark, labelled as events',
      SSE,
      `\ufeff \n${JSON.stringify(completion('Hello'))}`,
    ],
    ['events labelled as JSON', JSON_TYPE, chatEvents('Hello')],
    [
      'events labelled as JSON that begin with a comment',
      JSON_TYPE,
      `\n: hi\n\n${chatEvents('Hello')}`,
    ],
    ['events with a name, labelled as JSON', JSON_TYPE, `event: message\n${chatEvents('Hello')}`],
    ['events without a label', '', chatEvents('Hello')],
    ['JSON without a label', '', JSON.stringify(completion('Hello'))],
  ])('is read as its actual type when a stream is requested: %s', async (_name, type, body) => {
    await using one = await site(type, body)
    expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe('Hello')
    expect(one.server.requests).toHaveLength(1)
  })

  it.each([
    ['with a byte order mark', JSON_TYPE, `\ufeff${JSON.stringify(completion('Hello'))}`],
    ['labelled as events', SSE, JSON.stringify(completion('Hello'))],
    ['without a label', '', JSON.stringify(completion('Hello'))],
    [
      'with its text in parts',
      JSON_TYPE,
      JSON.stringify(completion([{ type: 'text', text: 'Hello' }] as never)),
    ],
  ])('is read when JSON is requested: %s', async (_name, type, body) => {
    await using one = await site(type, body)
    expect((await one.blossom.text.generate('Hi')).text).toBe('Hello')
    const raw = { method: 'POST', path: '/v1/chat/completions', body: { messages } } as const
    expect(await one.blossom.request(raw)).toMatchObject({ object: 'chat.completion' })
    expect(one.server.requests).toHaveLength(2)
  })

  it('ends when only blanks arrive, and is not treated as whole', async () => {
    for (const type of [SSE, JSON_TYPE])
      for (const body of ['', ' \n', ' '.repeat(2_000)]) {
        await using one = await site(type, body)
        expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe('PROTOCOL')
      }
  })

  const answer = completion('Hello') as unknown as { choices: [Record<string, unknown>] }
  const altered = (choice: object) => ({
    ...answer,
    choices: [{ ...answer.choices[0], ...choice }],
  })

  it.each([
    [
      'that failed in a choice',
      altered({ finish_reason: 'error', error: { code: 'x' } }),
      'SERVER',
      2,
    ],
    [
      'with a limit reached in a choice',
      altered({ error: { code: 429, message: 'Slow.' } }),
      'RATE_LIMITED',
      2,
    ],
    [
      'that is an error by its kind',
      { object: 'error', message: 'No.', code: 400 },
      'BAD_REQUEST',
      1,
    ],
    ['that is a refusal without a status', { detail: 'Not today.' }, 'SERVER', 2],
    ['that is a list of errors', { errors: [{ code: 402, message: 'Pay.' }] }, 'PAYMENT', 1],
  ])('%s is a failure and is not cached', async (_name, body, code, requests) => {
    await using one = await site(JSON_TYPE, JSON.stringify(body), cache(), breaker())
    for (let i = 0; i < 2; i++)
      await expect(one.blossom.text.generate('Hi')).rejects.toMatchObject({ code })
    expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe(code)
    expect(one.server.requests).toHaveLength(3 * requests)
  })

  it.each([
    ['with nothing in it', altered({ message: { role: 'assistant', content: '' } }), ''],
    [
      'with null in it',
      altered({ message: { role: 'assistant', content: null, refusal: null } }),
      '',
    ],
    ['without a finish reason', altered({ finish_reason: null }), 'Hello'],
    ['with an empty finish reason', altered({ finish_reason: '' }), 'Hello'],
    ['that was filtered', altered({ finish_reason: 'content_filter' }), 'Hello'],
  ])('%s is passed on and not cached', async (_name, body, text) => {
    await using one = await site(JSON_TYPE, JSON.stringify(body), cache())
    for (let i = 0; i < 2; i++) expect((await one.blossom.text.generate('Hi')).text).toBe(text)
    for (let i = 0; i < 2; i++) expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe(text)
    expect(one.server.requests).toHaveLength(4)
  })

  it.each([
    ['with nothing in it', role + stop + DONE, ''],
    ['that was filtered', hello + event(chunk({}, 'content_filter')) + DONE, 'Hello'],
    ['after which something could not be read', `${hello}${stop}data: {\n\n${DONE}`, 'Hello'],
    ['without its mark at the end', hello + stop, 'Hello'],
  ])('streamed %s is passed on and not cached', async (_name, events, text) => {
    await using one = await site(SSE, events, cache())
    for (let i = 0; i < 2; i++) expect(await outcomeOf(one.blossom.text.stream('Hi'))).toBe(text)
    expect(one.server.requests).toHaveLength(2)
  })

  it('reports the model of the first chunk that names one', async () => {
    const empty = event(chunk({ role: 'assistant' }, null, { id: '', model: '', created: 0 }))
    const last = event({ ...chunk({}), choices: [], usage })
    await using one = await site(SSE, empty + hello + stop + last + DONE, cache())
    await outcomeOf(one.blossom.text.stream('Hi'))
    expect(await one.blossom.text.generate('Hi')).toMatchObject({ model: 'openai', cached: true })
  })
})

describe('a stream where a whole answer is expected', () => {
  const whole = role + hello + event(chunk({ content: ' you' }))
  const last = event({ ...chunk({}), choices: [], usage })

  it.each([
    ['with [DONE]', SSE, whole + stop + last + DONE],
    ['without [DONE], but with a finish reason', SSE, whole + stop + last],
    ['labelled as JSON', JSON_TYPE, `: hello\n\n${whole}${stop}${last}${DONE}`],
    ['whose last event lacks its blank line', SSE, (whole + last + stop).trimEnd()],
  ])('becomes the equivalent whole answer: %s', async (_, type, body) => {
    await using at = await site(type, body, cache())
    const ask = () => at.blossom.text.generate('Hi')
    expect(await ask()).toMatchObject({ text: 'Hello you', usage: { totalTokens: 2 } })
    expect((await ask()).cached).toBe(true)
    const completion = await at.blossom.chat.create({ messages })
    expect(completion).toMatchObject({ object: 'chat.completion' })
    expect(at.server.requests).toHaveLength(1)
  })

  it.each([
    ['cut off', whole, 'PROTOCOL'],
    ['with an error inside', whole + event({ error: { message: 'No.', code: 500 } }), 'SERVER'],
    ['with what is no JSON', `${whole}data: {"choi\n\n`, 'PROTOCOL'],
  ])('is a failure and is retried: %s', async (_, body, code) => {
    await using at = await site(SSE, body, cache())
    await expect(at.blossom.text.generate('Hi')).rejects.toMatchObject({ code })
    expect(at.server.requests).toHaveLength(2)
  })
})
