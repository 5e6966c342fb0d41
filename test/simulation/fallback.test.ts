import { describe, expect, it } from 'vitest'
import { base, type Context, now, sleep, stack } from '../../src/core/index.js'
import { fallback } from '../../src/layers/fallback/index.js'
import { randomFrom } from '../../src/testing/random.js'
import { useFakeClock } from '../support/fake-clock.js'
import { upstreamError } from '../support/upstream.js'
import { Callers } from './callers.js'
import { DISTRIBUTIONS } from './upstream.js'

const clock = useFakeClock()

/** How long the first model takes to fail. */
const FAILS_MS = 3_000

describe('fallback() while the first model is down', () => {
  it.each([1, 10, 50])('asks it only now and then, at %i calls a second', async (perSecond) => {
    const random = randomFrom(31)
    const asked = { first: [] as number[], other: [] as number[] }
    let isDown = false
    const answer = async ({ model }: { model: 'first' | 'other' }, { cancel }: Context) => {
      asked[model].push(now())
      const fails = isDown && model === 'first'
      await sleep(fails ? FAILS_MS : DISTRIBUTIONS.lognormal(1_000, random), cancel)
      if (fails) throw upstreamError('SERVER')
    }
    const ask = stack(
      base(answer, { model: ({ model }) => model, withModel: () => ({ model: 'other' as const }) }),
      fallback({ to: ['other'] }),
    )
    const callers = new Callers((_, options) => ask({ model: 'first' }, options))
    callers.come(perSecond, random)
    await clock.advance(60_000)
    expect(asked.other).toHaveLength(0)
    const downAt = now()
    isDown = true
    await clock.advance(600_000)
    isDown = false
    const upAt = now()
    await clock.advance(120_000)
    callers.stop()
    await clock.advance(60_000)
    expect(callers.failed).toBe(0)
    // Until three have failed, and then those who come before the next one has failed.
    const most = (3 + perSecond * (FAILS_MS / 1_000)) * 1.5 + 5
    const during = asked.first.filter((at) => at >= downAt && at < upAt)
    for (let from = downAt; from < upAt; from += 30_000)
      expect(during.filter((at) => at >= from && at < from + 30_000).length).toBeLessThan(most)
    // It is tried again for as long as it is down, and has everything again soon after.
    expect(during.length).toBeGreaterThanOrEqual(600 / (30 + FAILS_MS / 1_000) - 1)
    expect(asked.other.filter((at) => at > upAt + 31_000 + FAILS_MS)).toHaveLength(0)
    expect(ask.stats().fallback.exhausted).toBe(0)
  })
})
