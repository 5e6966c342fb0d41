import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  Cancel,
  collect,
  Frame,
  isStream,
  onEnd,
  replay,
  Stream,
  type StreamEnd,
  streamFrom,
  streamOf,
  streamOver,
  tap,
} from '../../../../src/core/index.js'
import { breaking, driven, numbers, stalling } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, type Watched, watch } from '../../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const flush = () => vi.advanceTimersByTimeAsync(0)

/** The ends a stream tells. */
const endsOf = (stream: { onEnd(listener: (end: StreamEnd) => void): void }): StreamEnd[] => {
  const ends: StreamEnd[] = []
  stream.onEnd((end) => ends.push(end))
  return ends
}

const value = <T>(of: T) => ({ done: false, value: of })
const done = { done: true, value: undefined }

describe('Stream', () => {
  describe('before the commit', () => {
    it('is ready at the first chunk when nothing else is said', async () => {
      const { stream, log } = driven<string>()
      const ready = watch(stream.log.ready)
      await flush()
      expect(ready.state).toBe('pending')
      log.push('a')
      await flush()
      expect(ready.state).toBe('resolved')
    })

    it('holds chunks back until one commits, and delivers those first', async () => {
      const { stream, log } = driven<string>({ commits: (chunk) => chunk === 'text' })
      const ready = watch(stream.log.ready)
      log.push('role')
      log.push('heartbeat')
      await flush()
      expect(ready.state).toBe('pending')
      expect(stream.buffered).toBe(2)
      log.push('text')
      log.end()
      await flush()
      expect(ready.state).toBe('resolved')
      expect(await collect(stream)).toEqual(['role', 'heartbeat', 'text'])
    })

    it('asks the source for more after each chunk it holds', () => {
      const source = driven<string>({ commits: (chunk) => chunk === 'text' })
      source.log.push('role')
      expect(source.pulls).toBe(1)
      source.log.push('text')
      expect(source.pulls).toBe(1)
      source.stream.return()
    })

    it('commits at 64 chunks', async () => {
      const { stream, log } = driven<number>({ commits: () => false })
      const ready = watch(stream.log.ready)
      for (let i = 0; i < 63; i++) log.push(i)
      await flush()
      expect(ready.state).toBe('pending')
      log.push(63)
      await flush()
      expect(ready.state).toBe('resolved')
      log.end()
      expect(await collect(stream)).toHaveLength(64)
    })

    it('holds back any number of events beside the answer, up to 64 KiB', async () => {
      const { stream, log } = driven<unknown>({ commits: () => true, frames: true })
      const ready = watch(stream.log.ready)
      for (let i = 0; i < 200; i++) log.push(Frame.aside('still working', 'progress'))
      await flush()
      expect(ready.state).toBe('pending')
      log.push(Frame.read('{"text":"Hello"}'))
      await flush()
      expect(ready.state).toBe('resolved')
      log.end()
      expect(await collect(stream)).toEqual([{ text: 'Hello' }])
    })

    it.each([
      ['strings', 'x'.repeat(2048), undefined],
      ['bytes', new Uint8Array(2048), undefined],
      ['chunks whose size on the wire is told', { any: 'object' }, 2048],
    ])('commits at 64 KiB of %s', async (_, chunk, bytes) => {
      const { stream, log } = driven<unknown>({ commits: () => false })
      const ready = watch(stream.log.ready)
      for (let i = 0; i < 31; i++) log.push(chunk, bytes)
      await flush()
      expect(ready.state).toBe('pending')
      log.push(chunk, bytes)
      await flush()
      expect(ready.state).toBe('resolved')
      stream.return()
    })

    it('commits at its end, also when it is empty', async () => {
      const held = driven<string>({ commits: () => false }).stream
      held.log.push('role')
      held.log.end()
      await held.log.ready
      expect(await collect(held)).toEqual(['role'])
      const empty = driven<string>().stream
      empty.log.end()
      await empty.log.ready
      expect(await collect(empty)).toEqual([])
    })

    it('rejects with what happens and delivers nothing of what was held', async () => {
      const { stream, log } = driven<string>({ commits: () => false })
      const ends = endsOf(stream)
      const error = new Error('upstream')
      log.push('role')
      log.fail(error)
      expect(await failure(stream.log.ready)).toBe(error)
      expect(ends).toEqual([{ outcome: 'failed', error }])
      expect(await failure(stream.next())).toBe(error)
      expect(await stream.next()).toEqual(done)
    })

    it('rejects with the reason of an abort', async () => {
      const cancel = new Cancel()
      const source = driven<string>({ cancel })
      cancel.abort('gone')
      expect(await failure(source.stream.log.ready)).toBe('gone')
      expect(source.stops).toEqual(['gone'])
    })

    it('is over at once under a cancellation that was aborted before', async () => {
      const cancel = new Cancel()
      cancel.abort('early')
      const source = driven<string>({ cancel })
      expect(await failure(source.stream.log.ready)).toBe('early')
      expect(source.stops).toEqual(['early'])
      source.log.push('late')
    })

    it('takes a commits hook that throws for a commit and warns', async () => {
      const warnings = catchWarnings()
      const { stream, log } = driven<string>({
        commits: () => {
          throw named('CommitsFailure')
        },
      })
      log.push('a')
      await stream.log.ready
      expect(warnings).toEqual([expect.stringContaining('commits() threw CommitsFailure')])
      log.end()
      expect(await collect(stream)).toEqual(['a'])
    })

    it('lets a reader who asks early wait for the commit', async () => {
      const source = driven<string>({ commits: (chunk) => chunk === 'text', unreadMs: 50 })
      const { stream, log } = source
      const results = [stream.next(), stream.next(), stream.next(), stream.next()].map(watch)
      log.push('role')
      await flush()
      expect(results[0]?.state).toBe('pending')
      log.push('text')
      await flush()
      expect(results.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'pending',
        'pending',
      ])
      log.push('more')
      log.end()
      await flush()
      expect(results.map(({ value }) => value)).toEqual([
        value('role'),
        value('text'),
        value('more'),
        done,
      ])
    })

    it('gives a reader who asks early the failure', async () => {
      const { stream, log } = driven<string>({ commits: () => false })
      const first = watch(stream.next())
      const second = watch(stream.next())
      log.push('role')
      log.fail('broken')
      await flush()
      expect(first).toEqual({ state: 'rejected', error: 'broken' })
      expect(second).toEqual({ state: 'resolved', value: done })
    })

    it('gives a reader who asks early what was held at a clean end', async () => {
      const { stream, log } = driven<string>({ commits: () => false })
      const ends = endsOf(stream)
      const results = [stream.next(), stream.next()].map(watch)
      log.push('role')
      log.end()
      await flush()
      expect(results.map(({ value }) => value)).toEqual([value('role'), done])
      expect(ends).toEqual([{ outcome: 'complete' }])
    })
  })

  describe('as an async generator', () => {
    it('queues calls of next()', async () => {
      const { stream, log } = driven<string>()
      const results = [stream.next(), stream.next(), stream.next(), stream.next()].map(watch)
      for (const chunk of ['a', 'b', 'c']) log.push(chunk)
      log.end()
      await flush()
      expect(results.map(({ value }) => value)).toEqual([value('a'), value('b'), value('c'), done])
      expect(await stream.next()).toEqual(done)
    })

    it('settles a waiting next() at return()', async () => {
      const source = driven<string>()
      const waiting = [source.stream.next(), source.stream.next()].map(watch)
      expect(await source.stream.return()).toEqual(done)
      await flush()
      expect(waiting.map(({ value }) => value)).toEqual([done, done])
      expect(source.stops).toEqual([undefined])
      expect(await source.stream.next()).toEqual(done)
    })

    it('throws what throw() is given and is over', async () => {
      const source = driven<string>()
      source.log.push('a')
      expect(await failure(source.stream.throw('mine'))).toBe('mine')
      expect(source.stream.ended).toEqual({ outcome: 'left' })
      expect(source.stops).toHaveLength(1)
      expect(await source.stream.next()).toEqual(done)
    })

    it('is its own iterator and is left when it is disposed of', async () => {
      const { stream } = driven<string>()
      expect(stream[Symbol.asyncIterator]()).toBe(stream)
      await stream[Symbol.asyncDispose]()
      expect(stream.ended).toEqual({ outcome: 'left' })
    })

    it('gives the error after the chunks that had arrived, once', async () => {
      const { stream, log } = driven<string>()
      log.push('a')
      log.push('b')
      log.fail('broken')
      expect(await stream.next()).toEqual(value('a'))
      expect(await stream.next()).toEqual(value('b'))
      expect(await failure(stream.next())).toBe('broken')
      expect(await stream.next()).toEqual(done)
    })

    it('gives the error to the first of the waiting calls', async () => {
      const { stream, log } = driven<string>()
      log.push('a')
      await stream.next()
      const waiting = [stream.next(), stream.next()].map(watch)
      log.fail('broken')
      await flush()
      expect(waiting).toEqual([
        { state: 'rejected', error: 'broken' },
        { state: 'resolved', value: done },
      ])
    })

    it('drops an error that nobody fetched when the reader leaves', async () => {
      const { stream, log } = driven<string>()
      log.push('a')
      log.fail('broken')
      await stream.return()
      expect(await stream.next()).toEqual(done)
    })

    it('takes nothing more from the source after the end', async () => {
      const { stream, log } = driven<string>()
      const ends = endsOf(stream)
      log.push('a')
      log.end()
      log.push('ghost')
      log.fail('ghost')
      log.end()
      expect(await collect(stream)).toEqual(['a'])
      expect(ends).toEqual([{ outcome: 'complete' }])
    })
  })

  describe('pacing', () => {
    it('pulls only when the reader wants more than is there', async () => {
      const source = driven<string>()
      source.log.push('a')
      source.log.push('b')
      await source.stream.next()
      await source.stream.next()
      expect(source.pulls).toBe(0)
      const third = source.stream.next()
      expect(source.pulls).toBe(1)
      source.log.push('c')
      expect(await third).toEqual(value('c'))
      source.stream.return()
    })

    it('tells since when the reader has been waiting for the source', async () => {
      const { stream, log } = driven<string>()
      log.push('a')
      expect(stream.waitingSince).toBe(0)
      await stream.next()
      await vi.advanceTimersByTimeAsync(100)
      expect(stream.waitingSince).toBe(0)
      stream.next()
      const since = performance.now()
      await vi.advanceTimersByTimeAsync(100)
      expect(stream.waitingSince).toBe(since)
      log.push('b')
      expect(stream.waitingSince).toBe(0)
      stream.return()
    })

    it('does not wait for it any more when what was held serves an early reader', async () => {
      const { stream, log } = driven<string>({ commits: (chunk) => chunk === 'text' })
      await vi.advanceTimersByTimeAsync(10)
      stream.next()
      expect(stream.waitingSince).toBe(performance.now())
      log.push('role')
      expect(stream.waitingSince).not.toBe(0)
      log.push('text')
      expect(stream.waitingSince).toBe(0)
      stream.return()
    })
  })

  describe('at its end', () => {
    it('tells it at the delivery of the last chunk when the source has ended', async () => {
      const { stream, log } = driven<number>()
      const ends = endsOf(stream)
      log.push(1)
      log.push(2)
      log.end({ outcome: 'complete', cacheable: true })
      await stream.next()
      expect(ends).toEqual([])
      await stream.next()
      expect(ends).toEqual([{ outcome: 'complete', cacheable: true }])
      expect(await stream.next()).toEqual(done)
      expect(ends).toHaveLength(1)
    })

    it('tells it at once to who asks late', async () => {
      const { stream } = driven<number>()
      await stream.return()
      expect(endsOf(stream)).toEqual([{ outcome: 'left' }])
    })

    it('tells the listeners in the order in which they came, innermost layer first', () => {
      const { stream, log } = driven<number>()
      const told: string[] = []
      for (const layer of ['inner', 'middle', 'outer']) stream.onEnd(() => told.push(layer))
      log.end()
      expect(told).toEqual(['inner', 'middle', 'outer'])
    })

    it('goes on when a listener throws or rejects, and warns', async () => {
      const warnings = catchWarnings()
      const { stream, log } = driven<number>()
      const last = vi.fn()
      stream.onEnd(() => {
        throw named('EndFailure')
      })
      stream.onEnd(async () => {
        throw named('LateEndFailure')
      })
      stream.onEnd(last)
      log.end()
      stream.onEnd(() => {
        throw named('AfterEndFailure')
      })
      await flush()
      expect(last).toHaveBeenCalledTimes(1)
      expect(warnings.map((warning) => /threw (\w+)/.exec(warning)?.[1])).toEqual([
        'EndFailure',
        'AfterEndFailure',
        'LateEndFailure',
      ])
      expect(warnings.join()).not.toContain('on purpose')
    })

    it('ends also when its source throws at being stopped', async () => {
      const warnings = catchWarnings()
      const stream = Stream.over<number>({
        pull() {},
        stop() {
          throw named('StopFailure')
        },
      })
      const ends = endsOf(stream)
      const waiting = stream.next()
      await stream.return()
      expect(await waiting).toEqual(done)
      expect(ends).toEqual([{ outcome: 'left' }])
      expect(warnings).toEqual([expect.stringContaining('StopFailure')])
    })

    it.each<
      [string, StreamEnd['outcome'], (stream: Stream<number>, cancel: Cancel) => Promise<unknown>]
    >([
      ['the last chunk', 'complete', (stream) => collect(stream)],
      [
        'an early break',
        'left',
        async (stream) => {
          for await (const _ of stream) break
        },
      ],
      [
        'a throw in the loop body',
        'left',
        async (stream) => {
          for await (const _ of stream) throw new Error('body')
        },
      ],
      ['return()', 'left', (stream) => stream.return()],
      ['throw()', 'left', (stream) => stream.throw(new Error('reader'))],
      ['an abort', 'failed', async (_, cancel) => cancel.abort('gone')],
      ['nobody reading', 'failed', () => vi.advanceTimersByTimeAsync(30_000)],
      [
        'an abort and then return()',
        'failed',
        (stream, cancel) => {
          cancel.abort('gone')
          return stream.return()
        },
      ],
      [
        'return() and then an abort and a failure',
        'left',
        (stream, cancel) => {
          const left = stream.return()
          cancel.abort('gone')
          stream.log.fail('broken')
          return left
        },
      ],
    ])('ends exactly once at %s', async (_, outcome, finish) => {
      const cancel = new Cancel()
      const stream = streamFrom(numbers(3), { cancel, unreadMs: 30_000 })
      const ends = endsOf(stream)
      await stream.log.ready
      await finish(stream, cancel).catch(() => {})
      await stream.return()
      cancel.abort('late')
      await vi.advanceTimersByTimeAsync(60_000)
      expect(ends.map((end) => end.outcome)).toEqual([outcome])
      expect(stream.ended).toBe(ends[0])
      expect(cancel.watched).toBe(false)
    })

    it('ends exactly once at a failure', async () => {
      const stream = streamFrom(breaking(2, 'broken'))
      const ends = endsOf(stream)
      expect(await failure(collect(stream))).toBe('broken')
      await stream.return()
      expect(ends).toEqual([{ outcome: 'failed', error: 'broken' }])
    })
  })

  describe('that nobody reads', () => {
    it('ends with TIMEOUT in phase read and stops its source', async () => {
      const source = driven<string>({ unreadMs: 50 })
      source.log.push('a')
      await vi.advanceTimersByTimeAsync(49)
      expect(source.stream.ended).toBeUndefined()
      await vi.advanceTimersByTimeAsync(1)
      const error = source.stream.ended?.error
      expect(error).toMatchObject({ code: 'TIMEOUT', phase: 'read', ms: 50, retryable: false })
      expect(source.stops).toEqual([error])
      expect(await failure(source.stream.next())).toBe(error)
    })

    it('counts from the commit, not from the call', async () => {
      const { stream, log } = driven<string>({ unreadMs: 50 })
      await vi.advanceTimersByTimeAsync(500)
      log.push('a')
      await vi.advanceTimersByTimeAsync(49)
      expect(stream.ended).toBeUndefined()
      await stream.return()
    })

    it('has no limit once a chunk was asked for', async () => {
      const { stream, log } = driven<string>({ unreadMs: 50 })
      log.push('a')
      log.push('b')
      await stream.next()
      await vi.advanceTimersByTimeAsync(10_000)
      expect(await stream.next()).toEqual(value('b'))
      await stream.return()
    })

    it('sets no timer for an empty stream', async () => {
      const { log } = driven<string>({ unreadMs: 50 })
      log.end()
      expect(vi.getTimerCount()).toBe(0)
    })

    it('takes a later limit only when it has none and nobody has asked', async () => {
      const limited = driven<string>({ unreadMs: 100 }).stream
      limited.log.push('a')
      limited.limitUnread(10)
      await vi.advanceTimersByTimeAsync(99)
      expect(limited.ended).toBeUndefined()
      await limited.return()

      const unlimited = driven<string>().stream
      unlimited.limitUnread(10)
      await vi.advanceTimersByTimeAsync(10)
      expect(unlimited.ended?.error).toMatchObject({ phase: 'read' })

      const read = driven<string>().stream
      read.next()
      read.limitUnread(10)
      expect(vi.getTimerCount()).toBe(0)
      await read.return()
    })
  })

  describe('under a cancellation', () => {
    it('drops what was not delivered and gives the reason', async () => {
      const cancel = new Cancel()
      const source = driven<string>({ cancel })
      for (const chunk of ['a', 'b', 'c']) source.log.push(chunk)
      expect(await source.stream.next()).toEqual(value('a'))
      const reason = { not: 'an error' }
      cancel.abort(reason)
      expect(source.stream.buffered).toBe(0)
      expect(await failure(source.stream.next())).toBe(reason)
      expect(await source.stream.next()).toEqual(done)
      expect(source.stops).toEqual([reason])
      source.log.push('late')
    })

    it('drops the rest also when the source has sent everything', async () => {
      const cancel = new Cancel()
      const source = driven<number>({ cancel })
      source.log.push(1)
      source.log.end()
      const ends = endsOf(source.stream)
      cancel.abort('gone')
      expect(await failure(source.stream.next())).toBe('gone')
      expect(ends).toEqual([{ outcome: 'failed', error: 'gone' }])
      expect(source.stops).toEqual([])
    })

    it('obeys the first one only', async () => {
      const first = new Cancel()
      const second = new Cancel()
      const { stream } = driven<string>({ cancel: first })
      stream.abortWith(second)
      expect(second.watched).toBe(false)
      second.abort('ignored')
      expect(stream.ended).toBeUndefined()
      first.abort('heeded')
      expect(stream.ended?.error).toBe('heeded')
    })

    it('does not listen once it has ended', async () => {
      const cancel = new Cancel()
      const { stream } = driven<string>()
      await stream.return()
      stream.abortWith(cancel)
      expect(cancel.watched).toBe(false)
    })

    it('ends at once over a generator that ignores the abort', async () => {
      const cancel = new Cancel()
      const stream = streamFrom(stalling(1), { cancel })
      expect(await stream.next()).toEqual(value(0))
      const waiting = watch(stream.next())
      await flush()
      cancel.abort('gone')
      await flush()
      expect(waiting).toEqual({ state: 'rejected', error: 'gone' })
    })
  })

  describe('from()', () => {
    it('delivers what any async iterable sends, and stops it at an early end', async () => {
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
      await flush()
      expect(finished).toHaveBeenCalledTimes(1)
    })

    it('asks for one chunk ahead of the reader and no more', async () => {
      const next = vi.fn(async () => ({ done: false as const, value: 'x' }))
      const stream = streamFrom({ [Symbol.asyncIterator]: () => ({ next }) })
      await flush()
      expect(next).toHaveBeenCalledTimes(1)
      await stream.next()
      await flush()
      expect(next).toHaveBeenCalledTimes(1)
      await stream.next()
      expect(next).toHaveBeenCalledTimes(2)
      await stream.return()
    })

    it('takes hand-made iterators without promises and without return()', async () => {
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
      ['gives no result', () => Promise.resolve(null), /no result/],
      ['gives nothing', () => undefined, /no result/],
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
    ])('ends although the return() of its iterator %s, and warns', async (_, giveBack) => {
      const warnings = catchWarnings()
      const iterator = { next: async () => ({ done: false, value: 1 }), return: giveBack }
      const stream = streamFrom({
        [Symbol.asyncIterator]: () => iterator,
      } as AsyncIterable<number>)
      await stream.return()
      await flush()
      expect(warnings).toHaveLength(1)
    })

    it('reads a Node stream and destroys it at an early end', async () => {
      const whole = Readable.from(['a', 'b', 'c'])
      expect(await collect(streamFrom(whole))).toEqual(['a', 'b', 'c'])
      const left = Readable.from(['a', 'b', 'c'])
      for await (const _ of streamFrom(left)) break
      await flush()
      expect(left.destroyed).toBe(true)
    })

    it('destroys a Node stream that has stalled', async () => {
      const cancel = new Cancel()
      const readable = new Readable({ read() {} })
      const stream = streamFrom(readable, { cancel })
      cancel.abort('gone')
      await flush()
      expect(readable.destroyed).toBe(true)
      expect(await failure(stream.log.ready)).toBe('gone')
    })

    it('gives the error of a Node stream', async () => {
      const readable = new Readable({ read() {} })
      const stream = streamFrom(readable)
      readable.push('a')
      expect(String((await stream.next()).value)).toBe('a')
      const broken = new Error('socket')
      readable.destroy(broken)
      expect(await failure(stream.next())).toBe(broken)
    })

    it('reads a web stream and cancels it at an early end', async () => {
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
      await flush()
      expect(cancelled).toHaveBeenCalledTimes(1)
    })

    it('cancels a web stream that has stalled', async () => {
      const cancel = new Cancel()
      const cancelled = vi.fn()
      const stream = streamFrom(
        new ReadableStream<string>({ cancel: cancelled }) as AsyncIterable<string>,
        { cancel },
      )
      await flush()
      cancel.abort('gone')
      await flush()
      expect(cancelled).toHaveBeenCalledTimes(1)
      expect(await failure(stream.log.ready)).toBe('gone')
    })
  })

  describe('of()', () => {
    it('delivers chunks that are there, with the end it is told', async () => {
      const stream = streamOver([1, 2], { outcome: 'complete', cacheable: false })
      const ends = endsOf(stream)
      await stream.log.ready
      expect(stream.buffered).toBe(2)
      expect(await collect(stream)).toEqual([1, 2])
      expect(ends).toEqual([{ outcome: 'complete', cacheable: false }])
    })

    it('is over at once without chunks', () => {
      expect(streamOver([]).ended).toEqual({ outcome: 'complete' })
    })

    it('does not see later changes of the array, nor change it', async () => {
      const chunks = [1, 2]
      const stream = replay(chunks)
      chunks.push(3)
      expect(await collect(stream)).toEqual([1, 2])
      expect(chunks).toEqual([1, 2, 3])
    })
  })

  it('behaves like its model for every schedule', async () => {
    type Op =
      | { op: 'push'; commits: boolean }
      | { op: 'end' | 'fail' | 'next' | 'return' | 'abort' }
    const op: fc.Arbitrary<Op> = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ op: fc.constant('push' as const), commits: fc.boolean() }),
      },
      { weight: 6, arbitrary: fc.constant({ op: 'next' as const }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom<Op>(
          { op: 'end' },
          { op: 'fail' },
          { op: 'return' },
          { op: 'abort' },
        ),
      },
    )
    const failed = new Error('failed')
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 40 }), fc.boolean(), async (ops, flushes) => {
        const cancel = new Cancel()
        const { stream, log, stops } = driven<{ n: number; commits: boolean }>({
          cancel,
          commits: (chunk) => chunk.commits,
          unreadMs: 1000,
        })
        const ready = watch(stream.log.ready)
        const ends = endsOf(stream)
        const results: Watched<IteratorResult<{ n: number }, undefined>>[] = []
        const model = new Model()
        for (const step of ops) {
          if (step.op === 'push') {
            log.push({ n: model.sent, commits: step.commits })
            model.push(step.commits)
          } else if (step.op === 'next') {
            results.push(watch(stream.next()))
            model.next()
          } else {
            if (step.op === 'abort') cancel.abort('gone')
            else if (step.op === 'fail') log.fail(failed)
            else if (step.op === 'end') log.end()
            else void stream[step.op]()
            model[step.op]()
          }
          if (flushes) await flush()
        }
        await flush()
        const seen = results.map(({ state, value, error }) =>
          state === 'pending'
            ? 'waits'
            : state === 'rejected'
              ? `error ${String(error)}`
              : value?.done
                ? 'done'
                : value?.value?.n,
        )
        expect(seen).toEqual(model.results)
        expect(ends.map(({ outcome }) => outcome)).toEqual(
          model.outcome === undefined ? [] : [model.outcome],
        )
        expect(ready.state).toBe(model.ready)
        const delivered = seen.filter((one) => typeof one === 'number')
        expect(delivered).toEqual(delivered.map((_, i) => i))
        if (ends[0]?.outcome === 'complete')
          expect(seen.some((one) => String(one).startsWith('error'))).toBe(false)
        void stream.return()
        await flush()
        expect(ends).toHaveLength(1)
        expect(stops.length).toBeLessThanOrEqual(1)
        expect(cancel.watched).toBe(false)
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 500 },
    )
  })
})

/** What a stream does, told without promises. */
class Model {
  sent = 0
  ready: 'pending' | 'resolved' | 'rejected' = 'pending'
  outcome: StreamEnd['outcome'] | undefined
  readonly results: (number | 'waits' | 'done' | `error ${string}`)[] = []
  #held: number[] = []
  #waiting: number[] = []
  #sourceEnded = false
  #error: string | undefined

  push(commits: boolean) {
    if (this.outcome || this.#sourceEnded) return
    this.#held.push(this.sent++)
    if (commits && this.ready === 'pending') this.ready = 'resolved'
    this.#serve()
  }

  end() {
    if (this.outcome || this.#sourceEnded) return
    this.#sourceEnded = true
    if (this.ready === 'pending') this.ready = 'resolved'
    this.#serve()
  }

  fail() {
    if (this.outcome || this.#sourceEnded) return
    if (this.ready === 'pending') this.#held = []
    this.#over('failed', 'Error: failed')
  }

  abort() {
    if (this.outcome) return
    this.#held = []
    this.#over('failed', 'gone')
  }

  return() {
    this.#held = []
    this.#error = undefined
    if (!this.outcome) this.#over(this.#sourceEnded ? 'complete' : 'left')
  }

  next() {
    this.#waiting.push(this.results.push('waits') - 1)
    this.#serve()
  }

  #serve() {
    while (this.#waiting.length > 0 && this.#held.length > 0 && this.ready === 'resolved') {
      this.results[this.#waiting.shift() as number] = this.#held.shift() as number
    }
    if (this.#sourceEnded && this.#held.length === 0 && !this.outcome) this.#over('complete')
    if (this.outcome && this.#held.length === 0) this.#settle()
  }

  #over(outcome: StreamEnd['outcome'], error?: string) {
    this.outcome = outcome
    this.#error = error
    if (this.ready === 'pending') this.ready = outcome === 'failed' ? 'rejected' : 'resolved'
    this.#settle()
  }

  #settle() {
    for (const at of this.#waiting.splice(0)) {
      this.results[at] = this.#error === undefined ? 'done' : `error ${this.#error}`
      this.#error = undefined
    }
  }
}

describe('isStream', () => {
  it.each([numbers(1), Readable.from([]), new ReadableStream(), replay([])])(
    'takes %o for a stream',
    (answer) => {
      expect(isStream(answer)).toBe(true)
    },
  )

  it.each([
    null,
    undefined,
    'text',
    5,
    [1, 2],
    {},
    () => {},
    new Map(),
    { [Symbol.asyncIterator]: true },
  ])('takes %o for a value', (answer) => {
    expect(isStream(answer)).toBe(false)
  })
})

describe('streamOf', () => {
  it('gives the wrapper there is, makes one, or gives nothing for a value', async () => {
    const stream = replay([1])
    expect(streamOf(stream)).toBe(stream)
    const made = streamOf(numbers(1))
    expect(made).toBeInstanceOf(Stream)
    await made?.return()
    expect(streamOf('value')).toBeUndefined()
  })
})

describe('onEnd', () => {
  it('calls at once for a value and passes it on', () => {
    const answer = { plain: true }
    const listener = vi.fn()
    expect(onEnd(answer, listener)).toBe(answer)
    expect(listener).toHaveBeenCalledExactlyOnceWith({ outcome: 'complete' })
  })

  it('waits for the end of a stream and passes the wrapper on', async () => {
    const listener = vi.fn()
    const answer = onEnd(numbers(2), listener)
    expect(onEnd(answer, listener)).toBe(answer)
    expect(listener).not.toHaveBeenCalled()
    expect(await collect(answer)).toEqual([0, 1])
    expect(listener).toHaveBeenCalledTimes(2)
  })

  it('passes a value on although the listener throws, and warns', () => {
    const warnings = catchWarnings()
    const answer = onEnd('value', () => {
      throw named('ValueEndFailure')
    })
    expect(answer).toBe('value')
    expect(warnings).toHaveLength(1)
  })
})

describe('tap', () => {
  it('sees every chunk in order, also those that were held', async () => {
    const { stream, log } = driven<number>({ commits: (n) => n === 2 })
    log.push(0)
    const seen: unknown[] = []
    const answer = tap(stream, (chunk) => seen.push(chunk))
    for (const n of [1, 2, 3]) log.push(n)
    log.end()
    expect(await collect(answer)).toEqual([0, 1, 2, 3])
    expect(seen).toEqual([0, 1, 2, 3])
  })

  it('does not see what was delivered before', async () => {
    const { stream, log } = driven<number>()
    log.push(0)
    log.push(1)
    await stream.next()
    const seen: unknown[] = []
    tap(stream, (chunk) => seen.push(chunk))
    await stream.next()
    expect(seen).toEqual([1])
    await stream.return()
  })

  it('wraps a foreign stream and leaves a value alone', async () => {
    const seen: unknown[] = []
    expect(await collect(tap(numbers(3), (chunk) => seen.push(chunk)))).toEqual([0, 1, 2])
    expect(tap('value', (chunk) => seen.push(chunk))).toBe('value')
    expect(seen).toEqual([0, 1, 2])
  })

  it('goes on when a tap throws, and warns', async () => {
    const warnings = catchWarnings()
    const seen: unknown[] = []
    const answer = tap(numbers(3), () => {
      throw named('TapFailure')
    })
    tap(answer, (chunk) => seen.push(chunk))
    expect(await collect(answer)).toEqual([0, 1, 2])
    expect(seen).toEqual([0, 1, 2])
    expect(warnings).toEqual([expect.stringContaining('tap() threw TapFailure')])
  })
})

describe('collect', () => {
  it('gives all chunks, or rejects with what the stream ends with', async () => {
    expect(await collect(numbers(3))).toEqual([0, 1, 2])
    expect(await failure(collect(breaking(2, 'broken')))).toBe('broken')
  })
})

describe('replay', () => {
  it('gives a new stream of the same chunks every time', async () => {
    const chunks = ['a', 'b']
    const first = replay(chunks)
    expect(replay(chunks)).not.toBe(first)
    expect(await collect(first)).toEqual(chunks)
    expect(await collect(replay(chunks))).toEqual(chunks)
  })

  it('ends when nobody reads it', async () => {
    const stream = streamOver(['a'], undefined, { unreadMs: 20 })
    await vi.advanceTimersByTimeAsync(20)
    expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
  })
})
