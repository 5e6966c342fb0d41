import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MINIMIZE_MS, useHistoryClock } from '../support/history-clock.js'
import type { Watched } from '../support/history-layers.js'
import type { Kind } from '../support/history-plans.js'
import { type Recorded, record } from '../support/history-run.js'
import { catchWarningsInEachTest } from '../support/warnings.js'
import { wrongs } from './all-invariants.js'
import { plan } from './plans.js'

const clock = useHistoryClock()
catchWarningsInEachTest()

/** What must have happened in some of the histories, or they were not worth having. */
function happenedIn({ plan, watched, atRest, called, served }: Recorded): string[] {
  const count = (kind: Kind, field: string): number =>
    watched.reduce(
      (sum, layer) => sum + (layer.plan.kind === kind ? Number(atRest[layer.name]?.[field]) : 0),
      0,
    )
  const isSlow = ({ plan: { kind, options } }: Watched) =>
    kind === 'breaker' && options.slowMs !== undefined
  const adapts = ({ plan: { kind, options } }: Watched) =>
    kind === 'queue' && typeof options.concurrency === 'object'
  const all: Record<string, boolean> = {
    'a caller left': called.some(({ aborted }) => aborted !== undefined),
    'the stack closed': plan.close !== undefined,
    'the cache was cleared': plan.clearAtMs !== undefined,
    'upstream named a time': served.some(({ behaviour }) => behaviour.retryAfter !== undefined),
    'a retry was made': count('retry', 'retries') > 0,
    'a breaker opened': count('breaker', 'opened') > 0,
    'a call was slow': watched.some(isSlow) && count('breaker', 'slow') > 0,
    'a concurrency adapted': watched.some(adapts) && count('queue', 'completed') > 0,
    'a call waited for a limit': watched.some(({ plan: { kind }, inside }) =>
      inside.some((one) => kind === 'rateLimit' && one.began.at > Number(one.from?.began.at)),
    ),
    'a limit refused a call': count('rateLimit', 'rejected') > 0,
    'a candidate answered': count('fallback', 'used') > 0,
    'no candidate answered': count('fallback', 'exhausted') > 0,
    'a second try won': count('hedge', 'won') > 0,
    'a second try lost': count('hedge', 'lost') > 0,
    'a second try was refused': count('hedge', 'refused') > 0,
  }
  return Object.keys(all).filter((name) => all[name])
}

const ALL = [
  'a breaker opened',
  'a call waited for a limit',
  'a call was slow',
  'a caller left',
  'a candidate answered',
  'a concurrency adapted',
  'a limit refused a call',
  'a retry was made',
  'a second try lost',
  'a second try was refused',
  'a second try won',
  'no candidate answered',
  'the cache was cleared',
  'the stack closed',
  'upstream named a time',
]

describe('stack', () => {
  it(
    'keeps every invariant in random storms around random layers in random order',
    async () => {
      const unhandled: unknown[] = []
      const happened = new Set<string>()
      const onUnhandled = (reason: unknown) => unhandled.push(reason)
      process.on('unhandledRejection', onUnhandled)
      try {
        await fc.assert(
          fc.asyncProperty(plan(), async (storm) => {
            const history = await record(storm, clock)
            expect(wrongs(history)).toEqual([])
            expect(unhandled).toEqual([])
            for (const one of happenedIn(history)) happened.add(one)
          }),
          { numRuns: 150 },
        )
        expect([...happened].sort()).toEqual(ALL)
      } finally {
        process.off('unhandledRejection', onUnhandled)
      }
    },
    MINIMIZE_MS,
  )
})
