import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import type { RateLimitOptions } from '../../../../src/layers/rate-limit/index.js'
import { MemoryStore } from '../../../../src/layers/rate-limit/memory-store.js'
import type { LimitStore, Reservation, Spent } from '../../../../src/layers/rate-limit/store.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { RecordingStore, recordedLimit } from '../../../support/recorded-limit.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

/** A store that takes its time, as one outside the process does. */
class SlowStore implements LimitStore {
  readonly #inner = new MemoryStore()
  get keys() {
    return this.#inner.keys
  }
  async reserve(...asked: Parameters<MemoryStore['reserve']>) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return this.#inner.reserve(...asked)
  }
  async settle(reservation: Reservation, taken: Parameters<MemoryStore['settle']>[1]) {
    const spent: Spent | undefined = this.#inner.settle(reservation, taken)
    return spent
  }
  levels(...asked: Parameters<MemoryStore['levels']>) {
    return this.#inner.levels(...asked)
  }
}

function limited(options: RateLimitOptions) {
  const store = new RecordingStore(new SlowStore())
  const started: string[] = []
  const began = performance.now()
  const ask = stack(
    async (request: string) => {
      started.push(`${request} at ${Math.round(performance.now() - began)}`)
      return request
    },
    recordedLimit(options, store),
  )
  return { ask, started, log: store.log, stats: () => ask.stats().limit }
}

const ONE: RateLimitOptions = { requests: { limit: 60, burst: 1 } }

describe('a store outside the process', () => {
  it('is waited for, and calls go in the order in which they came', async () => {
    const { ask, started, stats } = limited(ONE)
    for (const request of ['a', 'b', 'c']) void ask(request)
    await tick(10_000)
    expect(started).toEqual(['a at 20', 'b at 1040', 'c at 2060'])
    expect(stats()).toMatchObject({ admitted: 3, settled: 3, waiting: 0, rejected: 0 })
  })

  it('gets back what it granted to a call that left in the meantime', async () => {
    const { ask, log, started, stats } = limited(ONE)
    const callers = [new AbortController(), new AbortController()]
    await Promise.all([ask('first'), tick(20)])
    // The first one leaves while the store is asked for it, the second while it waits.
    const calls = callers.map(({ signal }) => failure(ask('x', { signal })))
    const last = watch(ask('last'))
    await tick(1_010)
    callers[0]!.abort()
    callers[1]!.abort()
    await Promise.all(calls)
    await tick(10_000)
    expect(last.state).toBe('resolved')
    expect(started[1]).toMatch(/^last at/)
    expect(log.every(({ taken }) => taken.length === 1)).toBe(true)
    expect(stats()).toMatchObject({ admitted: 2, settled: 2, waiting: 0, rejected: 2 })
  })

  it('gets back what it granted to a call aborted before it could wait', async () => {
    const { ask, log, started } = limited(ONE)
    const caller = new AbortController()
    const left = failure(ask('x', { signal: caller.signal }))
    caller.abort()
    await left
    await tick(100)
    expect(log.map(({ taken }) => taken)).toEqual([[{ requests: 0, tokens: 0, cost: 0 }]])
    expect(started).toEqual([])
  })

  it('is asked for a call of larger priority that arrives during another request', async () => {
    const { ask, started } = limited(ONE)
    await Promise.all([ask('first'), tick(20)])
    void ask('a')
    await tick(1_010)
    void ask('urgent', { priority: 1 })
    void ask('b')
    await tick(10_000)
    expect(
      started
        .slice(1)
        .map((text) => text.split(' ')[0])
        .sort(),
    ).toEqual(['a', 'b', 'urgent'])
    expect(started.at(-1)).toMatch(/^b /)
  })

  it('loses no call when all leave at once', async () => {
    const { ask, log, stats } = limited(ONE)
    const caller = new AbortController()
    const calls = Array.from({ length: 20 }, () => watch(ask('x', { signal: caller.signal })))
    await tick(1_030)
    caller.abort()
    await tick(10_000)
    expect(calls.every(({ state }) => state !== 'pending')).toBe(true)
    expect(stats()).toMatchObject({ waiting: 0 })
    expect(log.every(({ taken }) => taken.length === 1)).toBe(true)
  })
})
