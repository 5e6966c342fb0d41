import { describe, expect, it } from 'vitest'
import { useFakeClock } from '../support/fake-clock.js'
import { type HedgedOptions, hedgedCalls } from './hedged-calls.js'
import { quantile } from './quantile.js'
import { DISTRIBUTIONS, withTail } from './upstream.js'

const clock = useFakeClock()

type Options = Omit<HedgedOptions, 'seed' | 'seconds'>

/** The same calls with and without hedging, of several seeds together. */
async function compare(options: Options, calls = 24_000) {
  const seeds = [1, 2, 3]
  const seconds = calls / seeds.length / options.perSecond
  const found = { plain: [] as number[], hedged: [] as number[], calls: 0, tries: 0 }
  for (const seed of seeds) {
    const plain = await hedgedCalls(clock, { ...options, seconds, seed })
    const hedged = await hedgedCalls(clock, { ...options, seconds, seed, hedge: {} })
    expect(hedged.calls).toBe(plain.calls)
    for (const { ms } of plain.heard) found.plain.push(ms)
    for (const { ms } of hedged.heard) found.hedged.push(ms)
    found.calls += hedged.calls
    found.tries += hedged.tries.length
  }
  const ratio = (share: number) => quantile(found.hedged, share) / quantile(found.plain, share)
  return { ratio, extra: found.tries / found.calls - 1 }
}

const forms = [
  { form: 'whole answers', streams: false, loads: [5, 50] },
  { form: 'first tokens', streams: true, loads: [20] },
]
const { fixed, uniform, lognormal, exponential } = DISTRIBUTIONS

describe('hedge() before an upstream of which one call in fifty takes ten times as long', () => {
  it.each(
    forms.flatMap(({ form, streams, loads }) =>
      Object.entries({ fixed, uniform, lognormal }).flatMap(([kind, usual]) =>
        loads.map((perSecond) => ({ form, streams, kind, usual, perSecond })),
      ),
    ),
  )(
    'halves the 99th percentile of $form ($kind, $perSecond a second) for at most 6 % more calls',
    async ({ streams, usual, perSecond }) => {
      const distribution = withTail(usual, 0.02, 10)
      const { ratio, extra } = await compare({ distribution, perSecond, streams })
      expect(ratio(0.99)).toBeLessThanOrEqual(0.5)
      expect(ratio(0.95)).toBeLessThanOrEqual(1.02)
      expect(extra).toBeLessThanOrEqual(0.06)
    },
  )

  it('shortens the tail, but cannot halve it, where usual times have a long tail themselves', async () => {
    const distribution = withTail(exponential, 0.02, 10)
    const { ratio, extra } = await compare({ distribution, perSecond: 20 })
    expect(ratio(0.99)).toBeLessThanOrEqual(0.75)
    expect(extra).toBeLessThanOrEqual(0.06)
  })
})

describe('hedge()', () => {
  it.each([
    ...Object.entries(DISTRIBUTIONS).map(([kind, distribution]) => ({ kind, distribution })),
    { kind: 'half as often, twice as slow', distribution: withTail(lognormal, 0.01, 20) },
    { kind: 'more of them slow', distribution: withTail(lognormal, 0.05, 10) },
    { kind: 'less slow', distribution: withTail(uniform, 0.02, 4) },
  ])('makes nothing slower, for at most 6 % more calls: $kind', async ({ distribution }) => {
    for (const perSecond of [1, 20]) {
      const { ratio, extra } = await compare({ distribution, perSecond }, 3_000)
      for (const share of [0.5, 0.9, 0.95, 0.99]) expect(ratio(share)).toBeLessThanOrEqual(1.03)
      expect(extra).toBeLessThanOrEqual(0.06)
    }
  })

  it.each(forms)('gives each caller one answer, of one try: $form', async ({ streams }) => {
    const { heard, calls, tries, upstream } = await hedgedCalls(clock, {
      distribution: withTail(lognormal, 0.05, 10),
      perSecond: 20,
      seconds: 150,
      seed: 4,
      streams,
      hedge: { delayMs: 800, budget: false },
    })
    expect(heard).toHaveLength(calls)
    expect(tries.length).toBeGreaterThan(1.2 * calls)
    const answering = heard.flatMap(({ tries }) => [...tries])
    expect(answering).toHaveLength(calls)
    expect(new Set(answering).size).toBe(calls)
    // The other try was stopped in its work, unless both were done in the same millisecond.
    expect(upstream.ends.length).toBeLessThanOrEqual(1.01 * calls)
    expect(upstream.inProgress).toBe(0)
  })
})

describe('hedge() when all calls have become slow', () => {
  it.each(
    [2, 20, 100].flatMap((perSecond) => [60, 10_000].map((servers) => ({ perSecond, servers }))),
  )(
    'keeps to its budget: $perSecond a second, servers: $servers',
    async ({ perSecond, servers }) => {
      const options = {
        distribution: lognormal,
        perSecond,
        seconds: 200,
        seed: 6,
        slow: { from: 100, meanMs: 10_000 },
        capacity: servers,
      }
      const plain = await hedgedCalls(clock, options)
      const hedged = await hedgedCalls(clock, { ...options, hedge: {} })
      const during = hedged.tries.filter(({ at }) => at >= 100_000)
      const second = during.filter(({ isSecond }) => isSecond).length
      const first = during.length - second
      expect(second).toBeLessThanOrEqual(10 + 0.05 * (first + plain.upstream.mostInProgress))
      expect(second).toBeGreaterThan(0)
      expect(hedged.upstream.mostInProgress).toBeLessThanOrEqual(
        1.1 * plain.upstream.mostInProgress + 1,
      )
      // Those are not slower for it who wait behind others.
      const usual = (run: typeof plain) =>
        quantile(
          run.heard.map(({ ms }) => ms),
          0.5,
        )
      expect(usual(hedged)).toBeLessThanOrEqual(1.1 * usual(plain))
    },
  )
})
