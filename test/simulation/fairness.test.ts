import { describe, expect, it } from 'vitest'
import { base, stack } from '../../src/core/index.js'
import { type QueueOptions, queue } from '../../src/layers/queue/index.js'
import { randomFrom } from '../../src/testing/random.js'
import { useFakeClock } from '../support/fake-clock.js'
import { Callers, evenness } from './callers.js'
import { type Ask, DISTRIBUTIONS, SimulatedUpstream } from './upstream.js'

const clock = useFakeClock()

/** Tenants before a queue, before an upstream with as many servers as the queue has slots. */
function simulate(concurrency: number, options: QueueOptions = {}) {
  const random = randomFrom(3)
  const upstream = new SimulatedUpstream({
    capacity: concurrency,
    excess: 'queues',
    meanMs: 1_000,
    distribution: DISTRIBUTIONS.lognormal,
    random,
  })
  const ask = stack(
    base(upstream.answer, { usage: (answer) => (answer as Ask).usage }),
    queue({ concurrency, maxWaiting: 10_000, ...options }),
  )
  const all: Callers[] = []
  const callers = (tenant: string, usage?: Ask['usage'] | (() => Ask['usage'])) => {
    const given = typeof usage === 'function' ? usage : () => usage
    const made = new Callers(ask, {
      tenant,
      ask: () => {
        const usage = given()
        return usage === undefined ? {} : { usage }
      },
    })
    all.push(made)
    return made
  }
  const stop = async () => {
    for (const one of all) one.stop()
    const closed = ask.close({ timeoutMs: 0 })
    await clock.advance(60_000)
    await closed
  }
  return { ask, upstream, callers, random, stop, stats: () => ask.stats().queue }
}

describe('tenants', () => {
  it.each([
    [2, 1],
    [2, 10],
    [5, 3],
    [20, 5],
    [50, 20],
  ])(
    '(%i of them, %i slots) let a newcomer start before more calls end than there are tenants',
    async (n, concurrency) => {
      const { ask, upstream, callers, stop } = simulate(concurrency)
      callers('deep').keep(500)
      for (let i = 2; i < n; i++) callers(`tenant ${i}`).keep(10)
      await clock.advance(20_000)
      for (let i = 0; i < 20; i++) {
        const [ends, requests] = [upstream.ends.length, upstream.requests]
        // The queue notes it as soon as the call's turn has come.
        const meta = new Map<string, unknown>()
        const newcomer = ask({}, { tenant: `newcomer ${i}`, meta })
        while (!meta.has('queue') && upstream.ends.length <= ends + n) await clock.advance(1)
        expect(meta.has('queue')).toBe(true)
        expect(upstream.ends.length - ends).toBeLessThanOrEqual(n)
        expect(upstream.requests - requests).toBeLessThanOrEqual(n)
        await clock.advance(10_000)
        await newcomer
      }
      await stop()
    },
    60_000,
  )

  it('are served equally, however many calls they make at once and however long their answers are', async () => {
    const { callers, random, stats, stop } = simulate(10)
    const served = new Map<string, number>()
    const asking = (tenant: string, mean: number, depth: number) => {
      const usage = () => ({ input: 20, output: Math.ceil(mean * (0.5 + random())) })
      let last = usage()
      const made = callers(tenant, () => {
        last = usage()
        served.set(tenant, (served.get(tenant) ?? 0) + last.input + 2 * last.output)
        return last
      })
      return made.keep(depth)
    }
    asking('short', 30, 200)
    asking('middle', 100, 50)
    asking('long', 400, 500)
    asking('varied', 150, 30)
    await clock.advance(30_000)
    for (const tenant of served.keys()) served.set(tenant, 0)
    const before = new Map(served)
    await clock.advance(600_000)
    const shares = [...served].map(([tenant, sum]) => sum - (before.get(tenant) ?? 0))
    expect(evenness(shares)).toBeGreaterThanOrEqual(0.95)
    expect(stats().fairnessIndex).toBeGreaterThanOrEqual(0.95)
    await stop()
  }, 60_000)

  it('get shares by weight, within a tenth', async () => {
    const weights = { gold: 4, silver: 2, plain: 1, half: 0.5 }
    const { callers, stop } = simulate(8, { weights })
    const made = Object.keys(weights).map((tenant) => callers(tenant).keep(100))
    await clock.advance(20_000)
    const before = made.map(({ completed }) => completed)
    await clock.advance(600_000)
    const done = made.map(({ completed }, i) => completed - (before[i] as number))
    const all = done.reduce((sum, count) => sum + count, 0)
    for (const [i, weight] of Object.values(weights).entries()) {
      const share = (done[i] as number) / all / (weight / 7.5)
      expect(share).toBeGreaterThan(0.9)
      expect(share).toBeLessThan(1.1)
    }
    await stop()
  }, 60_000)

  it('that ask for less than their share get all of it, and leave the rest to the others', async () => {
    const { callers, random, stop } = simulate(10)
    const modest = ['a', 'b', 'c'].map((tenant) => callers(tenant).come(1, random))
    const greedy = callers('greedy').keep(300)
    await clock.advance(600_000)
    for (const { completed } of modest) expect(completed).toBeGreaterThan(500)
    expect(greedy.completed).toBeGreaterThan(3_500)
    await stop()
  }, 60_000)

  it('cannot fill a queue alone: the one with the most waiting calls makes room for others', async () => {
    const { callers, stats, stop } = simulate(4, { maxWaiting: 50 })
    const flood = callers('flood').keep(400)
    await clock.advance(5_000)
    expect(stats().waiting).toBe(50)
    const others = ['a', 'b', 'c'].map((tenant) => callers(tenant).keep(8))
    await clock.advance(120_000)
    for (const { failed } of others) expect(failed).toBe(0)
    expect(evenness(others.map(({ completed }) => completed))).toBeGreaterThan(0.95)
    expect(flood.failed).toBeGreaterThan(1_000)
    await stop()
  }, 60_000)
})
