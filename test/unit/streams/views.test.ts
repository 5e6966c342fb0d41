import { Readable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { Stream } from '../../../src/core/index.js'
import { smooth, toNdjson, toServerSentEvents } from '../../../src/streams/index.js'
import { turn } from '../../support/watch.js'
import { all, Source, whole } from './sources.js'

const adapters: [
  string,
  (source: AsyncIterable<unknown>) => AsyncGenerator<unknown, undefined, undefined>,
][] = [
  ['toServerSentEvents', (source) => toServerSentEvents(source, { heartbeatMs: false })],
  ['toNdjson', (source) => toNdjson(source)],
  ['smooth', (source) => smooth(source)],
]

describe.each(adapters)('%s as an async generator', (_name, adapt) => {
  test('pulls from the source only when asked', async () => {
    const source = new Source(['a', 'b', 'c'])
    const reader = adapt(source)
    await turn()
    expect(source.asked).toBe(0)
    await reader.next()
    await turn()
    expect(source.asked).toBe(1)
  })

  test('returns the source once when the reader breaks off', async () => {
    const source = new Source(['a', 'b', 'c'])
    const reader = adapt(source)
    for await (const _ of reader) break
    await reader.return(undefined)
    expect(source.returned).toBe(1)
    expect(await reader.next()).toEqual({ done: true, value: undefined })
    expect(source.asked).toBe(1)
  })

  test('returns a source that was never asked', async () => {
    const source = new Source(['a'])
    await adapt(source).return(undefined)
    expect(source.returned).toBe(1)
  })

  test('settles waiting calls when the reader leaves, and drops later chunks', async () => {
    const source = new Source<string>()
    const reader = adapt(source)
    const waiting = [reader.next(), reader.next()]
    await reader.return(undefined)
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
    expect(source.returned).toBe(1)
    source.give('late')
    await turn()
    expect(await reader.next()).toEqual({ done: true, value: undefined })
  })

  test('drops a late failure after the reader has left', async () => {
    const source = new Source<string>()
    const reader = adapt(source)
    const waiting = reader.next()
    await reader.return(undefined)
    source.fail(new Error('late'))
    await turn()
    expect(await waiting).toEqual({ done: true, value: undefined })
  })

  test('throw() returns the source and rejects with the same error', async () => {
    const source = new Source<string>()
    const reader = adapt(source)
    const waiting = reader.next()
    const error = new Error('reader')
    await expect(reader.throw(error)).rejects.toBe(error)
    expect(source.returned).toBe(1)
    expect((await waiting).done).toBe(true)
  })

  test('async disposal returns the source', async () => {
    const source = new Source<string>()
    {
      await using reader = adapt(source)
      void reader.next()
    }
    expect(source.returned).toBe(1)
  })

  test('does not return a source that has ended', async () => {
    const source = whole(['a'])
    const reader = adapt(source)
    await all(reader)
    await reader.return(undefined)
    expect(source.returned).toBe(0)
  })

  test('answers concurrent calls in order', async () => {
    const source = whole(['a', 'b', 'c'])
    const reader = adapt(source)
    const results = await Promise.all(Array.from({ length: 8 }, () => reader.next()))
    const given = results.filter((result) => !result.done).map((result) => result.value)
    expect(given).toEqual(await all(adapt(whole(['a', 'b', 'c']))))
    expect(results.at(-1)).toEqual({ done: true, value: undefined })
  })

  test('settles a waiting Stream at once', async () => {
    const stream = Stream.over<string>({ pull() {}, stop() {} })
    const reader = adapt(stream)
    const waiting = reader.next()
    await reader.return(undefined)
    expect((await waiting).done).toBe(true)
    expect(stream.ended).toEqual({ outcome: 'left' })
  })

  test('ends a web stream that stalls', async () => {
    const cancel = vi.fn()
    const reader = adapt(new ReadableStream({ cancel }))
    const waiting = reader.next()
    await reader.return(undefined)
    expect((await waiting).done).toBe(true)
    expect(cancel).toHaveBeenCalledOnce()
  })

  test('ends a Node stream that stalls', async () => {
    const readable = new Readable({ objectMode: true, read() {} })
    const reader = adapt(readable)
    const waiting = reader.next()
    await reader.return(undefined)
    expect((await waiting).done).toBe(true)
    expect(readable.destroyed).toBe(true)
    await turn()
  })

  test('reads web and Node streams to their end', async () => {
    const expected = await all(adapt(whole(['a', 'b'])))
    expect(await all(adapt(Readable.from(['a', 'b'])))).toEqual(expected)
    expect(
      await all(
        adapt(
          new Blob(['x']).stream().pipeThrough(
            new TransformStream({
              flush: (c) => c.enqueue('b'),
              transform: (_, c) => c.enqueue('a'),
            }),
          ),
        ),
      ),
    ).toEqual(expected)
  })

  test('refuses what is not a stream with a clear message', () => {
    expect(() => adapt(Promise.resolve(whole([])) as never)).toThrow(
      /source must be an AsyncIterable, got a promise; await it first/,
    )
    expect(() => adapt(null as never)).toThrow(/got null/)
    expect(() => adapt(['a'] as never)).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })

  test('a source whose next() throws fails without an uncaught exception', async () => {
    const bad = {
      [Symbol.asyncIterator]: () => ({
        next(): never {
          throw new Error('sync')
        },
      }),
    }
    const end = await all(adapt(bad)).catch((error: unknown) => error)
    expect(JSON.stringify(end)).not.toContain('sync')
  })
})
