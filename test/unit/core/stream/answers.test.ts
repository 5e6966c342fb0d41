import { Readable } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  collect,
  isStream,
  onEnd,
  replay,
  Stream,
  streamOf,
  streamOver,
  tap,
} from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { breaking, driven, numbers } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('isStream', () => {
  it.each([numbers(1), Readable.from([]), new ReadableStream(), replay([])])(
    'recognises %o as a stream',
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
  ])('treats %o as a plain value', (answer) => {
    expect(isStream(answer)).toBe(false)
  })
})

describe('streamOf', () => {
  it('returns the existing wrapper, makes a new one, or returns nothing for a value', async () => {
    const stream = replay([1])
    expect(streamOf(stream)).toBe(stream)
    const made = streamOf(numbers(1))
    expect(made).toBeInstanceOf(Stream)
    await made?.return()
    expect(streamOf('value')).toBeUndefined()
  })
})

describe('onEnd', () => {
  it('calls its listener at once for a value and passes the value on', () => {
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

  it('passes a value on even when the listener throws, and warns', () => {
    const warnings = catchWarnings()
    const answer = onEnd('value', () => {
      throw named('ValueEndFailure')
    })
    expect(answer).toBe('value')
    expect(warnings).toHaveLength(1)
  })
})

describe('tap', () => {
  it('sees every chunk in order, including those held back', async () => {
    const { stream, log } = driven<number>({ commits: (n) => n === 2 })
    log.push(0)
    const seen: unknown[] = []
    const answer = tap(stream, (chunk) => seen.push(chunk))
    for (const n of [1, 2, 3]) log.push(n)
    log.end()
    expect(await collect(answer)).toEqual([0, 1, 2, 3])
    expect(seen).toEqual([0, 1, 2, 3])
  })

  it('does not see chunks delivered before it is added', async () => {
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

  it('continues when a tap throws, and warns', async () => {
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
  it('gives a new stream of the same chunks each time', async () => {
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
