import { describe, expect, test } from 'vitest'
import { isStackError } from '../../../src/core/index.js'
import { collectText } from '../../../src/streams/index.js'
import { broken, Source, whole } from './sources.js'

describe('collectText', () => {
  test('joins strings, {text} and chat chunks', async () => {
    const chunks = [
      'a',
      { text: 'b' },
      { choices: [{ index: 0, delta: { role: 'assistant' } }] },
      { choices: [{ index: 0, delta: { content: 'c' } }] },
      { choices: [{ index: 1, delta: { content: 'another choice' } }] },
      { choices: [{ delta: { content: 'd' } }] },
      { choices: [{ index: 0, delta: { content: null }, finish_reason: 'stop' }] },
      { choices: [], usage: {} },
      { choices: [null] },
      null,
      5,
    ]
    expect(await collectText(whole<unknown>(chunks))).toBe('abcd')
    expect(await collectText(whole([]))).toBe('')
  })

  test('a text beyond maxLength is TOO_LARGE and returns the source once, without waiting for it', async () => {
    const source = new Source(['abc', 'def', 'ghi'])
    const error = await collectText(source, { maxLength: 5 }).catch((thrown: unknown) => thrown)
    expect(isStackError(error, 'TOO_LARGE')).toBe(true)
    expect(String(error)).not.toContain('abc')
    expect(source).toMatchObject({ asked: 2, returned: 1 })
    expect(await collectText(whole(['abc', 'de']), { maxLength: 5 })).toBe('abcde')
  })

  test("rejects with the stream's failure", async () => {
    const error = new Error('upstream')
    await expect(collectText(broken(['a'], error))).rejects.toBe(error)
  })

  test('refuses wrong options and sources', async () => {
    await expect(collectText(whole([]), { maxLength: -1 })).rejects.toThrow(
      /^collectText: option "maxLength"/,
    )
    await expect(collectText(Promise.resolve() as never)).rejects.toThrow(/await it first/)
  })
})
