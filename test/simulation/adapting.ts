import { stack } from '../../src/core/index.js'
import { queue } from '../../src/layers/queue/index.js'
import type { FakeClock } from '../../src/testing/fake-clock.js'
import { randomFrom } from '../../src/testing/random.js'
import { Callers } from './callers.js'
import { DISTRIBUTIONS, SimulatedUpstream, type UpstreamOptions } from './upstream.js'

const MEAN_MS = 2_000

/** Callers without end before a queue that adapts, before an upstream. */
export function adapting(
  clock: FakeClock,
  options: Partial<UpstreamOptions> & Pick<UpstreamOptions, 'capacity' | 'excess'>,
) {
  const random = randomFrom(7)
  const upstream = new SimulatedUpstream({
    meanMs: MEAN_MS,
    distribution: DISTRIBUTIONS.lognormal,
    random,
    ...options,
  })
  const ask = stack(upstream.answer, queue({ concurrency: 'adaptive' }))
  const callers = new Callers(ask).keep(300)
  const start = clock.now()
  /** Lets seconds pass. */
  const pass = (seconds: number) => clock.advance(seconds * 1_000)
  /** Which part of what upstream could do it has done between two seconds from the start. */
  const busy = (from: number, until: number) =>
    upstream.busyFrom(start + from * 1_000, start + until * 1_000)
  const stop = async () => {
    callers.stop()
    await clock.advance(100_000)
  }
  return { upstream, ask, pass, busy, stop, limit: () => ask.stats().queue.concurrency }
}
