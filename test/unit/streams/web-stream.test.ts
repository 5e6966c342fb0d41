import { describe, expect, test } from 'vitest'
import { streamFrom } from '../../../src/core/index.js'
import { sseHeaders, toServerSentEvents, toWebStream } from '../../../src/streams/index.js'
import { turn } from '../../support/watch.js'
import { all, broken, Source, whole } from './sources.js'

const text = (source: AsyncIterable<string | Uint8Array | { text: string }>) =>
  new Response(toWebStream(source)).text()

describe('toWebStream', () => {
  test('sends the text of pieces, as the client streams them', async () => {
    const pieces = [{ text: 'hé' }, { text: '' }, { text: 'llo \ud83c' }, { text: '\udf38' }]
    expect(await text(whole(pieces))).toBe('héllo 🌸')
    const last = { text: 'a', usage: undefined, finishReason: 'stop' }
    expect(await text(whole([last, 'b', new TextEncoder().encode('c')]))).toBe('abc')
  })

  test('is the body of a Response', async () => {
    const response = new Response(toWebStream(toServerSentEvents(whole([{ text: 'a' }]))), {
      headers: sseHeaders,
    })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(await response.text()).toBe('data: {"text":"a"}\n\ndata: [DONE]\n\n')
  })

  test('writes strings as UTF-8 and bytes as they are', async () => {
    expect(
      await text(whole(['hé', new TextEncoder().encode('llo'), '', new Uint8Array(), ' 🌸'])),
    ).toBe('héllo 🌸')
    expect(await text(whole(['a\ud83c', '', '\udf38b']))).toBe('a🌸b')
    expect(await text(whole(['a\ud83c']))).toBe('a\ufffd')
    expect(await text(whole([]))).toBe('')
  })

  test('passes anything in object mode', async () => {
    const chunks = [{ text: 'a' }, 1, '', null, undefined]
    expect(await all(toWebStream(whole<unknown>(chunks), { objectMode: true }))).toEqual(chunks)
  })

  test('pulls from the source only when it is read', async () => {
    const source = new Source(['a', 'b', 'c'])
    const reader = toWebStream(source).getReader()
    await turn()
    expect(source.asked).toBe(0)
    await reader.read()
    await turn()
    expect(source.asked).toBe(1)
  })

  test('cancel() returns the source once, even while a chunk is awaited', async () => {
    const source = new Source<string>()
    const reader = toWebStream(source).getReader()
    const waiting = reader.read()
    await turn()
    expect(source.asked).toBe(1)
    await reader.cancel(new Error('gone'))
    expect(await waiting).toEqual({ done: true, value: undefined })
    await reader.cancel()
    source.give('late')
    await turn()
    expect(source.returned).toBe(1)
  })

  test('cancel() of an unread stream returns the source', async () => {
    const stream = streamFrom(new Source<string>())
    await toWebStream(stream).cancel()
    expect(stream.ended).toEqual({ outcome: 'left' })
  })

  test("the source's failure is the stream's error", async () => {
    const error = new Error('upstream')
    const source = broken(['a'], error)
    const reader = toWebStream(source).getReader()
    await reader.read()
    await expect(reader.read()).rejects.toBe(error)
    expect(source.returned).toBe(0)
  })

  test('a failure after cancel() is dropped', async () => {
    const source = new Source<string>()
    const reader = toWebStream(source).getReader()
    const waiting = reader.read()
    await turn()
    await reader.cancel()
    source.fail(new Error('late'))
    await turn()
    expect((await waiting).done).toBe(true)
  })

  test('a chunk that is not bytes is an error and returns the source', async () => {
    const source = new Source<unknown>([{ text: 5 }])
    await expect(all(toWebStream(source))).rejects.toMatchObject({ code: 'CONFIG' })
    expect(source.returned).toBe(1)
  })

  test('refuses wrong options and sources', () => {
    expect(() => toWebStream(whole(['a']), { objectMode: 1 } as never)).toThrow(
      /^toWebStream: option "objectMode"/,
    )
    expect(() => toWebStream({} as never)).toThrow(/^toWebStream: source must be/)
  })
})
