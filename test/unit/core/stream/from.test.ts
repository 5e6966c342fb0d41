import { Readable } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, collect, replay, streamFrom, streamOver } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { endsOf, numbers } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Stream', () => {
  describe('from()', () => {
    it('delivers what any async iterable sends, and stops it when the reader leaves early', async () => {
      const finished = vi.fn()
      async function* source() {
        try {
          yield* numbers(10)
        } finally {
          finished()
        }
      }
      const stream = streamFrom(source())
      for await (const n of stream) if (n === 3) break
      await tick()
      expect(finished).toHaveBeenCalledTimes(1)
    })

    it('requests only one chunk ahead of the reader', async () => {
      const next = vi.fn(async () => ({ done: false as const, value: 'x' }))
      const stream = streamFrom({ [Symbol.asyncIterator]: () => ({ next }) })
      await tick()
      expect(next).toHaveBeenCalledTimes(1)
      await stream.next()
      await tick()
      expect(next).toHaveBeenCalledTimes(1)
      await stream.next()
      expect(next).toHaveBeenCalledTimes(2)
      await stream.return()
    })

    it('accepts hand-made iterators without promises and without return()', async () => {
      let i = 0
      const next = () => (i < 3 ? { done: false, value: i++ } : { done: true, value: undefined })
      const iterable = {
        [Symbol.asyncIterator]: () => ({ next }),
      } as unknown as AsyncIterable<number>
      expect(await collect(streamFrom(iterable))).toEqual([0, 1, 2])
      i = 0
      for await (const _ of streamFrom(iterable)) break
    })

    it.each([
      [
        'throws',
        () => {
          throw new Error('broken')
        },
        /broken/,
      ],
      ['rejects', () => Promise.reject(new Error('broken')), /broken/],
      ['gives no result', () => Promise.resolve(null), /did not return an object/],
      ['gives nothing', () => undefined, /did not return an object/],
    ])('fails when the iterator %s', async (_, next, message) => {
      const stream = streamFrom({
        [Symbol.asyncIterator]: () => ({ next }),
      } as unknown as AsyncIterable<number>)
      const ends = endsOf(stream)
      await expect(stream.log.ready).rejects.toThrow(message)
      expect(ends).toHaveLength(1)
    })

    it.each([
      [
        'throws',
        () => {
          throw named('ReturnFailure')
        },
      ],
      ['rejects', () => Promise.reject(named('LateReturnFailure'))],
    ])('ends even when the return() of its iterator %s, and warns', async (_, giveBack) => {
      const warnings = catchWarnings()
      const iterator = { next: async () => ({ done: false, value: 1 }), return: giveBack }
      const stream = streamFrom({
        [Symbol.asyncIterator]: () => iterator,
      } as AsyncIterable<number>)
      await stream.return()
      await tick()
      expect(warnings).toHaveLength(1)
    })

    it('reads a Node stream and destroys it when the reader leaves early', async () => {
      const whole = Readable.from(['a', 'b', 'c'])
      expect(await collect(streamFrom(whole))).toEqual(['a', 'b', 'c'])
      const left = Readable.from(['a', 'b', 'c'])
      for await (const _ of streamFrom(left)) break
      await tick()
      expect(left.destroyed).toBe(true)
    })

    it('destroys a Node stream that has stalled', async () => {
      const cancel = new Cancel()
      const readable = new Readable({ read() {} })
      const stream = streamFrom(readable, { cancel })
      cancel.abort('gone')
      await tick()
      expect(readable.destroyed).toBe(true)
      expect(await failure(stream.log.ready)).toBe('gone')
    })

    it('fails with the error of a Node stream', async () => {
      const readable = new Readable({ read() {} })
      const stream = streamFrom(readable)
      readable.push('a')
      expect(String((await stream.next()).value)).toBe('a')
      const broken = new Error('socket')
      readable.destroy(broken)
      expect(await failure(stream.next())).toBe(broken)
    })

    it('reads a web stream and cancels it when the reader leaves early', async () => {
      const cancelled = vi.fn()
      const web = () =>
        new ReadableStream<string>({
          start(controller) {
            for (const chunk of ['a', 'b']) controller.enqueue(chunk)
          },
          pull: (controller) => controller.close(),
          cancel: cancelled,
        })
      expect(await collect(streamFrom(web() as AsyncIterable<string>))).toEqual(['a', 'b'])
      expect(cancelled).not.toHaveBeenCalled()
      for await (const _ of streamFrom(web() as AsyncIterable<string>)) break
      await tick()
      expect(cancelled).toHaveBeenCalledTimes(1)
    })

    it('cancels a web stream that has stalled', async () => {
      const cancel = new Cancel()
      const cancelled = vi.fn()
      const stream = streamFrom(
        new ReadableStream<string>({ cancel: cancelled }) as AsyncIterable<string>,
        { cancel },
      )
      await tick()
      cancel.abort('gone')
      await tick()
      expect(cancelled).toHaveBeenCalledTimes(1)
      expect(await failure(stream.log.ready)).toBe('gone')
    })
  })

  describe('of()', () => {
    it('delivers existing chunks, with the end it is given', async () => {
      const stream = streamOver([1, 2], { outcome: 'complete', cacheable: false })
      const ends = endsOf(stream)
      await stream.log.ready
      expect(stream.buffered).toBe(2)
      expect(await collect(stream)).toEqual([1, 2])
      expect(ends).toEqual([{ outcome: 'complete', cacheable: false }])
    })

    it('is over at once when there are no chunks', () => {
      expect(streamOver([]).ended).toEqual({ outcome: 'complete' })
    })

    it('ignores later changes of the array, and does not change it', async () => {
      const chunks = [1, 2]
      const stream = replay(chunks)
      chunks.push(3)
      expect(await collect(stream)).toEqual([1, 2])
      expect(chunks).toEqual([1, 2, 3])
    })
  })
})
