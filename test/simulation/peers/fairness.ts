import Bottleneck from 'bottleneck'
import { bulkhead } from 'cockatiel'
import pLimit from 'p-limit'
import { Cancel, stack } from '../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../src/layers/queue/index.js'
import { Callers, evenness } from '../callers.js'
import { DISTRIBUTIONS, SimulatedUpstream, type UpstreamOptions } from '../upstream.js'
import { simulated, type World } from './world.js'

/** Calls in progress at once. */
const SLOTS = 5
/** Tenants, one of them with many calls waiting and the others with a few. */
const TENANTS = 10
const MANY = 500
const FEW = 10

/** Runs a tenant's work when its turn has come. */
type Queued = (work: () => Promise<unknown>, tenant: string) => Promise<unknown>

const ours = (options: QueueOptions): Queued => {
  const ask = stack(
    (work: () => Promise<unknown>) => work(),
    queue({ maxWaiting: 10_000, ...options }),
  )
  return (work, tenant) => ask(work, { tenant })
}

/** A limiter for each tenant, all of them in front of one for all. */
function byTenant(each: number, slots: number): Queued {
  const all = new Bottleneck({ maxConcurrent: slots })
  const group = new Bottleneck.Group({ maxConcurrent: each })
  group.on('created', (limiter) => limiter.chain(all))
  return (work, tenant) => group.key(tenant).schedule(work)
}

const limitedBy = (slots: number): Queued => {
  const limit = pLimit(slots)
  return (work) => limit(work)
}

/** Those who bound the calls in progress, by their names in the table. */
export const queues: Readonly<Record<string, () => Queued>> = {
  '**`queue`**': () => ours({ concurrency: SLOTS }),
  '**`queue`**, `fairness: false`': () => ours({ concurrency: SLOTS, fairness: false }),
  '`pLimit(5)`': () => limitedBy(SLOTS),
  '`bulkhead(5, 10000)`': () => {
    const policy = bulkhead(SLOTS, 10_000)
    return (work) => policy.execute(work)
  },
  '`Bottleneck`, `maxConcurrent: 5`': () => {
    const limiter = new Bottleneck({ maxConcurrent: SLOTS })
    return (work) => limiter.schedule(work)
  },
  '`Bottleneck.Group` of 5 each': () => {
    const group = new Bottleneck.Group({ maxConcurrent: SLOTS })
    return (work, tenant) => group.key(tenant).schedule(work)
  },
  '`Bottleneck.Group` of 5 each, chained to one of 5': () => byTenant(SLOTS, SLOTS),
  '`Bottleneck.Group` of 1 each, chained to one of 5': () => byTenant(1, SLOTS),
}

/** Tenants before a queue, before an upstream that takes any number of calls. */
function tenantsOf({ random }: World, queued: Queued) {
  const upstream = new SimulatedUpstream({
    capacity: Number.POSITIVE_INFINITY,
    excess: 'queues',
    meanMs: 1_000,
    distribution: DISTRIBUTIONS.lognormal,
    random,
  })
  const all: Callers[] = []
  const keep = (tenant: string, calls: number) => {
    const callers = new Callers(() =>
      queued(() => upstream.answer({}, { cancel: new Cancel() }), tenant),
    ).keep(calls)
    all.push(callers)
    return callers
  }
  const stop = () => {
    for (const callers of all) callers.stop()
  }
  return { upstream, keep, stop }
}

/** How many calls end until a newcomer's first one begins, in the worst of ten cases. */
const untilNewcomer = (make: () => Queued) =>
  simulated(async (world) => {
    const queued = make()
    const { upstream, keep, stop } = tenantsOf(world, queued)
    keep('deep', MANY)
    for (let i = 2; i < TENANTS; i++) keep(`tenant ${i}`, FEW)
    await world.clock.advance(20_000)
    let most = 0
    for (let i = 0; i < 10; i++) {
      const before = upstream.ends.length
      let after: number | undefined
      const newcomer = queued(() => {
        after = upstream.ends.length
        return upstream.answer({}, { cancel: new Cancel() })
      }, `newcomer ${i}`)
      while (after === undefined) await world.clock.advance(1_000)
      most = Math.max(most, after - before)
      await world.clock.advance(10_000)
      await newcomer
    }
    stop()
    return most
  })

/** What equal tenants get who ask for different numbers of calls at once. */
const shares = (make: () => Queued) =>
  simulated(async (world) => {
    const { upstream, keep, stop } = tenantsOf(world, make())
    const all = [keep('deep', MANY)]
    for (let i = 1; i < TENANTS; i++) all.push(keep(`tenant ${i}`, FEW))
    await world.clock.advance(120_000)
    stop()
    return { index: evenness(all.map((one) => one.completed)), most: upstream.mostInProgress }
  })

/** How many of the slots a tenant has in use who is alone. */
const alone = (make: () => Queued) =>
  simulated(async (world) => {
    const { upstream, keep, stop } = tenantsOf(world, make())
    keep('only', MANY)
    await world.clock.advance(60_000)
    stop()
    return upstream.inProgress
  })

/** How tenants fare in a queue. */
export async function fairnessFigures(name: string) {
  const make = queues[name] as () => Queued
  return {
    newcomer: await untilNewcomer(make),
    ...(await shares(make)),
    alone: await alone(make),
  }
}

/** Those before an upstream of which nobody knows how much it takes. */
export const guesses: Readonly<Record<string, () => Queued>> = {
  "**`queue`**, `concurrency: 'adaptive'`": () => ours({ concurrency: 'adaptive' }),
  '**`queue`**, `concurrency: 16`': () => ours({ concurrency: 16 }),
  '`pLimit(16)`': () => limitedBy(16),
  '`bulkhead(16, 10000)`': () => {
    const policy = bulkhead(16, 10_000)
    return (work) => policy.execute(work)
  },
}

/** Two hundred callers before an upstream: how busy they keep it, and what it refuses. */
const guess = (make: () => Queued, options: Pick<UpstreamOptions, 'capacity' | 'excess'>) =>
  simulated(async ({ clock, random }) => {
    const queued = make()
    const upstream = new SimulatedUpstream({
      meanMs: 2_000,
      distribution: DISTRIBUTIONS.lognormal,
      random,
      ...options,
    })
    const callers = new Callers(() =>
      queued(() => upstream.answer({}, { cancel: new Cancel() }), 'only'),
    ).keep(200)
    await clock.advance(60_000)
    const start = clock.now()
    await clock.advance(600_000)
    callers.stop()
    return {
      busy: upstream.busyFrom(start, clock.now()),
      refused: upstream.refused / upstream.requests,
    }
  })

/** How near each comes to an upstream's capacity without knowing it. */
export async function guessFigures(name: string) {
  const make = guesses[name] as () => Queued
  return {
    small: await guess(make, { capacity: 8, excess: 'refuses' }),
    large: await guess(make, { capacity: 64, excess: 'refuses' }),
  }
}
