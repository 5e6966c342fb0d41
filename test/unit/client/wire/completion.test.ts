import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  commits,
  eventKind,
  finishReasonOf,
  isCompletion,
  textOf,
  usageOf,
} from '../../../../src/client/wire/completion.js'
import { fromChunks } from '../../../../src/client/wire/completion-from-chunks.js'
import { toChunks } from '../../../../src/client/wire/completion-to-chunks.js'
import { chunk } from '../../../support/wire.js'

describe('commits', () => {
  it.each([
    [{ role: 'assistant' }, null, false],
    [{ role: 'assistant', content: '' }, null, false],
    [{ role: 'assistant', content: '', refusal: null, extra: { id: '', at: 0 } }, null, false],
    [{ content: null, tool_calls: [] }, null, false],
    [{}, null, false],
    [{ content: 'a' }, null, true],
    [{ reasoning_content: 'a' }, null, true],
    [{ refusal: 'no' }, null, true],
    [{ audio: { id: 'a' } }, null, true],
    [{ tool_calls: [{ index: 0 }] }, null, true],
    [{ reasoning: 'a' }, null, true],
    [{ reasoning_details: [{ type: 'reasoning.text' }] }, null, true],
    [{ thinking: { text: 'a' } }, null, true],
    [{ images: [{ type: 'image_url' }] }, null, true],
    [{ function_call: { name: 'f' } }, null, true],
    [{ content: [{ type: 'text', text: 'a' }] }, null, true],
    [{ of_tomorrow: 1 }, null, true],
    [{}, '', false],
    [{}, 'stop', true],
  ])('of %j with the finish reason %j is %s', (delta, finish, expected) => {
    expect(commits(chunk(delta, finish))).toBe(expected)
  })

  it('is true for events that are not chat, and when any choice has content', () => {
    expect(commits({ progress: 5 })).toBe(true)
    expect(commits('x')).toBe(true)
    expect(commits({ choices: [] })).toBe(false)
    expect(commits({ type: 'ping' })).toBe(false)
    expect(commits({ choices: [{ delta: {} }, { delta: { content: 'a' } }] })).toBe(true)
  })
})

describe('the first choice of a chunk', () => {
  const second = { index: 1, delta: { content: 'b' }, finish_reason: 'length' }
  const first = { index: 0, delta: { content: 'a' }, finish_reason: 'stop' }
  it('is found by its index wherever it stands, or else by its position', () => {
    for (const choices of [[first, second], [second, first], [{ ...first, index: undefined }]]) {
      expect(textOf({ choices })).toBe('a')
      expect(finishReasonOf({ choices })).toBe('stop')
    }
    expect(textOf({ choices: [second] })).toBe('')
    expect(finishReasonOf({ choices: [second] })).toBeUndefined()
  })

  it('has its text in parts as well', () => {
    const content = [{ type: 'text', text: 'a' }, { type: 'thinking' }, { type: 'text', text: 'b' }]
    expect(textOf(chunk({ content }))).toBe('ab')
  })
})

describe('eventKind', () => {
  it.each([
    [{ choices: [] }, 'chunk'],
    [{ choices: [{ delta: {} }] }, 'chunk'],
    [{ choices: null, usage: { total_tokens: 5 } }, 'without choices'],
    [{ usage: { total_tokens: 5 } }, 'without choices'],
    [{ id: 'x', object: 'chat.completion.chunk' }, 'without choices'],
    [{ id: 'x', citations: ['a'] }, 'without choices'],
    [{ type: 'ping' }, 'aside'],
    [{ usage: null }, 'aside'],
    [{ progress: 5 }, 'aside'],
    [{}, 'aside'],
    [{ choices: 'x' }, 'invalid'],
    [{ choices: [null] }, 'invalid'],
    [[], 'invalid'],
    ['x', 'invalid'],
    [null, 'invalid'],
  ])('of %j is %s', (data, kind) => {
    expect(eventKind(data)).toBe(kind)
  })
})

describe('untrusted input', () => {
  it('makes no reader throw and pollutes no prototype', () => {
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
          eventKind(one)
          if (isCompletion(one)) toChunks(one, true)
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
