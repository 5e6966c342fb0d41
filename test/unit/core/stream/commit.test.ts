import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, collect, Frame } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { done, driven, endsOf, value } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Stream', () => {
  describe('before the commit', () => {
    it('is ready at the first chunk by default', async () => {
      const { stream, log } = driven<string>()
      const ready = watch(stream.log.ready)
      await tick()
      expect(ready.state).toBe('pending')
      log.push('a')
      await tick()
      expect(ready.state).toBe('resolved')
    })

    it('holds chunks back until one commits, then delivers those first', async () => {
      const { stream, log } = driven<string>({ commits: (chunk) => chunk === 'text' })
      const ready = watch(stream.log.ready)
      log.push('role')
      log.push('heartbeat')
      await tick()
      expect(ready.state).toBe('pending')
      expect(stream.buffered).toBe(2)
      log.push('text')
      log.end()
      await tick()
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
      await tick()
      expect(ready.state).toBe('pending')
      log.push(63)
      await tick()
      expect(ready.state).toBe('resolved')
      log.end()
      expect(await collect(stream)).toHaveLength(64)
    })

    it('holds back any number of non-answer events, up to 64 KiB', async () => {
      const { stream, log } = driven<unknown>({ commits: () => true, frames: true })
      const ready = watch(stream.log.ready)
      for (let i = 0; i < 200; i++) log.push(Frame.aside('still working', 'progress'))
      await tick()
      expect(ready.state).toBe('pending')
      log.push(Frame.read('{"text":"Hello"}'))
      await tick()
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
      await tick()
      expect(ready.state).toBe('pending')
      log.push(chunk, bytes)
      await tick()
      expect(ready.state).toBe('resolved')
      stream.return()
    })

    it('commits at its end, even when it is empty', async () => {
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

    it('rejects with the failure and delivers none of the held chunks', async () => {
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

    it('is over at once under a cancellation that is already aborted', async () => {
      const cancel = new Cancel()
      cancel.abort('early')
      const source = driven<string>({ cancel })
      expect(await failure(source.stream.log.ready)).toBe('early')
      expect(source.stops).toEqual(['early'])
      source.log.push('late')
    })

    it('commits when the commits hook throws, and warns', async () => {
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

    it('makes an early reader wait for the commit', async () => {
      const source = driven<string>({ commits: (chunk) => chunk === 'text', unreadMs: 50 })
      const { stream, log } = source
      const results = [stream.next(), stream.next(), stream.next(), stream.next()].map(watch)
      log.push('role')
      await tick()
      expect(results[0]?.state).toBe('pending')
      log.push('text')
      await tick()
      expect(results.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'pending',
        'pending',
      ])
      log.push('more')
      log.end()
      await tick()
      expect(results.map(({ value }) => value)).toEqual([
        value('role'),
        value('text'),
        value('more'),
        done,
      ])
    })

    it('gives an early reader the failure', async () => {
      const { stream, log } = driven<string>({ commits: () => false })
      const first = watch(stream.next())
      const second = watch(stream.next())
      log.push('role')
      log.fail('broken')
      await tick()
      expect(first).toEqual({ state: 'rejected', error: 'broken' })
      expect(second).toEqual({ state: 'resolved', value: done })
    })

    it('gives an early reader the held chunks at a clean end', async () => {
      const { stream, log } = driven<string>({ commits: () => false })
      const ends = endsOf(stream)
      const results = [stream.next(), stream.next()].map(watch)
      log.push('role')
      log.end()
      await tick()
      expect(results.map(({ value }) => value)).toEqual([value('role'), done])
      expect(ends).toEqual([{ outcome: 'complete' }])
    })
  })
})
