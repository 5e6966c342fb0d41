import type { FakeClock } from '../../../src/testing/fake-clock.js'
import { hedgedCalls } from '../hedged-calls.js'
import { quantile } from '../quantile.js'
import { DISTRIBUTIONS, withTail } from '../upstream.js'
import { chart, type Drawn, Panel } from './chart.js'

const SHARES = [0.5, 0.9, 0.95, 0.99, 0.995]
const tailed = withTail(DISTRIBUTIONS.lognormal, 0.02, 10)
const CALLS = 20_000
const PER_SECOND = 20

/** How long answers take with and without a second try. */
export async function drawHedging(clock: FakeClock): Promise<Drawn> {
  const options = {
    distribution: (mean: number, random: () => number) => Math.round(tailed(mean, random)),
    perSecond: PER_SECOND,
    seconds: CALLS / PER_SECOND,
    seed: 1,
  }
  const plain = await hedgedCalls(clock, options)
  const hedged = await hedgedCalls(clock, { ...options, hedge: {} })
  const [without, withHedge] = [plain, hedged].map(({ heard }) =>
    SHARES.map(
      (share) =>
        quantile(
          heard.map(({ ms }) => ms),
          share,
        ) / 1_000,
    ),
  ) as [number[], number[]]
  const extra = `${(100 * (hedged.tries.length / hedged.calls - 1)).toFixed(1)} %`
  const title = `Time to the answer, with and without hedge(): ${extra} more calls`
  const y = { label: 'seconds', most: Math.ceil(Math.max(...without) / 4 + 0.5) * 4, step: 4 }
  const x = { label: 'percentile of the calls', most: 1, step: 1 }
  const names = SHARES.map((share) => `p${Number((100 * share).toFixed(1))}`)
  const panel = new Panel(title, 60, 220, x, y).bars(names, [
    { name: 'without', look: 'other', values: without },
    { name: 'with hedge()', look: 'ours', values: withHedge },
  ])
  const at = (values: number[], share: number) => values[SHARES.indexOf(share)]?.toFixed(1)
  return {
    svg: chart(
      {
        title,
        description: `Bars for five percentiles. Up to the 95th both are the same; the 99th is ${at(without, 0.99)} s without and ${at(withHedge, 0.99)} s with hedging.`,
        height: 336,
      },
      panel,
    ),
    caption: `Simulation: answers take one second on average, and one in fifty takes ten times as long. With the default options, the 99th percentile is ${at(withHedge, 0.99)} s instead of ${at(without, 0.99)} s, at the cost of ${extra} more calls.`,
  }
}
