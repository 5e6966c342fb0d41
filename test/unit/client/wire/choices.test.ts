import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChoiceProgress, isEmpty, isWorthKeeping } from '../../../../src/client/wire/choices.js'

const progressOf = (chunks: readonly unknown[]) => {
  const progress = new ChoiceProgress()
  for (const chunk of chunks) progress.see(chunk)
  return progress
}

const part = (
  index: number | undefined,
  finish_reason: unknown,
  delta: object = { content: 'a' },
) => ({
  index,
  delta,
  finish_reason,
})

describe('ChoiceProgress', () => {
  it.each([
    ['no choice at all', [{ choices: [] }, {}], false],
    ['a reason of nothing', [{ choices: [part(0, '')] }], false],
    ['no reason', [{ choices: [part(0, null)] }, { choices: [part(0, undefined)] }], false],
    ['a reason', [{ choices: [part(0, '')] }, { choices: [part(0, 'stop', {})] }], true],
    [
      'one of two choices',
      [{ choices: [part(0, null)] }, { choices: [part(1, null)] }, { choices: [part(0, 'stop')] }],
      false,
    ],
    [
      'a choice that begins after another has ended',
      [{ choices: [part(0, 'stop')] }, { choices: [part(1, null)] }],
      false,
    ],
    [
      'both, in another order',
      [{ choices: [part(1, 'stop')] }, { choices: [part(0, 'length')] }],
      true,
    ],
    [
      'both, without indices',
      [
        { choices: [part(undefined, null), part(undefined, null)] },
        { choices: [part(undefined, 'stop'), part(undefined, 'stop')] },
      ],
      true,
    ],
    [
      'a choice that goes on after its end',
      [{ choices: [part(0, 'stop')] }, { choices: [part(0, null, {})] }],
      true,
    ],
  ])('%s: whole is %s', (_name, chunks, expected) => {
    expect(progressOf(chunks).isWhole).toBe(expected)
  })

  it('is whole exactly when every choice that began has ended, however the chunks are split', () => {
    const begun = fc.uniqueArray(
      fc.record({ index: fc.nat(5), pieces: fc.nat(4), ends: fc.boolean() }),
      {
        selector: ({ index }) => index,
        minLength: 1,
      },
    )
    const cuts = fc.infiniteStream(fc.nat(2))
    fc.assert(
      fc.property(begun, fc.infiniteStream(fc.nat()), cuts, (choices, order, sizes) => {
        // The pieces of each choice in their order, those of different choices in any, some together.
        const queues = choices.map(({ index, pieces, ends }) => [
          ...Array.from({ length: pieces + 1 }, () => part(index, '')),
          ...(ends ? [part(index, 'stop', {})] : []),
        ])
        const chunks: { choices: object[] }[] = [{ choices: [] }]
        while (queues.some(({ length }) => length > 0)) {
          const left = queues.filter(({ length }) => length > 0)
          const next = left[order.next().value % left.length]?.shift() as object
          if (sizes.next().value === 0) chunks.at(-1)?.choices.push(next)
          else chunks.push({ choices: [next] })
        }
        expect(progressOf(chunks).isWhole).toBe(choices.every(({ ends }) => ends))
      }),
    )
  })

  it.each([
    ['with text', [{ choices: [part(0, 'stop')] }], true],
    [
      'with nothing in it',
      [{ choices: [part(0, 'stop', { role: 'assistant', content: '' })] }],
      false,
    ],
    ['that was filtered', [{ choices: [part(0, 'content_filter')] }], false],
    ['with a tool call', [{ choices: [part(0, 'tool_calls', { tool_calls: [{}] })] }], true],
    ['not whole', [{ choices: [part(0, null)] }], false],
  ])('an answer %s: worth keeping is %s', (_name, chunks, expected) => {
    expect(progressOf(chunks).isWorthKeeping).toBe(expected)
  })
})

describe('isWorthKeeping', () => {
  const choice = (finish_reason: unknown, message: object) => ({ index: 0, message, finish_reason })
  it.each([
    [[choice('stop', { content: 'a' })], true],
    [[choice('stop', { content: null, tool_calls: [{}] })], true],
    [[choice('stop', { content: '', reasoning: 'a' })], true],
    [[choice('stop', { content: null, refusal: 'No.' })], true],
    [[choice('stop', { content: null, audio: { data: 'AA' } })], true],
    [[choice('stop', { role: 'assistant', content: '' })], false],
    [[choice('stop', { role: 'assistant', content: null, audio: null, tool_calls: [] })], false],
    [[choice('', { content: 'a' })], false],
    [[choice(null, { content: 'a' })], false],
    [[choice('content_filter', { content: 'a' })], false],
    [[choice('stop', { content: 'a' }), choice(null, { content: 'b' })], false],
    [[choice('stop', { content: '' }), choice('stop', { content: 'b' })], true],
  ])('of %j is %s', (choices, expected) => {
    expect(isWorthKeeping(choices)).toBe(expected)
  })
})

describe('isEmpty', () => {
  it('treats absent, null and empty alike, and survives any depth', () => {
    for (const value of [undefined, null, '', 0, false, [], {}, { a: null, b: { c: '' } }])
      expect(isEmpty(value)).toBe(true)
    for (const value of ['a', 1, true, [0], { a: { b: 1 } }]) expect(isEmpty(value)).toBe(false)
    let deep: object = {}
    for (let i = 0; i < 100_000; i++) deep = { deep }
    expect(isEmpty(deep)).toBe(false)
  })
})
