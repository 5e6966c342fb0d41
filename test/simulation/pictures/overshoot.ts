import { now, stack, Timer } from '../../../src/core/index.js'
import { MemoryStore } from '../../../src/layers/rate-limit/memory-store.js'
import type { LimitStore } from '../../../src/layers/rate-limit/store.js'
import type { FakeClock } from '../../../src/testing/fake-clock.js'
import { FixedWindow } from '../../support/fixed-window.js'
import { recordedLimit } from '../../support/recorded-limit.js'
import { MINUTE } from '../../support/sliding-minute.js'
import { chart, type Drawn, Panel } from './chart.js'

const LIMIT = 60
const MINUTES = 5
/** Seconds. */
const [FROM, UNTIL] = [54, 210]

/** When calls begin, of ten a second that come from shortly before the edge of a minute on. */
async function begunBy(clock: FakeClock, store: LimitStore): Promise<number[]> {
  await clock.advance(MINUTE - (clock.now() % MINUTE))
  const start = clock.now()
  const begun: number[] = []
  const limit = recordedLimit({ requests: LIMIT, mode: 'reject' }, store)
  const ask = stack(async (_: number) => begun.push(now() - start), limit)
  for (let at = FROM * 1_000; at < UNTIL * 1_000; at += 100)
    new Timer(at, () => void ask(at).catch(() => {}))
  await clock.advance(MINUTES * MINUTE)
  return begun
}

/** How many of them are of the minute before each second. */
const lastMinute = (begun: readonly number[]): [number, number][] =>
  Array.from({ length: MINUTES * 60 + 1 }, (_, second) => {
    const at = second * 1_000
    return [second, begun.filter((ms) => ms <= at && ms > at - MINUTE).length]
  })

/** How far a fixed window and a bucket go beyond the limit. */
export async function drawOvershoot(clock: FakeClock): Promise<Drawn> {
  const fixed = lastMinute(await begunBy(clock, new FixedWindow()))
  const ours = lastMinute(await begunBy(clock, new MemoryStore()))
  const most = (points: [number, number][]) => Math.max(...points.map(([, count]) => count))
  const title = `Calls within a minute, by a limit of ${LIMIT}`
  const x = { label: 'time (s)', most: MINUTES * 60, step: 60 }
  const y = { label: 'calls begun in the last 60 s', most: 150, step: 30 }
  const panel = new Panel(title, 60, 220, x, y)
    .span(FROM, UNTIL, 'ten calls a second')
    .lines(
      { name: 'fixed window', look: 'other', points: fixed },
      { name: 'rateLimit()', look: 'ours', points: ours },
      {
        name: 'limit',
        look: 'mark',
        points: [
          [0, LIMIT],
          [MINUTES * 60, LIMIT],
        ],
      },
    )
    .xTicks()
  return {
    svg: chart(
      {
        title,
        description: `Two lines over five minutes, in which ten calls a second come from second ${FROM} to ${UNTIL}. By a fixed window up to ${most(fixed)} calls begin within a minute, by rateLimit() up to ${most(ours)}.`,
        height: 336,
      },
      panel,
    ),
    caption: `Simulation: ten calls per second arrive, beginning six seconds before a full minute. With a limit of ${LIMIT} per minute, a fixed window lets ${most(fixed)} of them through within one minute, and \`rateLimit()\` ${most(ours)}.`,
  }
}
