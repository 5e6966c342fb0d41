import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Translation } from '../../../../src/gateway/responses/answer/translation.js'

type Fields = Readonly<Record<string, unknown>>

const chunkOf = (delta: object, more: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'mistral',
  choices: [{ index: 0, delta, finish_reason: null, ...more }],
})
const last = (finish_reason: string) => chunkOf({}, { finish_reason })
const piece = (args: string, more: object = {}) => ({
  tool_calls: [{ ...more, function: { arguments: args } }],
})
const begun = (id: string | undefined, name: string, index?: number) => ({
  tool_calls: [{ id, index, type: 'function', function: { name, arguments: '' } }],
})

function eventsOf(chunks: readonly unknown[], body: Fields = {}): Fields[] {
  const translation = new Translation({ input: 'Hi', ...body })
  return [...chunks.flatMap((chunk) => translation.chunk(chunk)), ...translation.end()]
}

const namesOf = (events: readonly Fields[]) =>
  events.map(({ type }) => String(type).slice('response.'.length))

const responseIn = (events: readonly Fields[]) => events.at(-1)?.response as Fields

/** The thought of an item so far. */
const thought = (item: Fields | undefined) =>
  ((item?.summary ?? []) as { text: string }[])[0]?.text ?? ''

/** What a client makes of the events, by their deltas alone. */
function assembled(events: readonly Fields[]): Fields[] {
  const items: Record<string, unknown>[] = []
  for (const { type, output_index, content_index, item, part, delta } of events) {
    const at = items[output_index as number] as Record<string, never>
    if (type === 'response.output_item.added') items.push(structuredClone(item as never))
    if (type === 'response.content_part.added')
      (at as { content?: unknown[] } | undefined)?.content?.push(structuredClone(part))
    const here = (at?.content as Record<string, string>[] | undefined)?.[content_index as number]
    if (type === 'response.output_text.delta' && here) here.text += String(delta)
    if (type === 'response.refusal.delta' && here) here.refusal += String(delta)
    if (type === 'response.function_call_arguments.delta' && at)
      (at as Record<string, string>).arguments += String(delta)
    if (type === 'response.reasoning_summary_text.delta')
      (at as Record<string, unknown>).summary = [
        {
          type: 'summary_text',
          text: `${thought(at)}${delta}`,
        },
      ]
  }
  return items
}

/** Items without their status, which changes at their end. */
const contents = (items: unknown) =>
  (items as Fields[]).map(({ status: _, content, ...rest }) => ({
    ...rest,
    said: (content as Fields[] | undefined)?.map(({ type, text, refusal }) => [
      type,
      text ?? refusal,
    ]),
  }))

describe('the events of a translated stream', () => {
  it('match OpenAI’s, in order', () => {
    const usage = {
      prompt_tokens: 3,
      completion_tokens: 2,
      total_tokens: 5,
      prompt_tokens_details: { cached_tokens: 1 },
      completion_tokens_details: { reasoning_tokens: 1 },
    }
    const events = eventsOf(
      [
        chunkOf({ role: 'assistant', content: '' }),
        chunkOf({ reasoning_content: 'Hm' }),
        chunkOf({ content: 'Good' }),
        chunkOf({ content: ' day' }),
        last('stop'),
        { ...chunkOf({}), choices: [], usage },
      ],
      { metadata: { a: 'b' }, instructions: 'Be brief.', temperature: 0.5 },
    )
    expect(namesOf(events)).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'reasoning_summary_part.added',
      'reasoning_summary_text.delta',
      'reasoning_summary_text.done',
      'reasoning_summary_part.done',
      'output_item.done',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'completed',
    ])
    expect(responseIn(events)).toMatchObject({
      id: expect.stringMatching(/^resp_[0-9a-f]{32}$/),
      object: 'response',
      created_at: 1_700_000_000,
      status: 'completed',
      model: 'mistral',
      metadata: { a: 'b' },
      instructions: 'Be brief.',
      temperature: 0.5,
      store: false,
      output: [
        { id: expect.stringMatching(/^rs_/), type: 'reasoning' },
        {
          id: expect.stringMatching(/^msg_/),
          type: 'message',
          status: 'completed',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'Good day', annotations: [] }],
        },
      ],
      usage: {
        input_tokens: 3,
        input_tokens_details: { cached_tokens: 1 },
        output_tokens: 2,
        output_tokens_details: { reasoning_tokens: 1 },
        total_tokens: 5,
      },
    })
    expect(events[0]?.response).toMatchObject({ status: 'in_progress', output: [], usage: null })
  })

  it('announce each call once its name is known, and finish it at the end', () => {
    const events = eventsOf([
      chunkOf({ content: 'Let me see.' }),
      chunkOf(begun('a', 'weather', 0)),
      chunkOf(piece('{"city"', { index: 0 })),
      chunkOf(begun('b', 'time', 1)),
      chunkOf(piece(':"Rome"}', { index: 0 })),
      chunkOf(piece('{}', { index: 1 })),
      last('tool_calls'),
    ])
    expect(namesOf(events).slice(2)).toEqual([
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'function_call_arguments.delta',
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
      'function_call_arguments.done',
      'output_item.done',
      'completed',
    ])
    expect(responseIn(events).output).toMatchObject([
      { type: 'message' },
      { type: 'function_call', call_id: 'a', name: 'weather', arguments: '{"city":"Rome"}' },
      { type: 'function_call', call_id: 'b', name: 'time', arguments: '{}' },
    ])
  })

  it.each([
    [
      'with the same index',
      [begun('a', 'f', 0), piece('1', { index: 0 }), begun('b', 'g', 0), piece('2', { index: 0 })],
    ],
    ['without an index', [begun('a', 'f'), piece('1'), begun('b', 'g'), piece('2')]],
    [
      'without an id',
      [
        begun(undefined, 'f', 0),
        piece('1', { index: 0 }),
        begun(undefined, 'g', 1),
        piece('2', { index: 1 }),
      ],
    ],
    [
      'whole, with objects as arguments',
      [{ tool_calls: [{ id: 'a', function: { name: 'f', arguments: 1 } }] }],
    ],
  ])('keep calls apart that come %s', (_, deltas) => {
    const events = eventsOf([...deltas.map((delta) => chunkOf(delta)), last('tool_calls')])
    const calls = responseIn(events).output as Fields[]
    expect(calls.map(({ name, arguments: given }) => [name, given]).slice(0, 2)).toEqual(
      deltas.length === 1
        ? [['f', '']]
        : [
            ['f', '1'],
            ['g', '2'],
          ],
    )
    for (const { call_id } of calls) expect(call_id).toMatch(/./)
  })

  it('include call arguments that arrive before the name', () => {
    const nameless = { tool_calls: [{ index: 0, id: 'a', function: { arguments: '{"a"' } }] }
    const named = { tool_calls: [{ index: 0, function: { name: 'f', arguments: ':1}' } }] }
    const output = responseIn(
      eventsOf([chunkOf(nameless), chunkOf(named), last('tool_calls')]),
    ).output
    expect(output).toMatchObject([{ call_id: 'a', name: 'f', arguments: '{"a":1}' }])
    const never = responseIn(eventsOf([chunkOf(nameless), last('tool_calls')])).output
    expect(never).toMatchObject([{ call_id: 'a', name: '', arguments: '{"a"' }])
  })

  it('include refusals, sources and probabilities', () => {
    const logprob = { token: 'Hi', logprob: -1, top_logprobs: [] }
    const url_citation = { start_index: 0, end_index: 2, url: 'https://x', title: 'X' }
    const events = eventsOf([
      chunkOf({ content: 'Hi' }, { logprobs: { content: [logprob] } }),
      chunkOf({ annotations: [{ type: 'url_citation', url_citation }, { type: 'other' }] }),
      chunkOf({ refusal: 'I can' }),
      chunkOf({ refusal: 'not.' }),
      last('stop'),
    ])
    expect(namesOf(events)).toContain('output_text.annotation.added')
    expect(responseIn(events).output).toMatchObject([
      {
        content: [
          {
            text: 'Hi',
            logprobs: [logprob],
            annotations: [{ type: 'url_citation', ...url_citation }],
          },
          { type: 'refusal', refusal: 'I cannot.' },
        ],
      },
    ])
  })

  it.each([
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ])('end incomplete after %s', (finish, reason) => {
    const events = eventsOf([chunkOf({ content: 'Hi' }), last(finish)])
    expect(events.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: {
        status: 'incomplete',
        incomplete_details: { reason },
        output: [{ status: 'incomplete' }],
        usage: null,
      },
    })
  })

  it('end with a flat error and a failed response that holds the output so far', () => {
    const translation = new Translation({ input: 'Hi' })
    const first = translation.chunk(chunkOf({ content: 'Hi' }))
    const [error, failed] = translation.failed({
      code: 'stream',
      message: 'It broke.',
      param: null,
    })
    expect(error).toEqual({
      type: 'error',
      sequence_number: first.length,
      code: 'stream',
      message: 'It broke.',
      param: null,
    })
    expect(failed).toMatchObject({
      type: 'response.failed',
      sequence_number: first.length + 1,
      response: {
        status: 'failed',
        error: { code: 'server_error', message: 'It broke.' },
        output: [{ content: [{ text: 'Hi' }] }],
      },
    })
  })

  it.each([
    ['an empty list of choices', [{ ...chunkOf({}), choices: [] }]],
    ['no choices', [{ id: 'x' }]],
    ['another choice', [{ ...chunkOf({}), choices: [{ index: 1, delta: { content: 'No' } }] }]],
    ['what is no chunk', [null, 3, 'text']],
  ])('ignore %s', (_, chunks) => {
    expect(responseIn(eventsOf(chunks)).output).toEqual([])
  })

  it('are consistent however the answer is split, and add up to the whole answer', () => {
    const delta = fc.oneof(
      fc.string().map((content) => ({ content })),
      fc.string().map((reasoning) => ({ reasoning })),
      fc.string().map((refusal) => ({ refusal })),
      fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.string()).map(([id, args]) => ({
        tool_calls: [{ id, index: id.charCodeAt(0) - 97, function: { name: id, arguments: args } }],
      })),
    )
    const finish = fc.constantFrom('stop', 'length', 'tool_calls', 'content_filter')
    fc.assert(
      fc.property(fc.array(delta), finish, (deltas, reason) => {
        const events = eventsOf([...deltas.map((one) => chunkOf(one)), last(reason)])
        expect(events.map(({ sequence_number }) => sequence_number)).toEqual(
          events.map((_, i) => i),
        )
        const { output } = responseIn(events)
        expect(contents(assembled(events))).toEqual(contents(output))
        // Each item begins once, at its place, and ends once, as the response has it.
        const of = (type: string) => events.filter((event) => event.type === type)
        const added = of('response.output_item.added')
        expect(added.map(({ output_index }) => output_index)).toEqual(added.map((_, i) => i))
        const done = of('response.output_item.done')
        expect(new Set(done.map(({ output_index }) => output_index)).size).toBe(added.length)
        for (const { output_index, item } of done)
          expect((output as unknown[])[output_index as number]).toEqual(item)
        const ids = new Set((output as Fields[]).map(({ id }) => id))
        for (const { item_id } of events)
          if (item_id !== undefined) expect(ids.has(item_id)).toBe(true)
      }),
    )
  })

  it('add up to the same answer as JSON', () => {
    const message = {
      role: 'assistant',
      reasoning_content: 'Hm',
      content: 'Good day',
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } },
        { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
      ],
    }
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    const completion = {
      ...chunkOf({}),
      choices: [{ index: 0, message, finish_reason: 'tool_calls' }],
      usage,
    }
    const whole = Translation.whole({ input: 'Hi' }, completion)
    const { tool_calls, ...said } = message
    const streamed = responseIn(
      eventsOf([
        chunkOf(said),
        chunkOf({ tool_calls: tool_calls.map((call, index) => ({ ...call, index })) }),
        last('tool_calls'),
        { ...chunkOf({}), choices: [], usage },
      ]),
    )
    const withoutIds = (response: Fields) =>
      JSON.parse(JSON.stringify(response).replace(/(resp|msg|rs|fc)_[0-9a-f]{32}/g, '$1'))
    expect(withoutIds(streamed)).toEqual(withoutIds(whole))
  })
})
