import { now, stack } from '../../../src/core/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import type { FakeClock } from '../../../src/testing/fake-clock.js'
import { randomFrom } from '../../../src/testing/random.js'
import { Callers } from '../callers.js'
import { quantile } from '../quantile.js'
import { DISTRIBUTIONS, SimulatedUpstream } from '../upstream.js'
import { chart, type Drawn, Panel } from './chart.js'

const SLOTS = 10
const FLOOD = 400
/** Seconds. */
const [FROM, UNTIL, END, EVERY] = [60, 180, 300, 5]

/** How long calls of four modest tenants wait, by the time at which they came. Seconds. */
async function waitsOf(clock: FakeClock, fairness: boolean): Promise<[number, number][]> {
  const lognormal = (mean: number, random: () => number) =>
    Math.round(DISTRIBUTIONS.lognormal(mean, random))
  const random = randomFrom(21)
  const upstream = new SimulatedUpstream({
    capacity: SLOTS,
    excess: 'queues',
    meanMs: 1_000,
    distribution: lognormal,
    random: randomFrom(22),
  })
  const ask = stack(upstream.answer, queue({ concurrency: SLOTS, fairness }))
  const start = now()
  const waits: [number, number][] = []
  const modest = ['a', 'b', 'c', 'd'].map((tenant) =>
    new Callers(
      async (request, options) => {
        const came = now()
        const meta = new Map<string, unknown>()
        await ask(request, { ...options, meta })
        const { waitedMs = 0 } = (meta.get('queue') ?? {}) as { waitedMs?: number }
        waits.push([(came - start) / 1_000, waitedMs / 1_000])
      },
      { tenant },
    ).come(1, random),
  )
  await clock.advance(FROM * 1_000)
  const flood = new Callers(ask, { tenant: 'flood' }).keep(FLOOD)
  await clock.advance((UNTIL - FROM) * 1_000)
  flood.stop()
  await clock.advance((END - UNTIL) * 1_000)
  for (const one of modest) one.stop()
  await clock.advance(120_000)
  return waits
}

/** The longest wait of those who came within each few seconds. */
const longest = (waits: readonly [number, number][]): [number, number][] =>
  Array.from({ length: END / EVERY }, (_, i) => {
    const own = waits.filter(([at]) => at >= i * EVERY && at < (i + 1) * EVERY)
    return [(i + 0.5) * EVERY, Math.max(0, ...own.map(([, wait]) => wait))]
  })

/** A flood of one tenant, and how long the others wait. */
export async function drawFairness(clock: FakeClock): Promise<Drawn> {
  const [without, fair] = [await waitsOf(clock, false), await waitsOf(clock, true)]
  const during = (waits: readonly [number, number][]) =>
    quantile(
      waits.filter(([at]) => at >= FROM + 10 && at < UNTIL).map(([, wait]) => wait),
      0.95,
    )
  const [slow, quick] = [during(without).toFixed(1), during(fair).toFixed(1)]
  const title = 'Waits of four tenants while a fifth floods the queue'
  const most = Math.ceil(Math.max(...longest(without).map(([, wait]) => wait)) / 10) * 10 + 10
  const panel = new Panel(
    title,
    60,
    220,
    { label: 'time at which a call came (s)', most: END, step: 60 },
    { label: `longest wait of the four, each ${EVERY} s (s)`, most, step: 10 },
  )
    .span(FROM, UNTIL, `${FLOOD} calls at once of a fifth`)
    .lines(
      { name: 'fairness: false', look: 'other', points: longest(without) },
      { name: 'fairness: true', look: 'ours', points: longest(fair) },
    )
    .xTicks()
  return {
    svg: chart(
      {
        title,
        description: `Two lines over five minutes. While one tenant has ${FLOOD} calls waiting, calls of the four others wait ${slow} s without fairness and ${quick} s with it (95th percentile).`,
        height: 336,
      },
      panel,
    ),
    caption: `Simulation: ${SLOTS} slots, answers take one second, and four tenants make one call per second each. A fifth tenant keeps ${FLOOD} calls waiting. With fairness, 95 % of the four tenants' calls wait at most ${quick} s; without it, ${slow} s.`,
  }
}
