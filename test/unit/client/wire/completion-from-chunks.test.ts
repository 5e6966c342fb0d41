import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChatCompletion } from '../../../../src/client/index.js'
import { eventKind, finishReasonOf, textOf } from '../../../../src/client/wire/completion.js'
import { fromChunks } from '../../../../src/client/wire/completion-from-chunks.js'
import { toChunks } from '../../../../src/client/wire/completion-to-chunks.js'
import { chunk, completion } from '../../../support/wire.js'

const text = fc.string({ unit: 'grapheme' })
const word = fc.string({ minLength: 1, unit: 'grapheme' })
const toolCall = fc.record({
  id: word,
  type: fc.constant('function'),
  function: fc.record({ name: word, arguments: fc.json() }),
})
const message = fc.record(
  {
    role: fc.constant('assistant'),
    content: fc.option(text),
    tool_calls: fc.uniqueArray(toolCall, { maxLength: 3, selector: ({ id }) => id }),
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
  it('return the original completion', () => {
    fc.assert(
      fc.property(whole, (completion) => {
        const chunks = toChunks(completion, true)
        expect(fromChunks(chunks)).toEqual(completion)
        expect(chunks.every((one) => eventKind(one) === 'chunk')).toBe(true)
        expect(chunks.some((one) => finishReasonOf(one) !== undefined)).toBe(true)
        expect(chunks.map(textOf).join('')).toBe(completion.choices[0]?.message.content ?? '')
      }),
    )
  })

  it('return the original completion however its text and arguments are split', () => {
    const cut = (value: string, size: number) =>
      value.match(new RegExp(`[^]{1,${size}}`, 'gu')) ?? []
    fc.assert(
      fc.property(whole, fc.integer({ min: 1, max: 7 }), (completion, size) => {
        const chunks = toChunks(completion, true).flatMap((one): unknown[] => {
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

  it('leave no holes when tool calls are counted from 1 or are empty', () => {
    const chunks = [
      chunk({ tool_calls: [{ index: 1, id: 'b', function: { name: 'f', arguments: '{' } }, null] }),
      chunk({ tool_calls: [{ index: 1, function: { arguments: '}' } }] }),
      chunk({}, 'tool_calls'),
    ]
    expect(fromChunks(chunks)?.choices[0]?.message.tool_calls).toEqual([
      { id: 'b', function: { name: 'f', arguments: '{}' } },
    ])
  })

  it('keep calls without a shared index apart', () => {
    const call = (id: string) => ({ id, function: { name: id, arguments: '{}' } })
    expect(
      fromChunks([chunk({ tool_calls: [call('a'), call('b')] })])?.choices[0]?.message.tool_calls,
    ).toEqual([call('a'), call('b')])
  })

  const args = (value: string) => ({ function: { arguments: value } })
  const begun = (id: string, index?: number, value = '{}') => ({
    ...(index !== undefined && { index }),
    id,
    function: { name: `f_${id}`, arguments: value },
  })
  const listed = (...pieces: object[]) =>
    fromChunks([
      ...pieces.map((piece) => chunk({ tool_calls: [piece] })),
      chunk({}, 'tool_calls'),
    ])?.choices[0]?.message.tool_calls?.map(
      ({ id, function: called }) => `${id} ${called?.arguments}`,
    )

  it.each([
    ['two calls that share the index 0', [begun('a', 0), begun('b', 0)], ['a {}', 'b {}']],
    [
      'pieces of calls that share the index 0',
      [
        begun('a', 0, '{'),
        { index: 0, ...args('}') },
        begun('b', 0, '['),
        { index: 0, ...args(']') },
      ],
      ['a {}', 'b []'],
    ],
    [
      'pieces without an index',
      [begun('a', undefined, '{'), args('}'), begun('b', undefined, '['), args(']')],
      ['a {}', 'b []'],
    ],
    [
      'a call that goes on under another index',
      [begun('a', 0, '{'), { index: 1, ...args('1') }, { index: 1, ...args('}') }],
      ['a {1}'],
    ],
    [
      'pieces that repeat their id',
      [begun('a', 0, '{'), { index: 0, id: 'a', ...args('}') }],
      ['a {}'],
    ],
    [
      'an id that comes after the name',
      [
        { index: 0, function: { name: 'f' } },
        { index: 0, id: 'a', ...args('{}') },
      ],
      ['a {}'],
    ],
    [
      'pieces of two calls in turns',
      [
        begun('a', 0, '{'),
        begun('b', 1, '['),
        { index: 0, ...args('}') },
        { index: 1, ...args(']') },
      ],
      ['a {}', 'b []'],
    ],
    ['calls that come in another order', [begun('b', 1), begun('a', 0)], ['a {}', 'b {}']],
    [
      'calls without ids',
      [
        { index: 0, function: { name: 'f', arguments: '{}' } },
        { index: 0, function: { name: 'g', arguments: '[]' } },
      ],
      ['undefined {}', 'undefined []'],
    ],
  ])('match the pieces that belong together: %s', (_name, pieces, expected) => {
    expect(listed(...pieces)).toEqual(expected)
  })

  it('number the calls of an answer by position', () => {
    const calls = [begun('a', 0), begun('b', 0)]
    const chunks = toChunks(
      completion(null, { tool_calls: calls }) as unknown as ChatCompletion,
      true,
    )
    expect(
      chunks[0]?.choices[0]?.delta.tool_calls?.map(({ id, index }) => `${id}@${index}`),
    ).toEqual(['a@0', 'b@1'])
  })

  it('number the choices of an answer by position when they share an index', () => {
    const one = completion('a') as unknown as ChatCompletion
    const [choice] = one.choices
    const chunks = toChunks({ ...one, choices: [choice!, choice!] }, true)
    expect(fromChunks(chunks)?.choices.map(({ index }) => index)).toEqual([0, 1])
  })

  it('include a usage chunk only when requested', () => {
    const chunks = toChunks(completion('a') as unknown as ChatCompletion, false)
    expect(chunks.every(({ choices }) => choices.length > 0)).toBe(true)
  })

  it('treat `tool_calls: null` as no calls', () => {
    const chunks = toChunks(
      completion('Hi.', { tool_calls: null }) as unknown as ChatCompletion,
      true,
    )
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: 'Hi.' })
  })

  it('preserve every field, even unknown ones', () => {
    const names = fc.constantFrom(
      'reasoning',
      'annotations',
      'images',
      'thinking',
      'of_tomorrow',
      'constructor',
    )
    const value = fc
      .jsonValue({ maxDepth: 2 })
      .filter((one) => !JSON.stringify(one).includes('__proto__'))
    const extra = fc.dictionary(names, value)
    const fields = fc.dictionary(
      fc.constantFrom('system_fingerprint', 'citations', 'of_tomorrow', 'toString'),
      value,
    )
    const logprobs = fc.record({
      content: fc.array(fc.record({ token: text, logprob: fc.double() })),
    })
    fc.assert(
      fc.property(whole, extra, fields, logprobs, (completion, more, top, probabilities) => {
        const [first, ...others] = completion.choices
        const full = {
          ...top,
          ...completion,
          choices: [
            {
              native_finish_reason: 'STOP',
              logprobs: probabilities,
              ...first,
              message: { ...more, ...first?.message },
            },
            ...others,
          ],
        } as unknown as ChatCompletion
        expect(fromChunks(toChunks(full, true))).toEqual(full)
      }),
    )
  })

  it.each([
    ['reasoning', ['Th', 'ink'], 'Think'],
    ['thinking', ['Th', 'ink'], 'Think'],
    ['annotations', [[{ a: 1 }], [{ b: 2 }]], [{ a: 1 }, { b: 2 }]],
    ['images', [[{ index: 0 }], []], [{ index: 0 }]],
    ['content', [null, [{ type: 'text', text: 'a' }]], [{ type: 'text', text: 'a' }]],
    [
      'function_call',
      [{ name: 'f', arguments: '{' }, { arguments: '}' }],
      { name: 'f', arguments: '{}' },
    ],
    [
      'reasoning_details',
      [[], [{ type: 'reasoning.text', text: 'a' }]],
      [{ type: 'reasoning.text', text: 'a' }],
    ],
  ])('join %s', (name, [first, second], expected) => {
    const chunks = [chunk({ [name]: first }), chunk({ [name]: second }), chunk({}, 'stop')]
    expect(fromChunks(chunks)?.choices[0]?.message[name]).toEqual(expected)
  })

  it.each([
    ['of_tomorrow', ['a', 'b']],
    ['of_tomorrow', ['a', 'a']],
    ['content', ['a', [{ type: 'text', text: 'b' }]]],
    ['content', [[{ type: 'text', text: 'a' }], [{ type: 'text', text: 'b' }]]],
    ['reasoning_details', [[{ text: 'a' }], [{ text: 'b' }]]],
  ])('return nothing for pieces of %s that cannot be joined: %j', (name, [first, second]) => {
    const chunks = [chunk({ [name]: first }), chunk({ [name]: second }), chunk({}, 'stop')]
    expect(fromChunks(chunks)).toBeUndefined()
  })

  it('keep top-level fields from the first chunk that has them', () => {
    const empty = { id: '', model: '', created: 0, system_fingerprint: '' }
    const named = { id: 'x', model: 'm', created: 5, system_fingerprint: 'fp' }
    const chunks = [
      chunk({ role: 'assistant' }, null, empty),
      chunk({ content: 'a' }, null, { ...named, citations: ['a'], obfuscation: 'xy' }),
      chunk({}, 'stop', { ...named, id: 'y', citations: ['a', 'b'], obfuscation: 'z' }),
    ]
    const whole = fromChunks(chunks)
    expect(whole).toMatchObject({ ...named, citations: ['a', 'b'] })
    expect(whole).not.toHaveProperty('obfuscation')
  })

  it('return nothing for chunks whose unknown fields contradict each other', () => {
    const chunks = [
      chunk({ content: 'a' }, null, { of_tomorrow: 1 }),
      chunk({}, 'stop', { of_tomorrow: 2 }),
    ]
    expect(fromChunks(chunks)).toBeUndefined()
  })

  it('join the probabilities of the pieces', () => {
    const piece = (content: string, finish: string | null = null) => ({
      ...chunk({ content }, finish),
      choices: [
        {
          index: 0,
          delta: { content },
          finish_reason: finish,
          logprobs: { content: [{ token: content }] },
        },
      ],
    })
    expect(fromChunks([piece('a'), piece('b', 'stop')])?.choices[0]?.logprobs).toEqual({
      content: [{ token: 'a' }, { token: 'b' }],
    })
  })

  it('say that an answer without a finish reason stopped', () => {
    const open = completion('Hi.') as ChatCompletion
    open.choices[0]!.finish_reason = null
    expect(fromChunks(toChunks(open, true))?.choices[0]?.finish_reason).toBe('stop')
  })

  it('leave their input unchanged', () => {
    fc.assert(
      fc.property(whole, (completion) => {
        const before = structuredClone(completion)
        const chunks = toChunks(completion, true)
        const chunksBefore = structuredClone(chunks)
        fromChunks(chunks)
        expect(completion).toEqual(before)
        expect(chunks).toEqual(chunksBefore)
      }),
    )
  })

  it.each([[[]], [[null]], [[5, 'x']], [[{ choices: 'x' }]], [[{ a: 1 }]], [[{ choices: [] }]]])(
    'return nothing for what is not a chat: %j',
    (chunks) => {
      expect(fromChunks(chunks)).toBeUndefined()
    },
  )
})
