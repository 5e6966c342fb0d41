import { describe, expect, it } from 'vitest'
import { toChatBody } from '../../../../src/gateway/responses/request/index.js'
import { failure } from '../../../support/watch.js'

const chat = (body: Record<string, unknown>) => toChatBody(body, 'max_completion_tokens')
const asked = async (body: Record<string, unknown>) => chat(body)
const messages = (input: unknown, more: object = {}) => chat({ input, ...more }).messages
const user = (content: unknown) => ({ role: 'user', content })
const call = (call_id: string, name = 'weather') => ({
  type: 'function_call',
  id: `fc_${call_id}`,
  call_id,
  name,
  arguments: '{}',
  status: 'completed',
})
const gave = (call_id: string, output: unknown = 'Rain') => ({
  type: 'function_call_output',
  call_id,
  output,
})
const called = (id: string, name = 'weather') => ({
  id,
  type: 'function',
  function: { name, arguments: '{}' },
})

describe('a Responses request as a chat', () => {
  it('turns a text into a user message after the instructions', () => {
    expect(messages('Hello')).toEqual([user('Hello')])
    expect(messages('Hello', { instructions: 'Be brief.' })).toEqual([
      { role: 'system', content: 'Be brief.' },
      user('Hello'),
    ])
  })

  it('keeps the messages of a conversation, with and without a type', () => {
    const input = [
      { role: 'developer', content: 'Be brief.' },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] },
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        status: 'completed',
        content: [
          { type: 'output_text', text: 'Good ', annotations: [] },
          { type: 'output_text', text: 'morning' },
        ],
      },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
      { role: 'user', content: 'And then?' },
    ]
    expect(messages(input)).toEqual([
      { role: 'system', content: 'Be brief.' },
      user('Hello'),
      { role: 'assistant', content: 'Good morning' },
      { role: 'assistant', content: null, refusal: 'No.' },
      user('And then?'),
    ])
  })

  it('keeps pictures, files and sounds that are sent inline', () => {
    const content = [
      { type: 'input_text', text: 'What is this?' },
      { type: 'input_image', image_url: 'data:image/png;base64,AA', detail: 'low' },
      { type: 'input_image', image_url: 'https://example.com/a.png', detail: 'original' },
      { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA' },
      { type: 'input_audio', input_audio: { data: 'AA', format: 'wav' } },
    ]
    expect(messages([user(content)])).toEqual([
      user([
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA', detail: 'low' } },
        { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
        { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA' } },
        { type: 'input_audio', input_audio: { data: 'AA', format: 'wav' } },
      ]),
    ])
  })

  it('puts the calls of one turn into one message, followed by their results', () => {
    const said = { role: 'assistant', content: [{ type: 'output_text', text: 'Let me see.' }] }
    const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' }
    const output = [
      { type: 'input_text', text: 'Ra' },
      { type: 'input_text', text: 'in' },
    ]
    const input = [user('Hi'), reasoning, said, call('a'), call('b'), gave('a'), gave('b', output)]
    expect(messages(input)).toEqual([
      user('Hi'),
      { role: 'assistant', content: 'Let me see.', tool_calls: [called('a'), called('b')] },
      { role: 'tool', tool_call_id: 'a', content: 'Rain' },
      { role: 'tool', tool_call_id: 'b', content: 'Rain' },
    ])
    expect(messages([user('Hi'), call('a'), gave('a'), call('b'), gave('b')])).toEqual([
      user('Hi'),
      { role: 'assistant', content: null, tool_calls: [called('a')] },
      { role: 'tool', tool_call_id: 'a', content: 'Rain' },
      { role: 'assistant', content: null, tool_calls: [called('b')] },
      { role: 'tool', tool_call_id: 'b', content: 'Rain' },
    ])
    // What is said between a call and what it gave goes before it.
    expect(messages([user('Hi'), call('a'), said, gave('a')])).toEqual([
      user('Hi'),
      { role: 'assistant', content: 'Let me see.', tool_calls: [called('a')] },
      { role: 'tool', tool_call_id: 'a', content: 'Rain' },
    ])
  })

  it('drops reasoning, and references to it', () => {
    const reasoning = { type: 'reasoning', id: 'rs_1', summary: [] }
    expect(messages([reasoning, { type: 'item_reference', id: 'rs_2' }, user('Hi')])).toEqual([
      user('Hi'),
    ])
  })

  it('renames fields that a chat names differently, and keeps the rest', () => {
    expect(
      chat({
        model: 'openai',
        input: 'Hi',
        max_output_tokens: 9,
        reasoning: { effort: 'low', summary: 'auto' },
        text: { format: { type: 'json_object' }, verbosity: 'low' },
        top_logprobs: 2,
        temperature: 0,
        top_p: null,
        user: 'me',
        safety_identifier: 'x',
        seed: 5,
        future_field: [1],
        metadata: { a: 'b' },
        include: ['reasoning.encrypted_content'],
        stream_options: { include_obfuscation: false },
        max_tool_calls: 3,
      }),
    ).toEqual({
      model: 'openai',
      messages: [user('Hi')],
      max_completion_tokens: 9,
      reasoning_effort: 'low',
      response_format: { type: 'json_object' },
      verbosity: 'low',
      logprobs: true,
      top_logprobs: 2,
      temperature: 0,
      user: 'me',
      safety_identifier: 'x',
      seed: 5,
      future_field: [1],
    })
    const older = toChatBody({ input: 'Hi', max_output_tokens: 9 }, 'max_tokens')
    expect(older).toEqual({ messages: [user('Hi')], max_tokens: 9 })
  })

  it('asks for the usage of a stream', () => {
    expect(chat({ input: 'Hi', stream: true })).toEqual({
      messages: [user('Hi')],
      stream: true,
      stream_options: { include_usage: true },
    })
  })

  it('nests tools and the schema of the answer', () => {
    const schema = { type: 'object', properties: {} }
    const tool = { type: 'function', name: 'weather', parameters: schema, strict: true }
    const { type: _, ...nested } = tool
    const format = { type: 'json_schema', name: 'answer', schema, strict: true, description: null }
    expect(
      chat({
        input: 'Hi',
        text: { format },
        tools: [{ ...tool, description: null }],
        tool_choice: { type: 'function', name: 'weather' },
        parallel_tool_calls: false,
      }),
    ).toEqual({
      messages: [user('Hi')],
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'answer', schema, strict: true },
      },
      tools: [{ type: 'function', function: nested }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      parallel_tool_calls: false,
    })
  })

  it('offers only the allowed tools, and no tool choice when there are none', () => {
    const tool = (name: string) => ({ type: 'function', name })
    const offered = (tool_choice: unknown, tools: unknown = [tool('a'), tool('b')]) => {
      const { messages: _, ...rest } = chat({ input: 'Hi', tools, tool_choice })
      return rest
    }
    const nested = (name: string) => ({ type: 'function', function: { name } })
    const allowed = { type: 'allowed_tools', mode: 'required', tools: [tool('b')] }
    expect(offered(allowed)).toEqual({ tools: [nested('b')], tool_choice: 'required' })
    expect(offered('none')).toEqual({ tools: [nested('a'), nested('b')], tool_choice: 'none' })
    expect(offered('auto', [])).toEqual({})
  })

  it.each([
    [{ store: false, previous_response_id: null, conversation: null, prompt: null }],
    [{ background: false, truncation: 'disabled', store: null, truncation_: undefined }],
    [{ tools: null, tool_choice: null, text: null, reasoning: null, instructions: null }],
    [{ max_output_tokens: null, parallel_tool_calls: null, metadata: null, include: null }],
  ])('ignores %j', (more) => {
    expect(chat({ input: 'Hi', ...more })).toEqual({
      messages: [user('Hi')],
      ...('truncation_' in more && { truncation_: undefined }),
    })
  })

  it.each([
    [{ store: true }, 'store'],
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ conversation: { id: 'conv_1' } }, 'conversation'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ background: true }, 'background'],
    [{ truncation: 'auto' }, 'truncation'],
    [{ tools: [{ type: 'function', name: 'a' }, { type: 'web_search' }] }, 'tools[1].type'],
    [{ tools: [{ type: 'custom', name: 'a' }] }, 'tools[0].type'],
    [{ tool_choice: { type: 'file_search' } }, 'tool_choice'],
    [{ text: { format: { type: 'grammar' } } }, 'text.format.type'],
    [{ instructions: [] }, 'instructions'],
    [{ input: [] }, 'input'],
    [{ input: ['Hi'] }, 'input[0]'],
    [{ input: [{ role: 'critic', content: 'Hi' }] }, 'input[0].role'],
    [{ input: [user('Hi'), { type: 'computer_call' }] }, 'input[1].type'],
    [{ input: [{ type: 'custom_tool_call' }] }, 'input[0].type'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
    [{ input: [{ type: 'function_call', name: 'a', arguments: '' }] }, 'input[0].call_id'],
    [
      { input: [user([{ type: 'input_image', file_id: 'file-1' }])] },
      'input[0].content[0].file_id',
    ],
    [
      { input: [user([{ type: 'input_file', file_url: 'https://x' }])] },
      'input[0].content[0].file_url',
    ],
    [{ input: [user([{ type: 'input_video' }])] }, 'input[0].content[0].type'],
    [
      { input: [gave('a', [{ type: 'input_image', image_url: 'data:,' }])] },
      'input[0].output[0].type',
    ],
  ])('refuses %j, and names the field', async (more, param) => {
    const error = await failure(asked({ input: 'Hi', ...more }))
    expect(error).toMatchObject({ status: 400, code: 'VALIDATION', refused: true, param })
  })

  it('explains what to do about item references', async () => {
    const input = [{ type: 'item_reference', id: 'msg_1' }]
    const error = await failure(asked({ input }))
    expect(String(error)).toContain('set `store: false`')
    expect(String(error)).toContain('providerOptions: { openai: { store: false } }')
  })
})
