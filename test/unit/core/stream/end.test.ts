import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, collect, Stream, type StreamEnd, streamFrom } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import {
  breaking,
  done,
  driven,
  endsOf,
  numbers,
  stalling,
  value,
} from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Stream', () => {
  describe('at its end', () => {
    it('reports the end when the last chunk is delivered', async () => {
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

    it('reports the end at once to a late listener', async () => {
      const { stream } = driven<number>()
      await stream.return()
      expect(endsOf(stream)).toEqual([{ outcome: 'left' }])
    })

    it('calls the listeners in the order they were added, innermost layer first', () => {
      const { stream, log } = driven<number>()
      const told: string[] = []
      for (const layer of ['inner', 'middle', 'outer']) stream.onEnd(() => told.push(layer))
      log.end()
      expect(told).toEqual(['inner', 'middle', 'outer'])
    })

    it('continues when a listener throws or rejects, and warns', async () => {
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
      await tick()
      expect(last).toHaveBeenCalledTimes(1)
      expect(warnings.map((warning) => /threw (\w+)/.exec(warning)?.[1])).toEqual([
        'EndFailure',
        'AfterEndFailure',
        'LateEndFailure',
      ])
      expect(warnings.join()).not.toContain('on purpose')
    })

    it('ends even when its source throws while being stopped', async () => {
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

    it('has no limit once a chunk has been requested', async () => {
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

    it('accepts a later limit only when it has none and nothing has been requested', async () => {
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
    it('drops undelivered chunks and gives the reason', async () => {
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

    it('drops undelivered chunks even when the source has sent everything', async () => {
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

    it('follows the first cancellation only', async () => {
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

    it('stops listening once it has ended', async () => {
      const cancel = new Cancel()
      const { stream } = driven<string>()
      await stream.return()
      stream.abortWith(cancel)
      expect(cancel.watched).toBe(false)
    })

    it('ends at once even when a generator ignores the abort', async () => {
      const cancel = new Cancel()
      const stream = streamFrom(stalling(1), { cancel })
      expect(await stream.next()).toEqual(value(0))
      const waiting = watch(stream.next())
      await tick()
      cancel.abort('gone')
      await tick()
      expect(waiting).toEqual({ state: 'rejected', error: 'gone' })
    })
  })
})
