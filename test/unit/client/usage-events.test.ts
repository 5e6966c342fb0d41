import { afterEach, describe, expect, it } from 'vitest'
import { createBlossom } from '../../../src/client/client.js'
import { operation, reports } from '../../../src/client/wire/reports.js'
import type { StackEvent } from '../../../src/core/index.js'
import { standard } from '../../../src/standard.js'
import { startLocalBlossom } from '../../../src/testing/local-blossom/index.js'
import { failure } from '../../support/watch.js'

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const thing of closing.splice(0).reverse()) await thing.close()
})

async function listened(options: object = {}) {
  const upstream = await startLocalBlossom()
  const events: StackEvent[] = []
  const blossom = createBlossom({
    baseURL: upstream.url,
    onEvent: (event) => void events.push(event),
    ...options,
  }).use(...standard({ retry: { minDelayMs: 1 } }))
  closing.push(upstream, blossom)
  const ends = (type: 'attempt:end' | 'call:end') =>
    events.filter((event) => event.type === type) as Extract<StackEvent, { type: 'attempt:end' }>[]
  return { upstream, blossom, ends }
}

describe("the client's events", () => {
  it('report the usage of a chat, plain and streamed, as the caller gets it', async () => {
    const { blossom, ends } = await listened({
      price: (model: string, { input, output }: { input: number; output: number }) =>
        model === 'openai' ? input + output * 2 : undefined,
    })
    const { usage } = await blossom.text.generate('Hello')
    const stream = await blossom.text.stream('Hello again')
    for await (const _ of stream);
    const of = (given: typeof usage) => ({
      input: given?.promptTokens,
      output: given?.completionTokens,
    })
    expect(ends('attempt:end')).toMatchObject([
      {
        operation: 'chat',
        model: 'openai',
        responseModel: 'openai',
        stream: false,
        finishReason: 'stop',
        usage: of(usage),
        status: 200,
      },
      { operation: 'chat', stream: true, finishReason: 'stop', usage: of(stream.usage) },
    ])
    const [first] = ends('attempt:end')
    expect(first?.cost).toBe((usage?.promptTokens ?? 0) + (usage?.completionTokens ?? 0) * 2)
    expect(ends('attempt:end')[0]?.responseId).toMatch(/^chatcmpl-/)
    expect(ends('call:end').map(({ cost }) => cost)).toEqual(
      ends('attempt:end').map(({ cost }) => cost),
    )
  })

  it('name other operations and failures, with upstream’s status', async () => {
    const { upstream, blossom, ends } = await listened()
    await blossom.embeddings.create(['Hello'])
    await blossom.image.generate('A flower')
    await blossom.audio.speech('Hello')
    await blossom.models.list()
    upstream.fault({ status: 400 })
    await failure(blossom.text.generate('Hello', { model: 'mistral' }))
    expect(ends('call:end').map(({ operation }) => operation)).toEqual([
      'embeddings',
      'image',
      'speech',
      'models',
      'chat',
    ])
    expect(ends('attempt:end').at(-1)).toMatchObject({
      outcome: 'failed',
      operation: 'chat',
      model: 'mistral',
      code: 'BAD_REQUEST',
      status: 400,
    })
  })
})

describe('operation', () => {
  it.each([
    ['/v1/chat/completions?x=1', 'chat'],
    ['/v1/responses', 'responses'],
    ['/v1/messages', 'messages'],
    ['/v1/completions', 'text_completion'],
    ['/v1/audio/transcriptions', 'transcription'],
    ['/v1/images/edits', 'image'],
    ['/image/a%20model%20of%20models', 'image'],
    ['/image/models', 'models'],
    ['/v1/models/openai', 'models'],
    ['/audio/chat', 'speech'],
    ['/text/hello', 'text'],
    ['/video/hello', 'video'],
    ['/account/balance', 'account'],
    ['/secret', 'other'],
  ])('of %s is %s', (path, name) => {
    expect(operation({ path } as never)).toBe(name)
  })
})

describe('reports', () => {
  it('reads responses and messages, and the first of several choices', () => {
    const first = { index: 0, finish_reason: 'stop' }
    const second = { index: 1, finish_reason: 'length' }
    expect(reports({ id: 'a', model: 'm', choices: [second, first] })).toEqual({
      id: 'a',
      model: 'm',
      finishReason: 'stop',
    })
    expect(
      reports({ type: 'response.completed', response: { id: 'r', model: 'm' } }),
    ).toMatchObject({ id: 'r', model: 'm' })
    expect(reports({ type: 'message_start', message: { id: 'r', model: 'm' } })).toMatchObject({
      id: 'r',
      model: 'm',
    })
    expect(reports({ type: 'message_delta', delta: { stop_reason: 'end_turn' } })).toMatchObject({
      finishReason: 'end_turn',
    })
    for (const odd of [undefined, null, 5, 'text', [], { choices: 'x', id: 5, model: null }])
      expect(Object.values(reports(odd) ?? {}).filter(Boolean)).toEqual([])
  })
})
