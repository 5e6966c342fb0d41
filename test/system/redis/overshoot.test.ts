import fc from 'fast-check'
import { createClient } from 'redis'
import { expect, it } from 'vitest'
import { base, rateLimit, stack } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { PATIENT_MS, sharedRedis } from './shared-redis.js'

const redis = sharedRedis()

/** What happens: calls at once in one process, a pause, or a process that dies and is replaced. */
type Step =
  | { readonly kind: 'calls'; readonly process: number; readonly count: number }
  | { readonly kind: 'pause'; readonly ms: number }
  | { readonly kind: 'kill'; readonly process: number }

const PROCESSES = 4
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('calls' as const),
        process: fc.nat(PROCESSES - 1),
        count: fc.integer({ min: 1, max: 60 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: fc.nat(60) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('kill' as const),
        process: fc.nat(PROCESSES - 1),
      }),
    },
  ),
  { minLength: 5, maxLength: 25 },
)

let runs = 0

/** One of several processes with a limit together. */
async function join(name: string, limit: number, exact: boolean) {
  const client = createClient({ url: redis.server.url })
  client.on('error', () => {})
  await client.connect()
  const shared = redisShared({ client, timeoutMs: PATIENT_MS })
  const requests = { limit, intervalMs: 24 * 3_600_000, burst: limit }
  const ask = stack(
    base(async (_: string) => 'answer', { name: 'ask' }),
    rateLimit({ name, requests, by: 'all', mode: 'reject', exact, shared }),
  )
  const call = () =>
    ask('Hi').then(
      () => 1,
      () => 0,
    )
  return { call, shared, kill: () => client.destroy(), alone: () => shared.stats().alone }
}

/** How many calls are let through in one schedule. */
async function admitted(schedule: readonly Step[], limit: number, exact: boolean): Promise<number> {
  const name = `limit${runs++}`
  const processes = await Promise.all(
    Array.from({ length: PROCESSES }, () => join(name, limit, exact)),
  )
  const counts: Promise<number>[] = []
  for (const step of schedule) {
    if (step.kind === 'pause') await new Promise((resolve) => setTimeout(resolve, step.ms))
    else if (step.kind === 'calls')
      for (let i = 0; i < step.count; i++) counts.push(processes[step.process]!.call())
    else {
      // A process that is dead makes no calls: those under way have ended.
      await Promise.all(counts)
      processes[step.process]!.kill()
      processes[step.process] = await join(name, limit, exact)
    }
  }
  const all = (await Promise.all(counts)).reduce((sum, one) => sum + one, 0)
  // Redis was there all the time.
  expect(processes.map(({ alone }) => alone())).toEqual(Array(PROCESSES).fill(0))
  for (const { shared, kill } of processes) {
    await shared.close()
    kill()
  }
  return all
}

it.each([
  ['an exact limit: nothing', true],
  ['a leased limit: at most a twentieth of it for each process', false],
])('is let through above %s, whoever is killed', async (_, exact) => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 120 }), async (schedule, limit) => {
      const above = exact ? 0 : PROCESSES * Math.max(1, Math.ceil(limit / 20))
      expect(await admitted(schedule, limit, exact)).toBeLessThanOrEqual(limit + above)
    }),
    { numRuns: 25 },
  )
})

it('lets everything through that the limit allows, when nobody is killed', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 120 }), async (schedule, limit) => {
      const calm = schedule.filter(({ kind }) => kind !== 'kill')
      const asked = calm.reduce((sum, step) => sum + (step.kind === 'calls' ? step.count : 0), 0)
      expect(await admitted(calm, limit, true)).toBe(Math.min(asked, limit))
    }),
    { numRuns: 15 },
  )
})
