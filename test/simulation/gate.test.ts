import { describe, expect, it } from 'vitest'
import { type Context, stack } from '../../src/core/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { randomFrom } from '../../src/testing/random.js'
import { useFakeClock } from '../support/fake-clock.js'
import { Callers } from './callers.js'
import { type Ask, DISTRIBUTIONS, SimulatedUpstream } from './upstream.js'

const clock = useFakeClock()

const upstreamOf = (capacity: number, meanMs: number, retryAfter?: number) =>
  new SimulatedUpstream({
    capacity,
    excess: 'refuses',
    meanMs,
    distribution: DISTRIBUTIONS.lognormal,
    random: randomFrom(5),
    ...(retryAfter !== undefined && { retryAfter }),
  })

describe('a queue with more slots than upstream takes', () => {
  it.each([
    [10, 20, 1_000],
    [10, 20, undefined],
    [1, 5, 1_000],
    [1, 5, undefined],
  ])(
    'asks again once per pause instead of constantly: %i at once, %i slots, Retry-After %s',
    async (capacity, concurrency, retryAfter) => {
      const upstream = upstreamOf(capacity, 2_000, retryAfter)
      const callers = new Callers(stack(upstream.answer, queue({ concurrency }))).keep(100)
      const start = clock.now()
      await clock.advance(600_000)
      // Without a gate each free slot would be refused a hundred times a second.
      expect(upstream.refused / upstream.requests).toBeLessThan(0.6)
      expect(upstream.busyFrom(start, clock.now())).toBeGreaterThan(0.45)
      callers.stop()
      await clock.advance(100_000)
    },
  )
})

describe('a pool of accounts that run one call at a time', () => {
  it('keeps them all busy', async () => {
    const accounts = Array.from({ length: 4 }, () => upstreamOf(1, 2_000, 1_000))
    const answer = (ask: Ask, context: Context) =>
      accounts[context.transport?.member ?? 0]!.answer(ask, context)
    const members = accounts.map((_, i) => ({ apiKey: `sk_${i}` }))
    const callers = new Callers(stack(answer, pool({ connections: 3, members }))).keep(50)
    const start = clock.now()
    await clock.advance(600_000)
    for (const account of accounts) {
      expect(account.busyFrom(start, clock.now())).toBeGreaterThan(0.8)
      expect(account.refused / account.requests).toBeLessThan(0.6)
    }
    callers.stop()
    await clock.advance(100_000)
  })
})
