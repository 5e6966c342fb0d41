import { describe, expect, it } from 'vitest'
import type { LocalBlossom } from '../../../../src/testing/local-blossom/index.js'
import { bodyOf, chat, chunksOf, eventsOf, hello, post, start, textOf } from './requests.js'

describe('chat completions', () => {
  it('answers with text that quotes the prompt, with usage and headers', async () => {
    const blossom = await start()
    const answer = await chat(blossom)
    const body = await bodyOf(answer)
    expect(body).toMatchObject({
      object: 'chat.completion',
      model: 'openai',
      choices: [{ index: 0, finish_reason: 'stop' }],
    })
    const { content } = body.choices[0].message
    expect(content).toContain('tulips')
    expect(content.split(/[.?!]/).length).toBeGreaterThan(4)
    const tokens = content.trim().split(/\s+/).length
    expect(body.usage).toEqual({
      prompt_tokens: 4,
      completion_tokens: tokens,
      total_tokens: tokens + 4,
    })
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': 'req-local-000001',
      'x-cache': 'MISS',
      'x-model-used': 'openai',
      'x-usage-prompt-text-tokens': '4',
      'x-usage-completion-text-tokens': String(tokens),
      'x-usage-total-tokens': String(tokens + 4),
    })
  })

  it('depends on model, messages and seed, and on nothing else', async () => {
    const [one, two] = [await start(), await start({ coalesce: false })]
    const content = async (blossom: LocalBlossom, more: object = {}) =>
      (await bodyOf(chat(blossom, more))).choices[0].message.content
    expect(await content(one)).toBe(await content(two))
    expect(await content(one, { temperature: 0.2 })).toBe(await content(one))
    const others = [
      await content(one, { seed: 7 }),
      await content(one, { seed: 8 }),
      await content(one, { model: 'mistral' }),
    ]
    expect(new Set([await content(one), ...others]).size).toBe(4)
  })

  it('cuts at max_tokens and at a stop mark, grows to `words`, and takes a `reply`', async () => {
    const blossom = await start({
      words: 300,
      reply: (asked) => (asked.rawBody.includes('parrot') ? 'one two three' : undefined),
    })
    const first = async (more: object) => (await bodyOf(chat(blossom, more))).choices[0]
    expect(await first({ max_tokens: 3 })).toMatchObject({ finish_reason: 'length' })
    expect((await first({ max_tokens: 3 })).message.content.split(' ')).toHaveLength(3)
    expect((await first({ stop: ['tul'] })).message.content).not.toContain('tul')
    expect((await first({})).message.content.split(' ').length).toBeGreaterThanOrEqual(300)
    const parrot = { messages: [{ role: 'user', content: 'parrot' }] }
    expect(await first(parrot)).toMatchObject({
      finish_reason: 'stop',
      message: { content: 'one two three' },
    })
    expect(await first({ ...parrot, max_completion_tokens: 2 })).toMatchObject({
      finish_reason: 'length',
      message: { content: 'one two' },
    })
  })

  it('streams a role, word by word the same text, a finish reason, the usage and [DONE]', async () => {
    const blossom = await start()
    const whole = await bodyOf(chat(blossom))
    const answer = await chat(blossom, { stream: true, stream_options: { include_usage: true } })
    expect(answer.headers.get('content-type')).toContain('text/event-stream')
    const text = await answer.text()
    expect(eventsOf(text).at(-1)).toBe('[DONE]')
    const chunks = chunksOf(text)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant' })
    expect(textOf(chunks)).toBe(whole.choices[0].message.content)
    expect(chunks.length).toBe(whole.usage.completion_tokens + 3)
    expect(chunks.at(-2)?.choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' })
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
    expect(blossom.requests[1]).toMatchObject({
      outcome: 'complete',
      status: 200,
      chunksSent: chunks.length,
      bytesSent: text.length + extra(text),
    })
    expect(
      chunksOf(await (await chat(blossom, { stream: true })).text()).some(
        (chunk) => chunk.usage !== undefined,
      ),
    ).toBe(false)
  })

  it('calls a tool when told to, in pieces when streamed, and speaks once the tool has answered', async () => {
    const blossom = await start()
    const parameters = {
      type: 'object',
      properties: {
        city: { type: 'string' },
        days: { type: 'integer' },
        unit: { enum: ['C', 'F'] },
      },
    }
    const tools = [{ type: 'function', function: { name: 'weather', parameters } }]
    const forced = { tools, tool_choice: { type: 'function', function: { name: 'weather' } } }
    const choice = (await bodyOf(chat(blossom, forced))).choices[0]
    expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
    const [call] = choice.message.tool_calls
    expect(JSON.parse(call.function.arguments)).toEqual({
      city: 'Tell me about tulips',
      days: 1,
      unit: 'C',
    })

    const calls = chunksOf(await (await chat(blossom, { ...forced, stream: true })).text()).flatMap(
      (chunk) => chunk.choices[0]?.delta.tool_calls ?? [],
    )
    expect(calls.length).toBeGreaterThan(3)
    expect(calls.map((piece) => piece.function.arguments).join('')).toBe(call.function.arguments)

    const asked = [{ role: 'user', content: 'Please call the tool.' }]
    expect((await bodyOf(chat(blossom, { tools, messages: asked }))).choices[0].finish_reason).toBe(
      'tool_calls',
    )
    expect((await bodyOf(chat(blossom, { tools }))).choices[0].finish_reason).toBe('stop')
    const answered = [
      ...asked,
      choice.message,
      { role: 'tool', tool_call_id: call.id, content: '21 degrees' },
    ]
    expect(
      (await bodyOf(chat(blossom, { tools, messages: answered }))).choices[0].finish_reason,
    ).toBe('stop')
  })

  it('writes JSON, reasons and speaks when asked to', async () => {
    const blossom = await start()
    const message = async (more: object) => (await bodyOf(chat(blossom, more))).choices[0].message
    expect(
      JSON.parse((await message({ response_format: { type: 'json_object' } })).content).topic,
    ).toContain('tulips')
    const schema = {
      type: 'object',
      properties: { ok: { type: 'boolean' }, list: { type: 'array', items: { type: 'number' } } },
    }
    const format = { type: 'json_schema', json_schema: { name: 'x', schema } }
    expect(JSON.parse((await message({ response_format: format })).content)).toEqual({
      ok: true,
      list: [1],
    })
    expect((await message({ reasoning_effort: 'low' })).reasoning_content).toContain('tulips')
    const spoken = await message({
      modalities: ['text', 'audio'],
      audio: { voice: 'alloy', format: 'wav' },
    })
    expect(spoken.content).toBeNull()
    expect(Buffer.from(spoken.audio.data, 'base64').subarray(0, 4).toString()).toBe('RIFF')
  })

  it.each([
    ['not JSON', 'nonsense', undefined],
    ['no messages', { model: 'openai' }, 'messages'],
    ['no role', { messages: [{ content: 'x' }] }, 'role'],
    ['temperature', { ...hello, temperature: 3 }, 'temperature'],
    ['max_tokens', { ...hello, max_tokens: 0 }, 'max_tokens'],
    ['stream', { ...hello, stream: 'yes' }, 'stream'],
  ])('refuses a wrong body: %s', async (_name, body, named) => {
    const blossom = await start()
    const answer = await post(blossom, '/v1/chat/completions', body)
    expect(answer.status).toBe(400)
    const { error, ...rest } = await bodyOf(answer)
    expect(rest).toEqual({ status: 400, success: false })
    expect(error).toMatchObject({
      code: 'BAD_REQUEST',
      requestId: answer.headers.get('x-request-id'),
    })
    expect(error.details.field).toBe(named)
  })
})

/** What a text's UTF-8 bytes exceed its length by. */
function extra(text: string): number {
  return Buffer.byteLength(text) - text.length
}
