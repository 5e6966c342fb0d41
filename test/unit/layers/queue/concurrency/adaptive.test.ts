import { describe, expect, it } from 'vitest'
import { base, collect, stack, TimeoutError } from '../../../../../src/core/index.js'
import { pool } from '../../../../../src/layers/pool/index.js'
import { type QueueOptions, queue } from '../../../../../src/layers/queue/index.js'
import { timeout } from '../../../../../src/layers/timeout.js'
import { configError } from '../../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { type Gate, gate } from '../../../../support/gate.js'
import { numbers } from '../../../../support/streams.js'
import { upstreamError } from '../../../../support/upstream.js'
import { type Watched, watch } from '../../../../support/watch.js'

useFakeTimers()

/** A queue that adapts, around work that the test ends one by one. */
function adaptive(options: QueueOptions = {}) {
  const works: Gate<unknown>[] = []
  const layer = queue({ concurrency: 'adaptive', ...options })
  const ask = stack(
    base(
      (_: { own?: boolean }) => {
        const work = gate<unknown>()
        works.push(work)
        return work.promise
      },
      { ownKey: ({ own }) => own === true },
    ),
    layer,
  )
  const calls: Watched<unknown>[] = []
  const call = (times: number, request = {}) => {
    for (let i = 0; i < times; i++) calls.push(watch(ask(request)))
  }
  const succeed = async (times: number) => {
    for (let i = 0; i < times; i++) works.shift()!.open('done')
    await tick()
  }
  const fail = async (error: unknown, times = 1) => {
    for (let i = 0; i < times; i++) works.shift()!.fail(error)
    await tick()
  }
  return { layer, ask, call, calls, works, succeed, fail, stats: () => ask.stats().queue }
}

describe('a queue with adaptive concurrency', () => {
  it('begins with 4 at a time, and doubles with its successes', async () => {
    const { call, succeed, stats } = adaptive()
    call(40)
    expect(stats()).toMatchObject({ concurrency: 4, running: 4, waiting: 36 })
    await succeed(4)
    expect(stats()).toMatchObject({ concurrency: 8, running: 8 })
    await succeed(8)
    expect(stats()).toMatchObject({ concurrency: 16, running: 16 })
    await succeed(16)
    await succeed(12)
    expect(stats()).toMatchObject({ running: 0, completed: 40 })
  })

  it('stays within the bounds that it was given', async () => {
    const { call, succeed, stats } = adaptive({ concurrency: { start: 2, max: 3 } })
    call(10)
    expect(stats().running).toBe(2)
    await succeed(2)
    expect(stats()).toMatchObject({ concurrency: 3, running: 3 })
    for (let i = 0; i < 8; i++) await succeed(1)
    expect(stats()).toMatchObject({ concurrency: 3, completed: 10 })
  })

  it('gives way when upstream is overloaded, and those who run go on', async () => {
    const { call, succeed, fail, works, stats } = adaptive()
    call(30)
    await succeed(4)
    await fail(upstreamError('SERVER', { status: 503 }))
    expect(stats()).toMatchObject({ concurrency: 6, running: 7 })
    await succeed(1)
    expect(stats().running).toBe(6)
    while (works.length > 0) await succeed(works.length)
  })

  it.each([
    ['an abort', new DOMException('enough', 'AbortError')],
    ['a mistake of the caller', upstreamError('BAD_REQUEST')],
    ['a refused key', upstreamError('AUTH')],
    ['a lost connection', upstreamError('NETWORK')],
    ['a refusal further in', upstreamError('RATE_LIMITED', { refused: true })],
    ['a wait further in', new TimeoutError(5, { phase: 'queue' })],
  ])('ignores %s', async (_, error) => {
    const { call, fail, stats } = adaptive()
    call(4)
    await fail(error, 4)
    expect(stats()).toMatchObject({ concurrency: 4, failed: 4 })
  })

  it('ignores what upstream says of a key that a call brings itself', async () => {
    const { call, fail, stats } = adaptive()
    call(4, { own: true })
    await fail(upstreamError('RATE_LIMITED', { retryAfter: 1 }), 4)
    expect(stats().concurrency).toBe(4)
  })

  it("ignores a caller's own time limit, and heeds that of an attempt", async () => {
    const never = () => new Promise(() => {})
    const ask = stack(never, queue({ concurrency: 'adaptive' }), timeout({ ms: 1_000 }))
    for (let i = 0; i < 4; i++) watch(ask(undefined, { timeoutMs: 10 }))
    await tick(10)
    expect(ask.stats().queue.concurrency).toBe(4)
    for (let i = 0; i < 4; i++) watch(ask())
    await tick(1_000)
    expect(ask.stats().queue.concurrency).toBeLessThan(4)
    await tick(10_000)
  })

  it('goes by the first token of streams, not by their end', async () => {
    const ask = stack(async () => numbers(3), queue({ concurrency: 'adaptive', fairness: false }))
    const streams = await Promise.all(Array.from({ length: 4 }, () => ask()))
    expect(ask.stats().queue).toMatchObject({ running: 4, concurrency: 8 })
    for (const stream of streams) await collect(stream)
    expect(ask.stats().queue).toMatchObject({ running: 0, completed: 4 })
  })

  it('does not take a wait further in for a slow upstream', async () => {
    const ask = stack(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 100))
      },
      queue({ concurrency: 'adaptive' }),
      pool({ connections: 2 }),
    )
    const calls = Array.from({ length: 300 }, () => watch(ask()))
    await tick(20_000)
    expect(calls.every(({ state }) => state === 'resolved')).toBe(true)
    // In the pool they have waited for up to 30 times what they take.
    expect(ask.stats().queue.concurrency).toBeGreaterThan(32)
  })

  it('knows when a place is free by the concurrency of now', async () => {
    const { ask, call, succeed, stats } = adaptive({ maxWaiting: 2 })
    call(6)
    await tick(100)
    await succeed(4)
    call(8)
    expect(stats()).toMatchObject({ running: 8, waiting: 2 })
    const error = await ask({}).catch((error: unknown) => error)
    // The third in line, 8 slots, 100 ms each.
    expect(error).toMatchObject({ code: 'QUEUE_FULL', retryAfter: 38 })
    await succeed(8)
    await succeed(2)
  })
})

describe('set()', () => {
  it('lets more calls run at once, and those who wait begin', async () => {
    const { layer, call, succeed, stats } = adaptive({ concurrency: 1 })
    call(5)
    layer.set({ concurrency: 3 })
    expect(stats()).toMatchObject({ concurrency: 3, running: 3, waiting: 2 })
    await tick()
    await succeed(3)
    await succeed(2)
  })

  it('lets fewer run, and stops none', async () => {
    const { layer, call, succeed, stats } = adaptive({ concurrency: 4 })
    call(6)
    layer.set({ concurrency: 1 })
    await succeed(3)
    expect(stats()).toMatchObject({ concurrency: 1, running: 1, waiting: 2 })
    await succeed(1)
    expect(stats()).toMatchObject({ running: 1, waiting: 1 })
    await succeed(1)
    await succeed(1)
  })

  it('begins to adapt, and ends to', async () => {
    const { layer, call, succeed, stats } = adaptive({ concurrency: 1 })
    layer.set({ concurrency: { start: 2 } })
    call(3)
    expect(stats()).toMatchObject({ concurrency: 2, running: 2 })
    await succeed(2)
    expect(stats().concurrency).toBe(4)
    layer.set({ concurrency: 7 })
    await succeed(1)
    expect(stats().concurrency).toBe(7)
  })

  it('changes nothing that it is not given', () => {
    const { layer, stats } = adaptive({ concurrency: 3 })
    layer.set({})
    layer.set({ concurrency: undefined })
    expect(stats().concurrency).toBe(3)
  })

  it.each([
    [{ concurrency: 0 }, '"concurrency"'],
    [{ concurrency: 'fast' }, '"concurrency"'],
    [{ concurrency: { min: 5, max: 3 } }, 'must have min ≤ start ≤ max'],
    [{ maxWaiting: 5 }, '"maxWaiting" is unknown'],
    [5, 'options must be an object'],
  ])('refuses %j', (settings, words) => {
    const { layer } = adaptive({ concurrency: 3 })
    expect(() => layer.set(settings as never)).toThrow(configError(words, 'queue'))
  })
})

describe('options', () => {
  it.each([
    [{}, '"concurrency"'],
    [{ min: 0 }, '"min"'],
    [{ min: 1.5 }, '"min"'],
    [{ max: Number.POSITIVE_INFINITY }, '"max"'],
    [{ start: '4' }, '"start"'],
    [{ min: 3, start: 2 }, 'must have min ≤ start ≤ max'],
    [{ start: 300 }, 'must have min ≤ start ≤ max'],
    [{ min: 300 }, 'must have min ≤ start ≤ max'],
    [{ min: 1, most: 5 }, '"most" is unknown'],
    ['automatic', '"concurrency"'],
    [[4], '"concurrency"'],
  ])('refuse a concurrency of %j', (concurrency, words) => {
    expect(() => queue({ concurrency: concurrency as never })).toThrow(configError(words))
  })

  it('begin within the bounds when start is not given', () => {
    expect(queue({ concurrency: { min: 10 } }).stats().concurrency).toBe(10)
    expect(queue({ concurrency: { max: 2 } }).stats().concurrency).toBe(2)
  })
})
