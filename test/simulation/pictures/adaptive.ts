import type { FakeClock } from '../../../src/testing/fake-clock.js'
import { adapting } from '../adapting.js'
import { DISTRIBUTIONS } from '../upstream.js'
import { chart, type Drawn, Panel } from './chart.js'

const [CAPACITY, HALF] = [40, 20]
/** Seconds. */
const [HALVED_AT, BACK_AT, END, EVERY, REFUSED_EVERY] = [200, 400, 600, 2, 10]

/** The limit that is found while the capacity halves and comes back. */
export async function drawAdaptive(clock: FakeClock): Promise<Drawn> {
  const { upstream, ask, pass, busy, stop } = adapting(clock, {
    capacity: CAPACITY,
    excess: 'refuses',
    retryAfter: 1_000,
    distribution: (mean, random) => Math.round(DISTRIBUTIONS.lognormal(mean, random)),
  })
  const limit: [number, number][] = []
  const inProgress: [number, number][] = []
  const refusals: [number, number][] = []
  const used: number[] = []
  const change = (since: number, at: number, capacity: number) => {
    // Before the change, as it goes by the capacity that there is.
    used.push(busy(since, at))
    upstream.resize(capacity)
  }
  for (let second = 0; second <= END; second += EVERY) {
    if (second === HALVED_AT) change(0, HALVED_AT, HALF)
    if (second === BACK_AT) change(HALVED_AT, BACK_AT, CAPACITY)
    const { concurrency, running } = ask.stats().queue
    limit.push([second, concurrency])
    inProgress.push([second, running])
    const interval = Math.floor(second / REFUSED_EVERY) * REFUSED_EVERY
    if (interval < END) refusals[interval / REFUSED_EVERY] ??= [interval, upstream.refused]
    await pass(EVERY)
  }
  const all = upstream.refused
  const counts = refusals.map(([at, before], i): [number, number] => [
    at,
    (refusals[i + 1]?.[1] ?? all) - before,
  ])
  const { requests } = upstream
  const found = inProgress.find(([at, running]) => at >= BACK_AT && running >= 0.8 * CAPACITY)
  used.push(busy(BACK_AT, END))
  await stop()
  const percent = used.map((share) => `${Math.round(100 * share)} %`)
  const title = 'Adaptive concurrency while the capacity halves and comes back'
  return {
    svg: svgOf(title, limit, inProgress, counts),
    caption: `Simulation: upstream handles ${CAPACITY} concurrent calls, from second ${HALVED_AT} only ${HALF}, and from second ${BACK_AT} again ${CAPACITY}. In these three phases, ${percent[0]}, ${percent[1]} and ${percent[2]} of its capacity is used. After the capacity has returned, it takes ${(found?.[0] ?? Number.NaN) - BACK_AT} s until four fifths of it are in use. Upstream refuses ${((100 * all) / requests).toFixed(1)} % of the requests.`,
  }
}

type Points = [number, number][]

function svgOf(title: string, limit: Points, inProgress: Points, refusals: Points): string {
  const x = { label: 'time (s)', most: END, step: 100 }
  const capacity: Points = [
    [0, CAPACITY],
    [HALVED_AT, CAPACITY],
    [HALVED_AT, HALF],
    [BACK_AT, HALF],
    [BACK_AT, CAPACITY],
    [END, CAPACITY],
  ]
  const above = new Panel(title, 60, 190, x, { label: 'calls at once', most: 60, step: 20 }).lines(
    { name: 'calls in progress', look: 'third', points: inProgress },
    { name: 'limit', look: 'ours', points: limit },
    { name: 'capacity', look: 'mark', points: capacity },
  )
  const most = Math.ceil(Math.max(...refusals.map(([, count]) => count)) / 10) * 10
  const below = new Panel('Refusals (429)', 352, 80, x, {
    label: `requests refused in ${REFUSED_EVERY} s`,
    most,
    step: most / 2,
  }).counts(refusals, REFUSED_EVERY)
  const description =
    'Two diagrams over 600 seconds. Above, the limit and the calls in progress follow the capacity, which falls from 40 to 20 and rises again. Below, refusals come in short bursts, most of them when the capacity has fallen.'
  return chart({ title, description, height: 488 }, above.xTicks(), below.xTicks())
}
