import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join as pathOf } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { onEvent, queue, type StackEvent, stack } from '../../../src/index.js'
import type { QueueOptions } from '../../../src/layers/queue/index.js'
import { type Gate, gate } from '../../support/gate.js'
import { type Watched, watch } from '../../support/watch.js'
import { eventually, PATIENT_MS, sharedRedis, TIMEOUT_MS } from './shared-redis.js'
import { shortLeases } from './short-leases.js'

const redis = sharedRedis()

/** One of several processes: a queue around work that the test ends. */
function around(
  shared: QueueOptions['shared'],
  options: QueueOptions = {},
  begins: () => void = () => {},
) {
  const works: Gate<string>[] = []
  const layer = queue({ concurrency: 4, ...options, shared })
  const ask = stack((_?: string) => {
    begins()
    const work = gate<string>()
    works.push(work)
    return work.promise
  }, layer)
  const calls: Watched<string>[] = []
  const call = (times = 1) => {
    for (let i = 0; i < times; i++) calls.push(watch(ask()))
  }
  /** Ends the first ones. */
  const end = (times = works.length) => {
    for (const work of works.splice(0, times)) work.open('answer')
  }
  return { layer, ask, call, calls, end, stats: () => ask.stats().queue }
}

type Process = ReturnType<typeof around>

async function join(options?: QueueOptions, timeoutMs = PATIENT_MS) {
  const shared = redis.open({ timeoutMs })
  await eventually(() => shared.stats().operations).toBeGreaterThan(0)
  return { shared, ...around(shared, options) }
}

/** So many processes that hear each other. */
const joinAll = (count: number, options?: QueueOptions, timeoutMs?: number) =>
  redis.joined(count, () => join(options, timeoutMs))

/** Calls until Redis is asked: before, each process begins by itself. */
async function untilShared({ ask, end }: Process) {
  let isAlone = true
  while (isAlone) {
    const meta = new Map<string, unknown>()
    const call = ask(undefined, { meta })
    await eventually(() => ask.stats().queue.running, { interval: 1 }).toBe(1)
    end()
    await call
    isAlone = (meta.get('queue') as { alone?: true }).alone === true
  }
}

const running = (all: readonly Process[]) =>
  all.reduce((sum, { stats }) => sum + stats().running, 0)
const slots = () => redis.client.zCard('blossom:slots:{queue}')

/** Ends all calls as they come, until none is left. */
async function endAll(all: readonly Process[]) {
  await eventually(
    () => {
      for (const { end } of all) end()
      return all.map(({ stats }) => stats().running + stats().waiting)
    },
    { timeout: 20_000, interval: 5 },
  ).toEqual(all.map(() => 0))
}

describe('slots that several processes share', () => {
  it('are as many as one process would have, and each that is freed is used within moments', async () => {
    const all = await joinAll(3)
    for (const { call } of all) call(5)
    await eventually(() => running(all)).toBe(4)
    expect(await slots()).toBe(4)
    const waits: number[] = []
    for (let left = 15; left > 4; left--) {
      const since = performance.now()
      all.find(({ stats }) => stats().running > 0)!.end(1)
      await eventually(() => all.reduce((sum, { stats }) => sum + stats().waiting, 0), {
        interval: 1,
      }).toBe(left - 5)
      waits.push(performance.now() - since)
    }
    // Told, and not found by looking every 250 ms.
    expect(waits.toSorted((a, b) => a - b)[Math.floor(waits.length / 2)]).toBeLessThan(100)
    await endAll(all)
    await eventually(slots).toBe(0)
    expect(all.flatMap(({ calls }) => calls.map(({ value }) => value))).toEqual(
      Array(15).fill('answer'),
    )
  })

  it('cost one command before a call begins and one after it', async () => {
    const one = await join()
    one.call()
    await eventually(() => one.stats().running).toBe(1)
    one.end()
    await eventually(slots).toBe(0)
    await redis.client.configResetStat()
    for (let i = 0; i < 10; i++) {
      one.call()
      await eventually(() => one.stats().running, { interval: 1 }).toBe(1)
      one.end()
      await eventually(() => one.stats().running, { interval: 1 }).toBe(0)
    }
    await eventually(slots).toBe(0)
    const said = await redis.client.info('commandstats')
    expect(said).toMatch(/cmdstat_evalsha:calls=20,/)
  })

  it('are taken in turns, so that a process with many calls does not keep another out', async () => {
    const order: number[] = []
    const all = [1, 2].map((which) =>
      around(
        redis.open({ timeoutMs: PATIENT_MS }),
        { concurrency: 1 },
        () => void order.push(which),
      ),
    )
    const [one, two] = all
    for (const process of all) await untilShared(process)
    one!.call(50)
    await eventually(() => one!.stats().running).toBe(1)
    two!.call(5)
    await eventually(() => two!.stats().waiting).toBe(5)
    order.splice(0)
    await eventually(
      () => {
        for (const { end } of all) end()
        return order.length
      },
      { interval: 1 },
    ).toBeGreaterThanOrEqual(12)
    // Once both are in the line, and while both have calls waiting, neither begins two in a row.
    const since = order.indexOf(2)
    expect(since).toBeLessThanOrEqual(2)
    expect(order.slice(since, since + 9)).toEqual([2, 1, 2, 1, 2, 1, 2, 1, 2])
    await endAll(all)
  })

  it('never exceed their number and are all freed, whatever calls arrive, end and leave', async () => {
    const step = fc.record({
      after: fc.integer({ min: 0, max: 4 }),
      process: fc.integer({ min: 0, max: 2 }),
      takes: fc.integer({ min: 0, max: 12 }),
      leavesAfter: fc.option(fc.integer({ min: 0, max: 12 }), { nil: undefined }),
      priority: fc.integer({ min: 0, max: 1 }),
      tenant: fc.constantFrom(undefined, 'a', 'b'),
    })
    const schedule = fc.record({
      concurrency: fc.integer({ min: 1, max: 4 }),
      steps: fc.array(step, { minLength: 1, maxLength: 40 }),
    })
    const shareds = [1, 2, 3].map(() => redis.open({ timeoutMs: PATIENT_MS }))
    let round = 0
    await fc.assert(
      fc.asyncProperty(schedule, async ({ concurrency, steps }) => {
        const name = `queue${++round}`
        let now = 0
        let most = 0
        const stacks = shareds.map((shared) =>
          stack(async (takes: number) => {
            most = Math.max(most, ++now)
            await sleep(takes)
            now--
          }, queue({ concurrency, shared, name })),
        )
        const calls: Promise<unknown>[] = []
        for (const { after, process, takes, leavesAfter, ...options } of steps) {
          if (after > 0) await sleep(after)
          const signal = leavesAfter === undefined ? undefined : AbortSignal.timeout(leavesAfter)
          calls.push(stacks[process]!(takes, { ...options, signal }).catch(() => {}))
        }
        await Promise.all(calls)
        expect(most).toBeLessThanOrEqual(concurrency)
        await eventually(() => redis.client.zCard(`blossom:slots:{${name}}`)).toBe(0)
        for (const { stats } of stacks)
          expect(Object.values(stats())[0]).toMatchObject({ running: 0, waiting: 0 })
      }),
      { numRuns: 40, endOnFailure: true },
    )
    expect(shareds.map((shared) => shared.stats().alone)).toEqual([0, 0, 0])
  })

  it('are freed when the process that holds them is killed, and not before', async () => {
    const holder = spawn(
      process.execPath,
      [
        '--import',
        'tsx',
        pathOf(import.meta.dirname, 'slot-holder.ts'),
        ...[redis.server.url, '1500', '3', '2'],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    onTestFinished(() => void holder.kill('SIGKILL'))
    await once(holder.stdout, 'data')
    const shared = shortLeases(redis.server.url, 1_500)
    const one = around(shared, { concurrency: 3 })
    await untilShared(one)
    one.call(3)
    // Renewed for as long as it lives.
    await sleep(3_000)
    expect(one.stats()).toMatchObject({ running: 1, waiting: 2 })
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    const since = performance.now()
    await eventually(() => one.stats().running, { interval: 5 }).toBe(3)
    // A lease that was renewed just before, the next look, and a machine with other things to do.
    expect(performance.now() - since).toBeLessThan(1_500 + 250 + 2_000)
    await endAll([one])
    shared.close()
  })

  it('are freed as soon as a stack closes', async () => {
    const [one, two] = await joinAll(2, { concurrency: 1 })
    one!.call(2)
    await eventually(() => one!.stats().running).toBe(1)
    two!.call()
    await eventually(() => two!.stats().waiting).toBe(1)
    await one!.ask.close({ timeoutMs: 0 })
    expect(one!.calls.map(({ error }) => error)).toMatchObject([
      { code: 'CLOSED' },
      { code: 'CLOSED' },
    ])
    // It heeds no signal.
    one!.end()
    await eventually(() => one!.stats().running).toBe(0)
    await one!.shared.close()
    await eventually(() => two!.stats().running).toBe(1)
    await endAll([two!])
    await eventually(slots).toBe(0)
  })

  it('leave only expiring data in Redis', async () => {
    const [one, two] = await joinAll(2, { concurrency: 1 })
    for (const { call } of [one!, two!]) call(2)
    await eventually(() => redis.client.keys('*:slots:*')).toHaveLength(3)
    for (const key of await redis.client.keys('*'))
      expect(await redis.client.pTTL(key)).not.toBe(-1)
    await endAll([one!, two!])
    await eventually(() => redis.client.keys('*')).toEqual([])
  })
})

describe('shared slots whose Redis fails', () => {
  it('are divided among the processes while Redis is gone, and shared again when it is back', async () => {
    const all = await joinAll(2, {}, TIMEOUT_MS)
    const [one, two] = all
    one!.call(1)
    await eventually(() => running(all)).toBe(1)
    await redis.server.kill()
    const events: StackEvent[] = []
    const stop = onEvent((event) => void (event.type === 'alone' && events.push(event)))
    one!.call(5)
    two!.call(5)
    await eventually(() => all.map(({ stats }) => stats().running)).toEqual([2, 2])
    expect(events).toMatchObject(Array(3).fill({ layer: 'queue' }))
    // One that ends makes room for the next at once, also without Redis.
    two!.end(1)
    await eventually(() => two!.stats().completed + two!.stats().running).toBe(3)
    stop()
    await redis.server.start()
    // All that run are known again, those that began alone among them.
    await eventually(slots, { timeout: 30_000 }).toBe(4)
    expect(running(all)).toBe(4)
    two!.end(2)
    await eventually(() => running(all)).toBe(4)
    await eventually(slots).toBe(4)
    await endAll(all)
    await eventually(slots).toBe(0)
  })

  it('keep no call for longer than the limit of an operation while it is frozen, and none is lost', async () => {
    const one = await join({ concurrency: 6 }, TIMEOUT_MS)
    one.call(2)
    await eventually(() => one.stats().running).toBe(2)
    redis.server.freeze()
    const since = performance.now()
    one.call(2)
    await eventually(() => one.stats().running, { interval: 5 }).toBe(4)
    expect(performance.now() - since).toBeLessThan(1_000)
    one.call(1)
    await eventually(() => one.shared.stats().failures).toBeGreaterThanOrEqual(3)
    await eventually(() => one.stats().running).toBe(5)
    // Given back while Redis is not even asked.
    const { operations } = one.shared.stats()
    one.end()
    await eventually(() => one.stats().running).toBe(0)
    expect(one.shared.stats().operations).toBe(operations)
    redis.server.thaw()
    await eventually(slots, { timeout: 15_000 }).toBe(0)
    await eventually(
      async () => {
        const { alone } = one.shared.stats()
        one.call()
        await eventually(() => one.stats().running).toBe(1)
        one.end()
        await eventually(() => one.stats().running).toBe(0)
        return one.shared.stats().alone - alone
      },
      { timeout: 20_000, interval: 200 },
    ).toBe(0)
    await eventually(slots).toBe(0)
  })

  it('are soon restored after Redis is wiped', async () => {
    const shared = shortLeases(redis.server.url, 1_500)
    const one = around(shared)
    await untilShared(one)
    one.call(3)
    await eventually(() => one.stats().running).toBe(3)
    await redis.client.flushAll()
    await eventually(slots).toBe(3)
    await endAll([one])
    await eventually(slots).toBe(0)
    shared.close()
  })
})
