import { describe, expect, it, vi } from 'vitest'
import { collect, isStackError } from '../../../../src/core/index.js'
import { dedupedStream } from '../../../support/deduped.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { left } from '../../../support/leaving.js'
import type { Driven } from '../../../support/streams.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('a stream that dedupe shares', () => {
  /** Reads as long as the source may send. */
  async function readAhead(
    reader: AsyncGenerator<unknown>,
    source: Driven<unknown>,
    chunk: unknown,
    most: number,
  ) {
    source.feed(chunk)
    for (let n = 0; n < most; n++) {
      const next = watch(reader.next())
      await null
      await null
      if (next.state === 'pending') {
        await tick()
        if (next.state === 'pending') return { n, next }
      }
    }
    return { n: most, next: watch(Promise.resolve({ done: false, value: undefined })) }
  }

  it('lets a fast reader run 10,000 chunks ahead of a slow one, then cuts the slow one after a second', async () => {
    const { ask, sources } = dedupedStream()
    const [fast, slow] = await Promise.all([ask('q'), ask('q')])
    sources[0]!.stream.log.push('first')
    expect(await slow.next()).toEqual({ done: false, value: 'first' })
    await fast.next()
    const { n, next } = await readAhead(fast, sources[0]!, 'x', 12_000)
    expect(n).toBe(10_000)
    await tick(999)
    expect(next.state).toBe('pending')
    await tick(1)
    expect(next.value).toEqual({ done: false, value: 'x' })
    const error = await failure(slow.next())
    expect(isStackError(error, 'STREAM')).toBe(true)
    expect(error).toMatchObject({ status: 502, layer: 'dedupe' })
    expect(await slow.next()).toEqual({ done: true, value: undefined })
    await fast.return(undefined)
    expect(ask.stats().dedupe.inFlight).toBe(0)
    expect(sources[0]!.stops.length).toBe(1)
  })

  it('stops the work when the fast reader leaves after the slow one was cut', async () => {
    const { ask, sources, contexts } = dedupedStream()
    const caller = new AbortController()
    const [fast, slow] = await Promise.all([ask('q', { signal: caller.signal }), ask('q')])
    sources[0]!.stream.log.push('first')
    await slow.next()
    const { next } = await readAhead(fast, sources[0]!, 'x'.repeat(600_000), 5)
    await tick(1_000)
    expect(next.state).toBe('resolved')
    await failure(slow.next())
    caller.abort(left())
    expect(contexts[0]!.signal.aborted).toBe(true)
    await failure(fast.next())
    await ask.close()
  })

  it('continues when the slow reader catches up in time, or leaves', async () => {
    const { ask, sources } = dedupedStream()
    const [fast, slow, slower] = await Promise.all([ask('q'), ask('q'), ask('q')])
    const chunk = 'x'.repeat(600_000)
    sources[0]!.stream.log.push('first')
    await slow.next()
    await slower.next()
    const { next } = await readAhead(fast, sources[0]!, chunk, 5)
    expect(next.state).toBe('pending')
    await tick(900)
    await slow.next()
    await tick()
    expect(next.state).toBe('pending')
    await slower.return(undefined)
    await tick()
    expect(next.state).toBe('resolved')
    await tick(5_000)
    await fast.return(undefined)
    expect(await slow.next()).toEqual({ done: false, value: chunk })
    await slow.return(undefined)
  })

  it('does not cut a slow reader when the fast one has left', async () => {
    const { ask, sources } = dedupedStream()
    const [fast, slow] = await Promise.all([ask('q'), ask('q')])
    sources[0]!.stream.log.push('first')
    await slow.next()
    const { next } = await readAhead(fast, sources[0]!, 'x'.repeat(600_000), 5)
    expect(next.state).toBe('pending')
    await fast.return(undefined)
    expect(vi.getTimerCount()).toBe(0)
    await tick(5_000)
    sources[0]!.stream.log.end()
    const rest = (await collect(slow)) as string[]
    expect(rest.length).toBeGreaterThan(0)
    expect(rest.every(({ length }) => length === 600_000)).toBe(true)
  })

  it.each([
    ['10,000 chunks', 'x', 9_999],
    ['1 MiB', 'x'.repeat(300_000), 1],
  ])(
    'admits no more readers after %s, so that a late reader misses nothing',
    async (_, chunk, most) => {
      const { ask, sources } = dedupedStream()
      const first = await ask('q')
      sources[0]!.stream.log.push(chunk)
      await first.next()
      await readAhead(first, sources[0]!, chunk, most)
      const late = await ask('q')
      expect(sources.length).toBe(2)
      await first.return(undefined)
      await late.return(undefined)
    },
  )

  it('does not lose the start of a stream to a reader who joins as it fills up', async () => {
    const { ask, sources } = dedupedStream()
    const first = await ask('q')
    const big = (n: number) => `${n}`.padEnd(600_000, 'x')
    const next = first.next()
    sources[0]!.stream.log.push(big(0))
    // Joins while the chunk that fills it is on its way to the first.
    const joined = ask('q')
    await next
    const late = await joined
    const rest = collect(late)
    await tick()
    for (const { stream } of sources) {
      stream.log.push(big(1))
      stream.log.end()
    }
    const got = (await rest) as string[]
    expect(got.map((text) => text[0])).toEqual(sources.length === 1 ? ['0', '1'] : ['1'])
    await first.return(undefined)
  })
})
