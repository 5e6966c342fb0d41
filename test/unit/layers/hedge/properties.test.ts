import fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import { base, type Context, stack } from '../../../../src/core/index.js'
import { breaker, hedge, pool, queue, retry } from '../../../../src/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { settleAfter } from '../../../support/slow.js'
import { upstreamError } from '../../../support/upstream.js'

useFakeTimers()

/** What one try does. */
const plan = fc.record({
  ms: fc.integer({ min: 0, max: 80 }),
  does: fc.constantFrom('answers', 'streams', 'breaks', 'fails', 'is wrong', 'heeds nothing'),
})
const call = fc.record({
  atMs: fc.integer({ min: 0, max: 150 }),
  timeoutMs: fc.integer({ min: 1, max: 200 }),
  leavesMs: fc.option(fc.integer({ min: 0, max: 150 }), { nil: undefined }),
  readsMs: fc.integer({ min: 0, max: 30 }),
})

interface Ask {
  readonly id: number
  readonly model: string
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

it('hedge gives one answer from one try, in time, never ahead of waiters, and releases everything', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 12 }),
      fc.array(call, { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      async (plans, calls, concurrency, hasMembers) => {
        let tries = 0
        let optionalBesideWaiters = 0
        const fn = base(
          async ({ id, model }: Ask, context: Context): Promise<unknown> => {
            const name = `${id} ${model} ${tries}`
            const { ms, does } = plans[tries++ % plans.length]!
            if (context.optional && ask.stats().queue.waiting > 0) optionalBesideWaiters++
            if (does === 'heeds nothing') await wait(ms)
            else await settleAfter(ms, () => {}, context)
            if (does === 'fails') throw upstreamError('SERVER')
            if (does === 'is wrong') throw upstreamError('BAD_REQUEST')
            if (does === 'answers' || does === 'heeds nothing') return name
            return (async function* () {
              for (let n = 0; n < 3; n++) {
                yield name
                await settleAfter(ms, () => {}, context)
              }
              if (does === 'breaks') throw upstreamError('STREAM')
            })()
          },
          { model: ({ model }) => model, withModel: (request, model) => ({ ...request, model }) },
        )
        const members = hasMembers ? [{ apiKey: 'sk_a' }, { apiKey: 'sk_b' }] : undefined
        const ask = stack(
          fn,
          retry({ retries: 1, minDelayMs: 0 }),
          hedge({ delayMs: 20, budget: false, ...(!hasMembers && { to: ['other'] }) }),
          breaker({ minimumCalls: 50 }),
          queue({ concurrency }),
          pool({ connections: 2, members }),
        )
        let settled = 0
        const texts: string[] = []
        const run = async (
          { atMs, timeoutMs, leavesMs, readsMs }: (typeof calls)[number],
          id: number,
        ) => {
          await wait(atMs)
          const began = performance.now()
          const caller = new AbortController()
          if (leavesMs !== undefined) setTimeout(() => caller.abort(), leavesMs)
          try {
            const answer = await ask({ id, model: 'first' }, { timeoutMs, signal: caller.signal })
            if (typeof answer === 'string') texts.push(answer)
            else {
              const chunks: string[] = []
              for await (const chunk of answer as AsyncIterable<string>) {
                chunks.push(chunk)
                await wait(readsMs)
              }
              texts.push([...new Set(chunks)].join('+'))
            }
          } catch {
          } finally {
            settled++
            expect(performance.now() - began).toBeLessThanOrEqual(timeoutMs + 4 * readsMs + 2)
          }
        }
        const all = Promise.all(calls.map(run))
        await tick(2_000)
        await all
        expect(settled).toBe(calls.length)
        for (const text of texts) expect(text).toMatch(/^\d+ (first|other) \d+$/)
        expect(new Set(texts).size).toBe(texts.length)
        expect(optionalBesideWaiters).toBe(0)
        const { queue: slots, pool: leases, hedge: hedged } = ask.stats()
        expect(slots).toMatchObject({ running: 0, waiting: 0 })
        expect(leases).toMatchObject({ active: 0, waiting: 0 })
        expect(hedged.hedged).toBe(hedged.won + hedged.lost)
        const closed = ask.close()
        await tick(1)
        await closed
        expect(vi.getTimerCount()).toBe(0)
      },
    ),
    { numRuns: 200 },
  )
})
