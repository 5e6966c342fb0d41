import { describe, expect, it } from 'vitest'
import { Json } from '../../../../src/core/index.js'
import {
  charactersInAnswer,
  charactersInChunk,
} from '../../../../src/layers/rate-limit/characters.js'

describe('charactersInChunk', () => {
  it.each([
    ['a string', 'twelve chars', 12],
    ['a piece', { text: 'hello' }, 5],
    ['a chat chunk', { id: 'x', choices: [{ index: 0, delta: { content: 'hello' } }] }, 5],
    [
      'a chat chunk with a role and reasoning',
      { choices: [{ delta: { role: 'assistant', reasoning_content: 'hm', content: 'a' } }] },
      3,
    ],
    [
      'a call of a tool',
      { choices: [{ delta: { tool_calls: [{ function: { name: 'f', arguments: '{"a":1}' } }] } }] },
      7,
    ],
    ['an event of responses', { type: 'response.output_text.delta', delta: 'hello' }, 5],
    ['an event of messages', { type: 'content_block_delta', delta: { text: 'hello' } }, 5],
    ['an answer', { choices: [{ message: { content: 'hello' }, finish_reason: 'stop' }] }, 5],
    ['JSON that is still text', { data: Json.of({ choices: [{ text: 'hello' }] }) }, 5],
    ['parts of a content', { content: [{ type: 'text', text: 'ab' }, { text: 'c' }] }, 3],
    ['embeddings', { data: [{ embedding: [0.1, 0.2, 0.3] }] }, 0],
    ['bytes', { bytes: new Uint8Array(1_000), contentType: 'image/png' }, 0],
    ['a number', 5, 0],
    ['nothing', undefined, 0],
    ['null', null, 0],
  ])('counts the text of %s', (_, value, characters) => {
    expect(charactersInChunk(value)).toBe(characters)
  })

  it('terminates on a circular value', () => {
    const value: Record<string, unknown> = { text: 'ab' }
    value.self = value
    expect(charactersInChunk(value)).toBeGreaterThan(0)
  })
})

describe('charactersInAnswer', () => {
  it.each([
    ['the text alone, where it is known', { id: 'abc', choices: [{ text: 'hello' }] }, 5],
    ['all texts, where none is known', { answer: 'hello', parts: ['a', 'bc'], n: 5 }, 8],
    ['no embeddings', [{ embedding: [0.1, 0.2] }], 0],
    ['no bytes', { bytes: new Uint8Array(1_000) }, 0],
    ['nothing of nothing', undefined, 0],
  ])('counts %s', (_, value, characters) => {
    expect(charactersInAnswer(value)).toBe(characters)
  })
})
