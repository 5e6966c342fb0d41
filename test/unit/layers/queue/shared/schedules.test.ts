import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { stack } from '../../../../../src/core/index.js'
import { queue } from '../../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { type Process, Service } from '../../../../support/shared-service.js'
import { upstreamError } from '../../../../support/upstream.js'
import { type Watched, watch } from '../../../../support/watch.js'

useFakeTimers()

describe('any schedule', () => {
  const step = fc.record({
    after: fc.integer({ min: 0, max: 40 }),
    process: fc.integer({ min: 0, max: 2 }),
    tenant: fc.constantFrom(undefined, 'a', 'b'),
    priority: fc.integer({ min: 0, max: 1 }),
    takes: fc.integer({ min: 0, max: 60 }),
    leavesAfter: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
    timeoutMs: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    fails: fc.boolean(),
  })
  const schedule = fc.record({
    concurrency: fc.integer({ min: 1, max: 4 }),
    maxWaiting: fc.constantFrom(0, 2, 100),
    gate: fc.constantFrom('member' as const, 'model' as const),
    ways: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 10 }),
    steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  })
  type Value<Of> = Of extends fc.Arbitrary<infer T> ? T : never
  type Step = Value<typeof step>
  type Schedule = Value<typeof schedule>

  /** Plays it with three processes. */
  async function play(of: Schedule, onStep: (service: Process[]) => void = () => {}) {
    const { concurrency, maxWaiting, gate, ways, steps } = of
    let asks = 0
    const way = () =>
      new Promise<void>((resolve) => setTimeout(resolve, ways[asks++ % ways.length]))
    const service = new Service(way)
    const processes = [service.join(), service.join(), service.join()]
    let running = 0
    let most = 0
    const work = async ({ takes, fails }: Pick<Step, 'takes' | 'fails'>) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, takes))
      running--
      if (fails) throw upstreamError('SERVER')
      return 'done'
    }
    const stacks = processes.map((shared) =>
      stack(work, queue({ concurrency, maxWaiting, gate, shared })),
    )
    const calls: Watched<unknown>[] = []
    for (const { after, process, takes, fails, leavesAfter, ...options } of steps) {
      onStep(processes)
      await tick(after)
      const caller = new AbortController()
      if (leavesAfter !== undefined) setTimeout(() => caller.abort(), leavesAfter)
      const all = { ...options, signal: caller.signal }
      calls.push(watch(stacks[process]!({ takes, fails }, all)))
    }
    await tick(60 * steps.length + 10_000)
    expect(calls.filter(({ state }) => state === 'pending')).toEqual([])
    for (const { stats } of stacks)
      expect(stats().queue).toMatchObject({ running: 0, waiting: 0, tenants: 0 })
    expect(vi.getTimerCount()).toBe(0)
    return { most, left: service.slots.get('queue')!.size }
  }

  it('has no more calls in progress than slots, settles each call, and gives back each slot', async () => {
    await fc.assert(
      fc.asyncProperty(schedule, async (of) => {
        const { most, left } = await play(of)
        expect(most).toBeLessThanOrEqual(of.concurrency)
        expect(left).toBe(0)
      }),
      { numRuns: 150 },
    )
  })

  it('settles each call also when processes lose each other now and then', async () => {
    const there = fc.infiniteStream(fc.boolean())
    await fc.assert(
      fc.asyncProperty(schedule, there, async (of, isThere) => {
        await play(of, (processes) => {
          for (const process of processes) process.isThere = isThere.next().value as boolean
        })
      }),
      { numRuns: 100 },
    )
  })
})
