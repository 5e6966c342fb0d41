import { describe, expect, it } from 'vitest'
import { Outgoing } from '../../../../src/client/wire/outgoing.js'
import { CHAT, EMBEDDINGS, MESSAGES, RESPONSES } from '../../../../src/client/wire/shapes.js'
import { conversation, tokenUsage, weigh } from '../../../../src/client/wire/tokens.js'
import { Json } from '../../../../src/core/index.js'

const chat = (body: Record<string, unknown>) => new Outgoing('POST', CHAT, body, 'json')
const user = (content: unknown) => ({ role: 'user', content })

describe('the weight of a request', () => {
  it.each([
    ['the text of the messages, four characters a token', { messages: [user('eight ch')] }, 2],
    ['each message by itself', { messages: [user('one'), user('three')] }, 3],
    ['parts of text', { messages: [user([{ type: 'text', text: 'eight ch' }])] }, 2],
    [
      '300 for a picture or a sound, whatever its size',
      { messages: [user([{ type: 'image_url', image_url: { url: 'x'.repeat(9_000) } }])] },
      300,
    ],
    [
      'the tools that the model may call',
      { messages: [user('eight ch')], tools: [{ type: 'function', function: { name: 'a' } }] },
      14,
    ],
    ['nothing for what is no message', { messages: [null, 3, user(null)] }, 0],
  ])('counts %s', (_, body, input) => {
    expect(weigh(chat(body))).toEqual({ input, output: undefined })
  })

  it('takes the larger of the two limits on the answer, for each choice', () => {
    const messages = [user('eight ch')]
    const output = (body: object) => weigh(chat({ messages, ...body })).output
    expect(output({ max_tokens: 5 })).toBe(5)
    expect(output({ max_tokens: 5, max_completion_tokens: 9 })).toBe(9)
    expect(output({ max_tokens: 5, n: 3 })).toBe(15)
    expect(output({ max_tokens: 'many' })).toBeUndefined()
  })

  it('counts what a response is asked for, and takes its limit', () => {
    const ask = (body: Record<string, unknown>) =>
      weigh(new Outgoing('POST', RESPONSES, body, 'json'))
    expect(ask({ input: 'eight ch' })).toEqual({ input: 2, output: undefined })
    const input = [
      { role: 'user', content: [{ type: 'input_text', text: 'four' }, { type: 'input_image' }] },
      { type: 'function_call', name: 'f', arguments: '{"a":12}' },
      { type: 'function_call_output', output: 'four' },
    ]
    const all = { instructions: 'eight ch', input, max_output_tokens: 9 }
    expect(ask(all)).toEqual({ input: 2 + 1 + 300 + 2 + 1, output: 9 })
  })

  it('counts the system prompt of a message', () => {
    const body = {
      system: [{ type: 'text', text: 'four' }],
      messages: [user('four')],
      max_tokens: 7,
    }
    expect(weigh(new Outgoing('POST', MESSAGES, body, 'json'))).toEqual({ input: 2, output: 7 })
  })

  it('counts the inputs of embeddings, whose answer costs none, and an address', () => {
    const embeddings = new Outgoing('POST', EMBEDDINGS, { input: ['eight ch', 'four'] }, 'json')
    expect(weigh(embeddings)).toEqual({ input: 3, output: 0 })
    expect(weigh(new Outgoing('GET', '/image/tulip', undefined, 'bytes'))).toEqual({
      input: 3,
      output: 0,
    })
  })
})

describe('the usage of an answer', () => {
  const usage = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 }

  it('is read from JSON and from a chunk', () => {
    const expected = { input: 7, output: 2 }
    expect(tokenUsage({ data: Json.of({ usage }), requestId: 'r' })).toEqual(expected)
    expect(tokenUsage({ choices: [], usage })).toEqual(expected)
  })

  it('includes the input tokens that upstream had cached', () => {
    const cached = { ...usage, prompt_tokens_details: { cached_tokens: 4 } }
    expect(tokenUsage({ usage: cached })).toEqual({ input: 7, output: 2, cachedInput: 4 })
  })

  it('is read of a response, whole or in its last event, and of a message', () => {
    const usage = { input_tokens: 7, output_tokens: 2, input_tokens_details: { cached_tokens: 4 } }
    const expected = { input: 7, output: 2, cachedInput: 4 }
    expect(tokenUsage({ data: Json.of({ usage }), requestId: 'r' })).toEqual(expected)
    expect(tokenUsage({ type: 'response.completed', response: { usage } })).toEqual(expected)
    expect(tokenUsage({ type: 'response.created', response: { usage: null } })).toBeUndefined()
    const counts = { input_tokens: 7, cache_read_input_tokens: 4, output_tokens: 2 }
    expect(tokenUsage({ type: 'message_delta', usage: counts })).toEqual({ ...expected, input: 11 })
    expect(tokenUsage({ type: 'message_delta', usage: { output_tokens: 2 } })).toBeUndefined()
  })

  it.each([
    [undefined],
    ['text'],
    [{}],
    [{ usage: null }],
    [{ usage: { prompt_tokens: 'many' } }],
    [{ data: Json.of({ choices: [] }) }],
    [{ bytes: new Uint8Array(3), contentType: 'image/png' }],
  ])('is unknown for %o', (answer) => {
    expect(tokenUsage(answer)).toBeUndefined()
  })
})

describe('the conversation of a request', () => {
  const system = { role: 'system', content: 'Be brief.' }
  const of = (body: Record<string, unknown>) => conversation(chat({ model: 'mistral', ...body }))

  it('stays the same as the conversation continues', () => {
    const first = of({ messages: [system, user('Hello')] })
    const said = [{ role: 'assistant', content: 'Hi' }, user('And now?')]
    expect(of({ messages: [system, user('Hello'), ...said], temperature: 0 })).toBe(first)
  })

  it('changes with the model, system message, tools or opening message', () => {
    const messages = [system, user('Hello')]
    const all = [
      of({ messages }),
      of({ messages, model: 'openai' }),
      of({ messages, tools: [] }),
      of({ messages: [user('Hello')] }),
      of({ messages: [system, user('Goodbye')] }),
    ]
    expect(new Set(all).size).toBe(all.length)
  })

  it('is found in the same way for a response or a message', () => {
    const responses = (body: Record<string, unknown>) =>
      conversation(new Outgoing('POST', RESPONSES, { model: 'mistral', ...body }, 'json'))
    const first = responses({ instructions: 'Be brief.', input: 'Hello' })
    const answer = { role: 'assistant', content: 'Hi' }
    const input = [user('Hello'), answer, user('And now?')]
    expect(responses({ instructions: 'Be brief.', input })).toBe(first)
    expect(responses({ input })).not.toBe(first)
    const messages = (system: string) =>
      conversation(new Outgoing('POST', MESSAGES, { system, messages: [user('Hello')] }, 'json'))
    expect(messages('Be brief.')).toBe(messages('Be brief.'))
    expect(messages('Be brief.')).not.toBe(messages('Be long.'))
  })

  it('is absent when the request is not a conversation', () => {
    expect(conversation(new Outgoing('POST', EMBEDDINGS, { input: 'a' }, 'json'))).toBeUndefined()
    expect(of({ messages: 'none' })).toBeUndefined()
  })
})
