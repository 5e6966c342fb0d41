import { describe, expect, it } from 'vitest'
import { useFakeClock } from '../support/fake-clock.js'
import { adapting } from './adapting.js'
import { DISTRIBUTIONS } from './upstream.js'

const clock = useFakeClock()

const simulate = (options: Parameters<typeof adapting>[1]) => adapting(clock, options)

const kinds = Object.entries(DISTRIBUTIONS)

describe('adaptive concurrency before an upstream that refuses', () => {
  it.each(
    kinds.flatMap(([kind, distribution]) =>
      [1, 2, 5, 8, 13, 20, 40, 64, 80, 100].map((capacity) => ({ kind, capacity, distribution })),
    ),
  )(
    'has 0.8 of a capacity of $capacity in use within 300 calls ($kind)',
    async ({ capacity, distribution }) => {
      const { upstream, pass, stop } = simulate({
        capacity,
        excess: 'refuses',
        distribution,
        retryAfter: 1_000,
      })
      await pass(60)
      expect(upstream.requestsUntilBusy).toBeLessThanOrEqual(300)
      await stop()
    },
  )

  it.each([1, 8, 20, 64, 100])('keeps a capacity of %i in use', async (capacity) => {
    const { upstream, pass, busy, stop } = simulate({
      capacity,
      excess: 'refuses',
      retryAfter: 1_000,
    })
    await pass(600)
    expect(busy(60, 600)).toBeGreaterThan(0.75)
    expect(upstream.refused / upstream.requests).toBeLessThan(0.1)
    await stop()
  })
})

describe('adaptive concurrency before an upstream that only slows', () => {
  it.each(
    kinds.flatMap(([kind, distribution]) =>
      [3, 4, 5, 8, 13, 20, 30].map((capacity) => ({ kind, capacity, distribution })),
    ),
  )(
    'never has more than 6 times its $capacity servers in progress, and keeps them busy ($kind)',
    async ({ capacity, distribution }) => {
      const { upstream, pass, busy, stop } = simulate({ capacity, excess: 'queues', distribution })
      await pass(600)
      expect(upstream.mostInProgress).toBeLessThanOrEqual(6 * capacity)
      expect(busy(30, 600)).toBeGreaterThan(0.9)
      await stop()
    },
  )
})

describe('adaptive concurrency before one or two servers that only slow', () => {
  // It begins with four, so it never sees a time of a call that waits for no other.
  it.each(
    kinds.flatMap(([kind, distribution]) =>
      [1, 2].map((capacity) => ({ kind, capacity, distribution })),
    ),
  )('never has more than 20 calls in progress ($capacity, $kind)', async (upstreamOptions) => {
    const { upstream, pass, busy, stop } = simulate({ ...upstreamOptions, excess: 'queues' })
    await pass(600)
    expect(upstream.mostInProgress).toBeLessThanOrEqual(20)
    expect(busy(30, 600)).toBeGreaterThan(0.8)
    await stop()
  })
})

describe('adaptive concurrency after the capacity has changed', () => {
  it.each([
    ['refuses', 10, 40],
    ['refuses', 5, 60],
    ['refuses', 20, 30],
    ['refuses', 60, 5],
    ['queues', 10, 40],
    ['queues', 60, 10],
  ] as const)(
    'of an upstream that %s from %i to %i uses it within 85 s',
    async (excess, before, after) => {
      const { upstream, pass, busy, stop, limit } = simulate({
        capacity: before,
        excess,
        retryAfter: 1_000,
      })
      await pass(120)
      upstream.resize(after)
      upstream.requestsUntilBusy = undefined
      await pass(85)
      expect(upstream.requestsUntilBusy).toBeDefined()
      await pass(20)
      expect(busy(205, 225)).toBeGreaterThan(0.7)
      if (excess === 'refuses') expect(limit()).toBeLessThanOrEqual(2 * after)
      await stop()
    },
  )
})

describe('adaptive concurrency before an account that runs one call at a time', () => {
  it.each([
    ['names a time', 1_000, 2_000],
    ['names a time, with long answers', 1_000, 8_000],
    ['names no time', undefined, 2_000],
    ['names no time, with long answers', undefined, 8_000],
    ['names a long time', 10_000, 2_000],
  ])(
    'has at most a third of its requests refused by one that %s',
    async (_, retryAfter, meanMs) => {
      const { upstream, pass, stop } = simulate({
        capacity: 1,
        excess: 'refuses',
        meanMs,
        ...(retryAfter !== undefined && { retryAfter }),
      })
      await pass(600)
      expect(upstream.refused / upstream.requests).toBeLessThanOrEqual(1 / 3)
      expect(upstream.ends.length).toBeGreaterThan(0.7 * (600_000 / meanMs))
      await stop()
    },
  )
})
