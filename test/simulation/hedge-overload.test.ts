import { describe, expect, it } from 'vitest'
import { base, type Context, type Layer, now, stack } from '../../src/core/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { hedge } from '../../src/layers/hedge/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { randomFrom } from '../../src/testing/random.js'
import { useFakeClock } from '../support/fake-clock.js'
import { upstreamError } from '../support/upstream.js'
import { Callers } from './callers.js'
import { DISTRIBUTIONS, SimulatedUpstream, type UpstreamOptions, withTail } from './upstream.js'

const clock = useFakeClock()

/** What hedging would do by itself, with nothing to hold it back but what is further in. */
const EAGER = { delayMs: 300, budget: false } as const
const PAUSE_MS = 5_000

const upstreamOf = (options: Pick<UpstreamOptions, 'capacity' | 'excess' | 'retryAfter'>) =>
  new SimulatedUpstream({
    meanMs: 500,
    distribution: withTail(DISTRIBUTIONS.lognormal, 0.1, 10),
    random: randomFrom(11),
    ...options,
  })

/** Callers who come more often for half of each two minutes. */
async function waves(callers: (perSecond: number, random: () => number) => Callers, most: number) {
  const random = randomFrom(12)
  const calm = callers(most / 4, random)
  for (let i = 0; i < 5; i++) {
    await clock.advance(60_000)
    const more = callers(most, random)
    await clock.advance(60_000)
    more.stop()
  }
  calm.stop()
  await clock.advance(600_000)
}

describe('a second try', () => {
  it.each([2, 5, 20])('is never made while calls wait for one of %i slots', async (concurrency) => {
    const upstream = upstreamOf({ capacity: 1_000, excess: 'queues' })
    let second = 0
    let besideWaiters = 0
    const answer = (_: object, context: Context) => {
      if (context.optional) second++
      if (context.optional && ask.stats().queue.waiting > 0) besideWaiters++
      return upstream.answer({}, context)
    }
    const ask = stack(answer, hedge(EAGER), queue({ concurrency, maxWaiting: 100 }))
    let mostWaiting = 0
    const callers = (perSecond: number, random: () => number) =>
      new Callers((request, options) => {
        mostWaiting = Math.max(mostWaiting, ask.stats().queue.waiting)
        return ask(request, options)
      }).come(perSecond, random)
    await waves(callers, 1.3 * concurrency)
    expect(mostWaiting).toBeGreaterThan(5)
    expect(second).toBeGreaterThan(20)
    expect(ask.stats().hedge.refused).toBeGreaterThan(20)
    expect(besideWaiters).toBe(0)
  })

  it.each([
    ['its queue', []],
    ['each model', [queue({ name: 'inner', concurrency: 40, gate: 'model' })]],
  ] as [string, Layer[]][])('is never made while the gate of %s is shut', async (_, inner) => {
    const upstream = upstreamOf({ capacity: 12, excess: 'refuses', retryAfter: PAUSE_MS })
    let shutUntil = Number.NEGATIVE_INFINITY
    let second = 0
    let whileShut = 0
    const answer = async (_: object, context: Context) => {
      if (context.optional) second++
      if (context.optional && now() < shutUntil) whileShut++
      try {
        return await upstream.answer({}, context)
      } catch (error) {
        if (!context.cancel.aborted) shutUntil = now() + PAUSE_MS
        throw error
      }
    }
    const layers = inner.length > 0 ? inner : [queue({ concurrency: 40 })]
    const ask = stack(answer, hedge(EAGER), ...layers)
    const callers = (perSecond: number, random: () => number) =>
      new Callers(ask).come(perSecond, random)
    await waves(callers, 14)
    expect(upstream.refused).toBeGreaterThan(20)
    expect(second).toBeGreaterThan(20)
    expect(ask.stats().hedge.refused).toBeGreaterThan(20)
    expect(whileShut).toBe(0)
  })

  it('is never made of a model whose circuit is not closed, not even as its trial', async () => {
    const upstream = upstreamOf({ capacity: 1_000, excess: 'queues' })
    const circuits = breaker({ key: 'model', resetMs: 10_000 })
    let isDown = false
    let second = 0
    let whileOpen = 0
    const answer = async ({ model }: { model: string }, context: Context) => {
      if (context.optional) second++
      if (context.optional && circuits.state('other') !== 'closed') whileOpen++
      if (isDown && model === 'other') throw upstreamError('SERVER')
      return upstream.answer({}, context)
    }
    const ask = stack(
      base(answer, { model: ({ model }) => model, withModel: (ask, model) => ({ ...ask, model }) }),
      hedge({ ...EAGER, to: ['other'] }),
      circuits,
    )
    const asking = (model: string) =>
      new Callers((_, options) => ask({ model }, options)).come(4, randomFrom(13))
    const callers = [asking('first'), asking('other')]
    for (let i = 0; i < 4; i++) {
      await clock.advance(60_000)
      isDown = true
      await clock.advance(60_000)
      expect(circuits.state('other')).not.toBe('closed')
      isDown = false
    }
    for (const one of callers) one.stop()
    await clock.advance(60_000)
    expect(second).toBeGreaterThan(20)
    expect(ask.stats().hedge.refused).toBeGreaterThan(20)
    expect(whileOpen).toBe(0)
    await ask.close()
  })
})
