import { describe, expect, it } from 'vitest'
import type { ChatChunk } from '../../../../src/client/index.js'
import { fromChunks } from '../../../../src/client/wire/completion-from-chunks.js'
import { cache, createBlossom } from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { PROMPT } from '../../../support/secrets.js'
import { textOf } from '../../../support/text-streams.js'
import { failure } from '../../../support/watch.js'
import { chatEvents, chunk, completion, DONE, event } from '../../../support/wire.js'
import { SSE, streaming } from './streaming.js'

const messages = [{ role: 'user', content: PROMPT }]

describe('well-formed streams', () => {
  const role = event(chunk({ role: 'assistant' }))
  const hello = event(chunk({ content: 'Héllo' }))
  const world = event(chunk({ content: ' wörld 😀' }))
  const end = event(chunk({}, 'stop')) + DONE
  const plain = role + hello + world + end
  const lines = (data: object) =>
    `data: ${JSON.stringify(data, null, 1).replaceAll('\n', '\ndata: ')}\n\n`

  it.each([
    ['plain', plain],
    ['with CRLF', plain.replaceAll('\n', '\r\n')],
    ['with CR', `${plain.replaceAll('\n', '\r')}:\r`],
    [
      'with comments and blank lines',
      `: hi\n\n${role}: ping\n\n\n\n${hello}:\n${world}: bye\n\n${end}`,
    ],
    ['with a byte order mark', `\ufeff${plain}`],
    ['without spaces', plain.replaceAll('data: ', 'data:')],
    ['with events of several lines', role + lines(chunk({ content: 'Héllo' })) + world + end],
    [
      'with names, ids and retry times',
      `retry: 5\nid: 1\nevent: message\n${role}id: 2\n${hello}event: chunk\n${world}${end}`,
    ],
    [
      'with empty events that keep the connection alive',
      `data:\n\n${role}data: \n\n${hello}${world}${end}`,
    ],
    [
      'with pieces of no content',
      role + event(chunk({ content: '' })) + hello + event(chunk({ content: null })) + world + end,
    ],
    [
      'with chunks that have no choices',
      event({ id: 'x', choices: [] }) + role + hello + event({ usage: null }) + world + end,
    ],
    [
      'with the usage last',
      role +
        hello +
        world +
        event(chunk({}, 'stop')) +
        event({ choices: [], usage: { total_tokens: 5 } }) +
        DONE,
    ],
    [
      'with content and finish reason in one',
      role + hello + event(chunk({ content: ' wörld 😀' }, 'stop')) + DONE,
    ],
    [
      'with separators of other kinds inside',
      plain.replace('Héllo', 'Héllo\u2028').replace('\u2028', ''),
    ],
  ])('deliver the exact text: %s', async (_name, text) => {
    await using server = await streaming(text)
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      'Héllo wörld 😀',
    )
  })

  it('deliver the exact text wherever they are split', async () => {
    const bytes = Buffer.from(role + hello + world + end)
    const at = bytes.indexOf(Buffer.from('wörld'))
    for (const size of [1, 2, 3, 7, at + 2]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      )
      await using server = await streaming(...pieces)
      expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
        'Héllo wörld 😀',
      )
    }
  })

  it('deliver the text however the local upstream splits its writes', async () => {
    await using upstream = await startLocalBlossom({
      reply: () => 'Ünïcödé 😀 text, cut anywhere.',
    })
    for (const splitBytes of [1, 5, 64]) {
      upstream.fault({ splitBytes })
      expect(await textOf(await createBlossom({ baseURL: upstream.url }).text.stream(PROMPT))).toBe(
        'Ünïcödé 😀 text, cut anywhere.',
      )
    }
  })

  it('may be one very large chunk', async () => {
    const large = 'x'.repeat(4 * 2 ** 20)
    await using server = await streaming(chatEvents(large))
    expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
      large,
    )
  })

  it('hold back chunks before the first content, then deliver them first', async () => {
    // More than may wait for a reader who has come.
    const held = Array.from({ length: 40 }, () => role)
    await using server = await streaming(...held, hello, end)
    const stream = await createBlossom({ baseURL: server.url }).chat.stream(
      { messages },
      { timeoutMs: 3_000 },
    )
    const chunks: ChatChunk[] = []
    for await (const one of stream) chunks.push(one)
    expect(chunks).toHaveLength(42)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant' })
  })

  it('begin after 64 chunks without content, the most that is held back', async () => {
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE)
      for (let i = 0; i < 70; i++) response.write(role)
    })
    const stream = await createBlossom({ baseURL: server.url }).chat.stream(
      { messages },
      { timeoutMs: 3_000 },
    )
    for (let i = 0; i < 70; i++) expect((await stream.next()).done).toBe(false)
    await stream.return(undefined)
    await server.idle()
  })

  it.each([
    [{ reasoning_content: 'Hm' }, ''],
    [{ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '' } }] }, ''],
    [{ refusal: 'No.' }, ''],
    [{ audio: { id: 'a' } }, ''],
    [{ content: 'Hi' }, 'Hi'],
  ])('begin with %j', async (delta, text) => {
    let ended = () => {}
    await using server = await httpServer((_request, response) => {
      response.writeHead(200, SSE).write(role + event(chunk(delta)))
      ended = () => response.end(end)
    })
    const stream = await createBlossom({ baseURL: server.url }).text.stream(PROMPT)
    ended()
    expect(await textOf(stream)).toBe(text)
    expect(stream.finishReason).toBe('stop')
  })
})

describe('other answers where a stream is expected', () => {
  it('are accepted when they are a whole completion in JSON', async () => {
    const whole = completion('Hello.', { tool_calls: null, reasoning_content: 'Hm' })
    await using server = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(whole)),
    )
    const blossom = createBlossom({ baseURL: server.url })
    const stream = await blossom.text.stream(PROMPT)
    expect(await textOf(stream)).toBe('Hello.')
    expect([stream.finishReason, stream.usage?.totalTokens]).toEqual(['stop', 3])
  })

  it.each([
    ['an error in JSON', 'application/json', '{"error":{"message":"x"}}', 'SERVER'],
    ['JSON of another shape', 'application/json', '{"a":1}', 'PROTOCOL'],
    ['broken JSON', 'application/json', '{"a"', 'PROTOCOL'],
    ['a web page', 'text/html', '<html></html>', 'PROTOCOL'],
    ['plain text', 'text/plain', 'Hello there', 'PROTOCOL'],
    ['a picture', 'image/png', '\u0089PNG', 'PROTOCOL'],
  ])('are refused when they are %s', async (_name, type, body, code) => {
    await using server = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': type }).end(body),
    )
    expect(await failure(createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toMatchObject(
      { code, retryable: true },
    )
  })

  it.each(['', 'text/plain', 'application/octet-stream'])(
    'are read as events under the label "%s"',
    async (type) => {
      await using server = await httpServer((_request, response) =>
        response.writeHead(200, type === '' ? {} : { 'content-type': type }).end(chatEvents('Hi')),
      )
      expect(await textOf(await createBlossom({ baseURL: server.url }).text.stream(PROMPT))).toBe(
        'Hi',
      )
    },
  )

  it('with a field named __proto__ pollute nothing', async () => {
    const evil =
      '{"__proto__":{"polluted":1},"choices":[{"index":0,"delta":{"content":"Hi","__proto__":{"polluted":2}}}]}'
    const tool =
      '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":"__proto__","function":{"arguments":"x"}}]}}]}'
    const index = '{"choices":[{"index":"__proto__","delta":{"polluted":true}}]}'
    await using server = await streaming(
      `data: ${evil}\n\ndata: ${tool}\n\ndata: ${index}\n\n${event(chunk({}, 'stop'))}${DONE}`,
    )
    const blossom = createBlossom({ baseURL: server.url }).use(cache())
    const chunks: unknown[] = []
    for await (const one of await blossom.chat.stream({ messages })) chunks.push(one)
    fromChunks(chunks)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(Object.hasOwn(chunks[0] as object, '__proto__')).toBe(false)
    expect(Object.getPrototypeOf(chunks[0])).toBe(Object.prototype)
  })
})
