import { once } from 'node:events'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { streamFrom } from '../../../src/core/index.js'
import { smooth, toNodeReadable, toServerSentEvents } from '../../../src/streams/index.js'
import { turn } from '../../support/watch.js'
import { all, broken, Source, whole } from './sources.js'

const bytes = async (source: AsyncIterable<unknown>) =>
  Buffer.concat(await all(toNodeReadable(source))).toString()

describe('toNodeReadable', () => {
  test('sends the text of pieces, as the client streams them', async () => {
    const pieces = [{ text: 'hé' }, { text: '' }, { text: 'llo \ud83c' }, { text: '\udf38' }]
    expect(await bytes(whole(pieces))).toBe('héllo 🌸')
    const last = { text: 'a', usage: undefined, finishReason: 'stop' }
    expect(await bytes(whole([last, 'b', new TextEncoder().encode('c')]))).toBe('abc')
  })

  test('writes strings as UTF-8 and bytes as they are', async () => {
    expect(
      await bytes(whole(['hé', new TextEncoder().encode('llo'), '', new Uint8Array(), ' 🌸'])),
    ).toBe('héllo 🌸')
    expect(await bytes(whole([]))).toBe('')
  })

  test('a character split across two chunks stays whole', async () => {
    expect(await bytes(whole(['a\ud83c', '', '\udf38b']))).toBe('a🌸b')
    expect(await bytes(whole(['a\ud83c']))).toBe('a\ufffd')
  })

  test('reads one chunk ahead at most', async () => {
    for (const objectMode of [false, true]) {
      const source = new Source(['aaaa', 'bbbb', 'cccc', 'dddd', 'eeee'])
      const readable = toNodeReadable(source, { objectMode })
      await turn()
      expect(source.asked).toBe(0)
      readable.read(0)
      await turn()
      expect(source.asked).toBe(1)
      const taken = once(readable, 'readable')
      await taken
      readable.read()
      await turn()
      expect(source.asked).toBe(2)
      readable.destroy()
    }
  })

  test('a slow writer slows the source', async () => {
    const source = new Source(Array.from({ length: 1000 }, () => 'x'.repeat(1000)))
    let release = () => {}
    const writer = new Writable({
      highWaterMark: 1,
      write: (_chunk, _encoding, callback) => {
        release = callback
      },
    })
    const done = pipeline(toNodeReadable(source), writer)
    for (let i = 1; i <= 5; i++) {
      await turn()
      await turn()
      expect(source.asked).toBeLessThanOrEqual(i + 2)
      release()
    }
    writer.destroy()
    await expect(done).rejects.toThrow()
    expect(source.returned).toBe(1)
  })

  test('passes anything in object mode', async () => {
    const chunks = [{ text: 'a' }, 1, '', new Uint8Array(2)]
    expect(await all(toNodeReadable(whole<unknown>(chunks), { objectMode: true }))).toEqual(chunks)
  })

  test('destroying it returns the source once, even while a chunk is awaited', async () => {
    const source = new Source<string>()
    const readable = toNodeReadable(source)
    readable.resume()
    await turn()
    expect(source.asked).toBe(1)
    readable.destroy()
    expect(source.returned).toBe(1)
    await once(readable, 'close')
    source.give('late')
    readable.destroy()
    await turn()
    expect(source.returned).toBe(1)
  })

  test('destroying it unread returns the source', () => {
    const source = new Source<string>()
    toNodeReadable(source).destroy()
    expect(source.returned).toBe(1)
  })

  test('leaving passes through a chain of adapters to a Stream', async () => {
    const stream = streamFrom(new Source(['a']))
    const readable = toNodeReadable(toServerSentEvents(smooth(stream)))
    for await (const chunk of readable) {
      expect(String(chunk)).toBe('data: a\n\n')
      break
    }
    expect(stream.ended).toEqual({ outcome: 'left' })
  })

  test("the source's failure is the stream's error, after the earlier chunks", async () => {
    const error = new Error('upstream')
    const source = broken(['a'], error)
    const readable = toNodeReadable(source)
    const read: string[] = []
    readable.on('data', (chunk) => read.push(String(chunk)))
    expect(await once(readable, 'error').catch((thrown) => thrown)).toEqual([error])
    expect(read).toEqual(['a'])
    expect(source.returned).toBe(0)
  })

  test.each(['gone', undefined, null])(
    'a failure that is not an Error (%s) is still an error',
    async (reason) => {
      const failed = await all(toNodeReadable(broken([], reason))).catch(
        (thrown: unknown) => thrown,
      )
      expect(failed).toBeInstanceOf(Error)
      expect((failed as Error).cause).toBe(reason)
    },
  )

  test.each([
    [{ text: 5 }, false],
    [null, false],
    [5, false],
    [null, true],
    [undefined, true],
  ])('a chunk %j with objectMode %s is an error', async (chunk, objectMode) => {
    const source = new Source<unknown>([chunk])
    await expect(all(toNodeReadable(source, { objectMode }))).rejects.toMatchObject({
      code: 'CONFIG',
    })
    expect(source.returned).toBe(1)
  })

  test('refuses wrong options and sources', () => {
    expect(() => toNodeReadable(whole([]), { highWaterMark: 5 } as never)).toThrow(
      /^toNodeReadable: option "highWaterMark" is unknown/,
    )
    expect(() => toNodeReadable(undefined as never)).toThrow(/^toNodeReadable: source must be/)
  })
})
