import { afterEach, describe, expect, it, vi } from 'vitest'
import { follow, type Handler, proceed, type StreamEnd } from '../../../src/core/index.js'
import { catchWarnings, named } from '../../support/warnings.js'

const context = undefined as never

afterEach(() => {
  vi.restoreAllMocks()
})

describe('proceed', () => {
  it('continues at once with a value that is not a promise', () => {
    expect(
      proceed(
        1,
        (answer) => answer + 1,
        () => 0,
      ),
    ).toBe(2)
  })

  it('continues with what any kind of promise resolves to', async () => {
    // biome-ignore lint/suspicious/noThenProperty: a thenable on purpose
    const foreign = { then: (resolve: (value: number) => void) => resolve(1) }
    for (const answer of [Promise.resolve(1), foreign as unknown as Promise<number>]) {
      const next = proceed(
        answer,
        (value) => value + 1,
        () => 0,
      )
      expect(next).toBeInstanceOf(Promise)
      expect(await next).toBe(2)
    }
  })

  it('passes a rejection to `failed`, but not an error that `ok` throws', async () => {
    const failed = vi.fn(() => 'mended')
    expect(await proceed(Promise.reject(new Error('no')), () => 'fine', failed)).toBe('mended')
    const thrown = proceed(
      Promise.resolve(),
      () => {
        throw new Error('ok threw')
      },
      failed,
    )
    await expect(thrown).rejects.toThrow('ok threw')
    expect(failed).toHaveBeenCalledOnce()
  })
})

describe('follow', () => {
  const ends: StreamEnd[] = []
  const record = { ended: (end: StreamEnd) => void ends.push(end) }
  const run = (next: Handler) => {
    ends.length = 0
    return follow(next, 'request', context, record)
  }

  it('reports the end of a value at once, with and without a promise', async () => {
    expect(run(() => 'now')).toBe('now')
    expect(ends).toEqual([{ outcome: 'complete' }])
    expect(await run(async () => 'later')).toBe('later')
    expect(ends).toEqual([{ outcome: 'complete' }])
  })

  it('reports the end of a stream at its last chunk', async () => {
    const stream = (await run(async function* () {
      yield 1
    } as never)) as AsyncIterable<number>
    expect(ends).toEqual([])
    for await (const chunk of stream) expect(chunk).toBe(1)
    expect(ends).toEqual([{ outcome: 'complete' }])
  })

  it('reports a failure once and passes it on, thrown or rejected', async () => {
    const error = new Error('no')
    const throws = () => {
      throw error
    }
    expect(() => run(throws)).toThrow(error)
    expect(ends).toEqual([{ outcome: 'failed', error }])
    await expect(run(async () => throws())).rejects.toBe(error)
    expect(ends).toEqual([{ outcome: 'failed', error }])
  })

  it('shows an answer before its end, and returns what the callback gives back', async () => {
    const seen: unknown[] = []
    const follower = {
      answered<Answer>(answer: Answer): Answer {
        seen.push(answer, ends.length)
        return `${answer}!` as Answer
      },
      ended: record.ended,
    }
    ends.length = 0
    expect(follow(() => 'now', 'request', context, follower)).toBe('now!')
    expect(await follow(async () => 'later', 'request', context, follower)).toBe('later!')
    expect(seen).toEqual(['now', 0, 'later', 1])
    const fails = async () => {
      throw new Error('no')
    }
    await expect(follow(fails, 'request', context, follower)).rejects.toThrow('no')
    expect(seen).toHaveLength(4)
  })

  it('accepts a function in place of an answer', () => {
    ends.length = 0
    follow(() => 'now', 'request', context, record.ended)
    expect(ends).toEqual([{ outcome: 'complete' }])
  })

  it('keeps an answer even when its listener throws', async () => {
    const warnings = catchWarnings()
    const angry = {
      ended() {
        throw named('AngryListenerError')
      },
    }
    expect(follow(() => 'fine', 'request', context, angry)).toBe('fine')
    expect(warnings).toEqual([expect.stringContaining('AngryListenerError')])
  })
})
