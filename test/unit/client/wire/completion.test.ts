import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChatCompletion } from '../../../../src/client/index.js'
import {
  commits,
  finishReasonOf,
  fromChunks,
  isChunk,
  isCompletion,
  textOf,
  toChunks,
  usageOf,
} from '../../../../src/client/wire/completion.js'
import { chunk, completion } from '../../../support/wire.js'

const text = fc.string({ unit: 'grapheme' })
const toolCall = fc.record({
  id: text,
  type: fc.constant('function'),
  function: fc.record({ name: text, arguments: fc.json() }),
})
const message = fc.record(
  {
    role: fc.constant('assistant'),
    content: fc.option(text),
    tool_calls: fc.array(toolCall, { maxLength: 3 }),
    reasoning_content: text,
    refusal: text,
    audio: fc.record({ id: text, data: fc.base64String(), transcript: text, expires_at: fc.nat() }),
  },
  { requiredKeys: ['role', 'content'] },
)
const usage = fc.record({
  prompt_tokens: fc.nat(),
  completion_tokens: fc.nat(),
  total_tokens: fc.nat(),
})
const whole = fc
  .record(
    {
      id: text,
      created: fc.nat(),
      model: text,
      choices: fc.array(
        fc.record({ message, finish_reason: fc.constantFrom('stop', 'length', 'tool_calls') }),
        {
          minLength: 1,
          maxLength: 3,
        },
      ),
      usage,
    },
    { requiredKeys: ['id', 'created', 'model', 'choices'] },
  )
  .map(
    ({ choices, ...rest }) =>
      ({
        ...rest,
        object: 'chat.completion',
        choices: choices.map((choice, index) => ({ index, ...choice })),
      }) as unknown as ChatCompletion,
  )

describe('toChunks and fromChunks', () => {
  it('give back the completion they began with', () => {
    fc.assert(
      fc.property(whole, (completion) => {
        const chunks = toChunks(completion)
        expect(fromChunks(chunks)).toEqual(completion)
        expect(chunks.every(isChunk)).toBe(true)
        expect(chunks.some((one) => finishReasonOf(one) !== undefined)).toBe(true)
        expect(chunks.map(textOf).join('')).toBe(completion.choices[0]?.message.content ?? '')
      }),
    )
  })

  it('give back the completion when its text and arguments come in any pieces', () => {
    const cut = (value: string, size: number) =>
      value.match(new RegExp(`[^]{1,${size}}`, 'gu')) ?? []
    fc.assert(
      fc.property(whole, fc.integer({ min: 1, max: 7 }), (completion, size) => {
        const chunks = toChunks(completion).flatMap((one): unknown[] => {
          const [choice] = one.choices
          const { content, tool_calls, reasoning_content, ...rest } = (choice?.delta ??
            {}) as ChatCompletion['choices'][number]['message']
          if (choice === undefined || rest.role === undefined) return [one]
          const piece = (delta: object) => ({ ...one, choices: [{ ...choice, delta }] })
          return [
            piece(typeof content === 'string' ? { ...rest, content: '' } : { ...rest, content }),
            ...(reasoning_content === undefined
              ? []
              : ['', ...cut(reasoning_content, size)].map((more) =>
                  piece({ reasoning_content: more }),
                )),
            ...cut(typeof content === 'string' ? content : '', size).map((more) =>
              piece({ content: more }),
            ),
            ...(tool_calls?.length === 0 ? [piece({ tool_calls })] : []),
            ...(tool_calls ?? []).flatMap(({ index, id, type, function: called }) => [
              piece({
                tool_calls: [{ index, id, type, function: { name: called?.name, arguments: '' } }],
              }),
              ...cut(called?.arguments ?? '', size).map((more) =>
                piece({ tool_calls: [{ index, function: { arguments: more } }] }),
              ),
            ]),
          ]
        })
        expect(fromChunks(chunks)).toEqual(completion)
      }),
    )
  })

  it('put audio together from its pieces', () => {
    const pieces = [
      { audio: { id: 'a1', transcript: 'Hel' } },
      { audio: { data: 'AAAA', transcript: 'lo' } },
      { audio: { data: 'BBBB', expires_at: 5 } },
    ]
    expect(
      fromChunks([...pieces.map((delta) => chunk(delta)), chunk({}, 'stop')])?.choices[0]?.message
        .audio,
    ).toEqual({
      id: 'a1',
      data: 'AAAABBBB',
      transcript: 'Hello',
      expires_at: 5,
    })
  })

  it('leave no holes where tool calls are counted from 1, and none for those that are nothing', () => {
    const chunks = [
      chunk({ tool_calls: [{ index: 1, id: 'b', function: { name: 'f', arguments: '{' } }, null] }),
      chunk({ tool_calls: [{ index: 1, function: { arguments: '}' } }] }),
      chunk({}, 'tool_calls'),
    ]
    expect(fromChunks(chunks)?.choices[0]?.message.tool_calls).toEqual([
      { id: 'b', function: { name: 'f', arguments: '{}' } },
    ])
  })

  it('keep the calls apart that share no index', () => {
    const call = (id: string) => ({ id, function: { name: id, arguments: '{}' } })
    expect(
      fromChunks([chunk({ tool_calls: [call('a'), call('b')] })])?.choices[0]?.message.tool_calls,
    ).toEqual([call('a'), call('b')])
  })

  it('take `tool_calls: null` for none', () => {
    const chunks = toChunks(completion('Hi.', { tool_calls: null }) as unknown as ChatCompletion)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: 'Hi.' })
  })

  it('say that an answer without a finish reason stopped', () => {
    const open = completion('Hi.') as ChatCompletion
    open.choices[0]!.finish_reason = null
    expect(fromChunks(toChunks(open))?.choices[0]?.finish_reason).toBe('stop')
  })

  it('change nothing of what they are given', () => {
    fc.assert(
      fc.property(whole, (completion) => {
        const before = structuredClone(completion)
        const chunks = toChunks(completion)
        const chunksBefore = structuredClone(chunks)
        fromChunks(chunks)
        expect(completion).toEqual(before)
        expect(chunks).toEqual(chunksBefore)
      }),
    )
  })

  it.each([[[]], [[null]], [[5, 'x']], [[{ choices: 'x' }]], [[{ a: 1 }]], [[{ choices: [] }]]])(
    'make nothing of what is no chat: %j',
    (chunks) => {
      expect(fromChunks(chunks)).toBeUndefined()
    },
  )
})

describe('commits', () => {
  it.each([
    [{ role: 'assistant' }, null, false],
    [{ role: 'assistant', content: '' }, null, false],
    [{ content: null, tool_calls: [] }, null, false],
    [{}, null, false],
    [{ content: 'a' }, null, true],
    [{ reasoning_content: 'a' }, null, true],
    [{ refusal: 'no' }, null, true],
    [{ audio: { id: 'a' } }, null, true],
    [{ tool_calls: [{ index: 0 }] }, null, true],
    [{}, 'stop', true],
  ])('of %j with the finish reason %j is %s', (delta, finish, expected) => {
    expect(commits(chunk(delta, finish))).toBe(expected)
  })

  it('is true of events that are no chat, and of any choice that has content', () => {
    expect(commits({ progress: 5 })).toBe(true)
    expect(commits('x')).toBe(true)
    expect(commits({ choices: [] })).toBe(false)
    expect(commits({ choices: [{ delta: {} }, { delta: { content: 'a' } }] })).toBe(true)
  })
})

describe('what comes from outside', () => {
  it('makes none of the readers throw, and pollutes nothing', () => {
    const anything = fc.anything({ maxDepth: 2 })
    const delta = fc.oneof(
      anything,
      fc.record({ content: anything, tool_calls: fc.array(anything), audio: anything }),
    )
    const choice = fc.oneof(
      anything,
      fc.record({ index: anything, delta, message: anything, finish_reason: anything }),
    )
    const data = fc.oneof(
      anything,
      fc.record({ choices: fc.oneof(anything, fc.array(choice)), usage: anything }),
    )
    // Only what JSON can hold arrives.
    const fromJson = (value: unknown): unknown => {
      try {
        return JSON.parse(JSON.stringify(value) ?? 'null')
      } catch {
        return null
      }
    }
    fc.assert(
      fc.property(fc.array(data.map(fromJson), { maxLength: 5 }), (chunks) => {
        for (const one of chunks) {
          commits(one)
          textOf(one)
          usageOf(one)
          finishReasonOf(one)
          isChunk(one)
          if (isCompletion(one)) toChunks(one)
        }
        fromChunks(chunks)
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      { numRuns: 150 },
    )
  })

  it('counts only finite tokens', () => {
    expect(
      usageOf({ usage: { prompt_tokens: Number.NaN, completion_tokens: '5', total_tokens: 7 } }),
    ).toEqual({
      promptTokens: 0,
      completionTokens: 0,
      totalTokens: 7,
    })
    expect(usageOf({ usage: [] })).toBeUndefined()
    expect(usageOf(undefined)).toBeUndefined()
  })
})
