import { afterEach, describe, expect, it, vi } from 'vitest'
import { collect } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { done, driven, endsOf, value } from '../../../support/streams.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Stream', () => {
  describe('as an async generator', () => {
    it('queues calls of next()', async () => {
      const { stream, log } = driven<string>()
      const results = [stream.next(), stream.next(), stream.next(), stream.next()].map(watch)
      for (const chunk of ['a', 'b', 'c']) log.push(chunk)
      log.end()
      await tick()
      expect(results.map(({ value }) => value)).toEqual([value('a'), value('b'), value('c'), done])
      expect(await stream.next()).toEqual(done)
    })

    it('settles a waiting next() when return() is called', async () => {
      const source = driven<string>()
      const waiting = [source.stream.next(), source.stream.next()].map(watch)
      expect(await source.stream.return()).toEqual(done)
      await tick()
      expect(waiting.map(({ value }) => value)).toEqual([done, done])
      expect(source.stops).toEqual([undefined])
      expect(await source.stream.next()).toEqual(done)
    })

    it('throws what throw() is given and is then over', async () => {
      const source = driven<string>()
      source.log.push('a')
      expect(await failure(source.stream.throw('mine'))).toBe('mine')
      expect(source.stream.ended).toEqual({ outcome: 'left' })
      expect(source.stops).toHaveLength(1)
      expect(await source.stream.next()).toEqual(done)
    })

    it('is its own iterator and ends when it is disposed of', async () => {
      const { stream } = driven<string>()
      expect(stream[Symbol.asyncIterator]()).toBe(stream)
      await stream[Symbol.asyncDispose]()
      expect(stream.ended).toEqual({ outcome: 'left' })
    })

    it('gives the error once, after the chunks that arrived before it', async () => {
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
      await tick()
      expect(waiting).toEqual([
        { state: 'rejected', error: 'broken' },
        { state: 'resolved', value: done },
      ])
    })

    it('drops an unread error when the reader leaves', async () => {
      const { stream, log } = driven<string>()
      log.push('a')
      log.fail('broken')
      await stream.return()
      expect(await stream.next()).toEqual(done)
    })

    it('accepts nothing from the source after the end', async () => {
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
    it('pulls only when the reader wants more than is available', async () => {
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

    it('reports since when the reader has been waiting for the source', async () => {
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

    it('reports no wait once held chunks serve an early reader', async () => {
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
})
