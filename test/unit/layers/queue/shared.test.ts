import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type CallOptions,
  type LayerOf,
  onEvent,
  type StackEvent,
  stack,
} from '../../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../../src/layers/queue/index.js'
import { type Gate, gate } from '../../../support/gate.js'
import { type Process, Service, type Way } from '../../../support/shared-service.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, type Watched, watch } from '../../../support/watch.js'

const stops: (() => void)[] = []

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  for (const stop of stops.splice(0)) stop()
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

/** One of several processes: a queue around work that the test ends one by one. */
function joined(service: Service, options: QueueOptions = {}) {
  const process = service.join()
  const works = new Map<string, Gate<string>>()
  const started: string[] = []
  const layer = queue({ concurrency: 2, ...options, shared: process })
  const ask = stack(
    base(
      (request: string) => {
        const work = gate<string>()
        works.set(request, work)
        started.push(request)
        return work.promise
      },
      { model: (request) => request.slice(0, 1) },
    ),
    layer,
  )
  const end = async (...requests: string[]) => {
    for (const request of requests) works.get(request)!.open(`answer to ${request}`)
    await tick()
  }
  const call = (request: string, more?: CallOptions) => watch(ask(request, more))
  const { asked } = process
  return { process, asked, layer, ask, call, end, works, started, stats: () => ask.stats().queue }
}

function two(options: QueueOptions = {}, way?: Way) {
  const service = new Service(way)
  const [one, other] = [joined(service, options), joined(service, options)]
  return { service, one, other, taken: () => service.slots.get('queue')!.size }
}

/** A way that a test opens, ask by ask. */
function held() {
  const asks: Gate[] = []
  const way = () => {
    const ask = gate()
    asks.push(ask)
    return ask.promise
  }
  const open = async () => {
    asks.shift()!.open()
    await tick()
  }
  return { way, open, asks }
}

describe('slots of several processes', () => {
  it('are as many as one process would have', async () => {
    const { one, other, taken } = two()
    one.call('a')
    other.call('b')
    other.call('c')
    one.call('d')
    await tick()
    expect([one.started, other.started]).toEqual([['a'], ['b']])
    expect([one, other].map(({ stats }) => stats())).toMatchObject(
      Array(2).fill({ concurrency: 2, running: 1, waiting: 1 }),
    )
    await one.end('a')
    expect(one.started.length + other.started.length).toBe(3)
    await other.end('b')
    await other.end('c')
    await one.end('d')
    expect(taken()).toBe(0)
    expect([one, other].map(({ stats }) => stats().completed)).toEqual([2, 2])
  })

  it('are asked for once by a call that finds one', async () => {
    const { one } = two()
    one.call('a')
    await tick()
    expect(one.started).toEqual(['a'])
    expect(one.asked).toEqual(['take for 0'])
    await one.end('a')
    expect(one.asked).toEqual(['take for 0', 'give back'])
  })

  it('go to the processes in turns, however many calls one of them has waiting', async () => {
    const { one, other } = two({ concurrency: 1 })
    for (let i = 0; i < 10; i++) one.call(`${i}`)
    await tick()
    other.call('a')
    await tick()
    await one.end('0')
    expect([one.started, other.started]).toEqual([['0'], ['a']])
    other.call('b')
    await other.end('a')
    expect([one.started, other.started]).toEqual([['0', '1'], ['a']])
    await one.end('1')
    await other.end('b')
    expect([one.started, other.started]).toEqual([
      ['0', '1', '2'],
      ['a', 'b'],
    ])
    for (let i = 2; i < 10; i++) await one.end(`${i}`)
  })

  it('go to whoever is next in their process by then, by priority and tenant', async () => {
    const { way, open } = held()
    const { one } = two({ concurrency: 1 }, way)
    one.call('a')
    await open()
    for (const [request, priority] of [
      ['b', 0],
      ['c', 1],
    ] as const)
      one.call(request, { priority })
    await one.end('a')
    one.call('d', { priority: 2 })
    while (one.started.length < 2) await open()
    expect(one.started).toEqual(['a', 'd'])
    await one.end('d')
    while (one.started.length < 3) await open()
    await one.end('c')
    while (one.started.length < 4) await open()
    await one.end('b')
    expect(one.started).toEqual(['a', 'd', 'c', 'b'])
  })

  it('take no call that may not wait into the line, and tell it so after one ask', async () => {
    const { one, other, taken } = two({ concurrency: 1, maxWaiting: 0 })
    one.call('a')
    await tick()
    expect(await failure(other.ask('b'))).toMatchObject({ code: 'QUEUE_FULL' })
    expect(other.asked).toEqual(['take for 0'])
    await one.end('a')
    expect(taken()).toBe(0)
    other.call('c')
    await tick()
    expect(other.started).toEqual(['c'])
    await other.end('c')
  })

  it('are looked for at least four times a second while calls wait, if nobody tells', async () => {
    const { service, one, other } = two({ concurrency: 1 })
    one.call('a')
    await tick()
    other.call('b')
    await tick()
    // As when a process was killed and its lease has ended.
    service.slots.get('queue')!.clear()
    await tick(249)
    expect(other.started).toEqual([])
    await tick(1)
    expect(other.started).toEqual(['b'])
    await one.end('a')
    await other.end('b')
  })

  it('are more or less when set() says so', async () => {
    const { one, other } = two({ concurrency: 1 })
    one.call('a')
    await tick()
    other.call('b')
    await tick()
    other.layer.set({ concurrency: 2 })
    await tick(250)
    expect(other.started).toEqual(['b'])
    await other.end('b')
    await one.end('a')
  })

  it('stay free while upstream asks for a pause', async () => {
    const { one, other, taken } = two()
    one.call('a')
    await tick()
    one.works.get('a')!.fail(upstreamError('RATE_LIMITED', { retryAfter: 2_000 }))
    await tick()
    one.call('b')
    await tick(1_000)
    expect(taken()).toBe(0)
    for (const request of ['c', 'd']) other.call(request)
    await tick()
    expect(other.started).toEqual(['c', 'd'])
    await other.end('c', 'd')
    await tick(1_000)
    expect(one.started).toEqual(['a', 'b'])
    await one.end('b')
  })

  it('wait at the gate of a model without one', async () => {
    const { one, taken } = two({ gate: 'model' })
    one.call('a')
    await tick()
    one.works.get('a')!.fail(upstreamError('RATE_LIMITED', { retryAfter: 2_000 }))
    await tick()
    one.call('a again')
    one.call('b')
    await tick()
    expect(one.started).toEqual(['a', 'b'])
    expect(taken()).toBe(1)
    await tick(2_000)
    expect(one.started).toEqual(['a', 'b', 'a again'])
    await one.end('b', 'a again')
    expect(taken()).toBe(0)
  })

  it('need a number as concurrency', () => {
    const service = new Service()
    for (const concurrency of ['adaptive', { max: 5 }] as const)
      expect(() => joined(service, { concurrency })).toThrow(
        'queue: with "shared" option "concurrency" must be a number.',
      )
    const { layer } = joined(service)
    expect(() => layer.set({ concurrency: 'adaptive' })).toThrow('must be a number')
    expect(layer.stats().concurrency).toBe(2)
  })
})

describe('a call that leaves', () => {
  it('while its slot is asked for, rejects at once, and the slot goes back', async () => {
    const { way, open } = held()
    const { one, taken } = two({}, way)
    const caller = new AbortController()
    const call = one.call('a', { signal: caller.signal })
    caller.abort(new Error('the caller left'))
    await tick()
    expect(call.error).toMatchObject({ message: 'the caller left' })
    expect(one.stats()).toMatchObject({ running: 0, waiting: 0, rejected: 1 })
    await open()
    expect(taken()).toBe(0)
    expect(one.asked).toEqual(['take for 0', 'give back'])
  })

  it('while its slot is asked for, leaves it to one that has come after it', async () => {
    const { way, open } = held()
    const { one, taken } = two({ concurrency: 1 }, way)
    const caller = new AbortController()
    one.call('a', { signal: caller.signal })
    one.call('b')
    caller.abort()
    await open()
    expect(one.started).toEqual(['b'])
    await open()
    await one.end('b')
    expect(taken()).toBe(0)
  })

  it('while it waits for its turn, takes its process out of the line', async () => {
    const { one, other, taken } = two({ concurrency: 1 })
    one.call('a')
    await tick()
    const caller = new AbortController()
    other.call('b', { signal: caller.signal })
    await tick()
    caller.abort()
    await tick()
    expect(other.asked).toContain('leave')
    await one.end('a')
    one.call('c')
    await tick()
    expect(one.started).toEqual(['a', 'c'])
    await one.end('c')
    expect(taken()).toBe(0)
  })

  it('in time for its deadline is told so, whether it asks or waits', async () => {
    const { way, open } = held()
    const { one, taken } = two({ concurrency: 1 }, way)
    const asking = one.call('a', { timeoutMs: 50 })
    await tick(50)
    expect(asking.error).toMatchObject({ code: 'TIMEOUT', phase: 'queue' })
    await open()
    expect(taken()).toBe(0)
  })

  it('as its stack closes is refused at once, and slots go back', async () => {
    const { way, open, asks } = held()
    const { one, other, taken } = two({ concurrency: 1 }, way)
    other.call('a')
    await open()
    // One waits, with an ask under way, and another has just come.
    const waiting = one.call('b')
    await open()
    await other.end('a')
    const asking = other.call('c')
    const closed = Promise.all([one, other].map(({ ask }) => ask.close()))
    await tick()
    expect([waiting, asking].map(({ error }) => error)).toMatchObject(
      Array(2).fill({ code: 'CLOSED' }),
    )
    await closed
    while (asks.length > 0) await open()
    expect(taken()).toBe(0)
    expect([one, other].map(({ started }) => started)).toEqual([[], ['a']])
  })
})

describe('a process alone', () => {
  it('has its part of the slots, at least one, and says so', async () => {
    const { one, other } = two({ concurrency: 5 })
    one.process.isThere = false
    const events: StackEvent[] = []
    stops.push(onEvent((event) => void (event.type === 'alone' && events.push(event))))
    const meta = new Map<string, unknown>()
    one.call('a', { meta })
    for (const request of ['b', 'c']) one.call(request)
    await tick()
    expect(one.started).toEqual(['a', 'b'])
    expect(meta.get('queue')).toMatchObject({ alone: true })
    expect(events).toMatchObject(Array(2).fill({ layer: 'queue' }))
    await one.end('a')
    expect(one.started).toEqual(['a', 'b', 'c'])
    await one.end('b', 'c')
    other.layer.set({ concurrency: 1 })
    other.process.isThere = false
    for (const request of ['d', 'e']) other.call(request)
    await tick(1_000)
    expect(other.started).toEqual(['d'])
    await other.end('d')
    await other.end('e')
  })

  it('gives back what it may have taken without being told so', async () => {
    const { one, other, taken } = two()
    one.process.losesReplies = true
    one.call('a')
    one.call('b')
    await tick()
    // Its part is one of two.
    expect(one.started).toEqual(['a'])
    expect(taken()).toBe(1)
    other.call('c')
    await tick()
    expect(other.started).toEqual(['c'])
    one.process.losesReplies = false
    await other.end('c')
    await tick(250)
    await one.end('a')
    await one.end('b')
    expect(taken()).toBe(0)
  })

  it('waits for the others when it is back', async () => {
    const { one, other } = two()
    one.process.isThere = false
    one.call('a')
    await tick()
    one.call('b')
    await tick()
    other.call('c')
    other.call('d')
    await tick()
    one.process.isThere = true
    await one.end('a')
    await tick(1_000)
    expect(one.started).toEqual(['a'])
    await other.end('c')
    expect(one.started).toEqual(['a', 'b'])
    await one.end('b')
    await other.end('d')
  })
})

describe('an outage', () => {
  it('leaves each process its part until all calls of all are known again, and then everything', async () => {
    const { one, other } = two({ concurrency: 4 })
    one.process.isThere = other.process.isThere = false
    for (const request of ['a', 'b', 'c', 'd']) one.call(request)
    await tick(1_000)
    expect(one.started).toEqual(['a', 'b'])
    one.process.isThere = other.process.isThere = true
    await tick(5_900)
    // Nobody knows that the other one has none.
    expect(one.started).toEqual(['a', 'b'])
    // One that ends still makes room for the next.
    await one.end('a')
    expect(one.started).toEqual(['a', 'b', 'c'])
    await tick(1_000)
    expect(one.started).toEqual(['a', 'b', 'c', 'd'])
    await one.end('b', 'c', 'd')
  })

  it('is not one answer that was missed', async () => {
    const { one } = two({ concurrency: 4 })
    one.process.isThere = false
    one.call('a')
    await tick()
    one.process.isThere = true
    for (const request of ['b', 'c', 'd']) one.call(request)
    await tick()
    expect(one.started).toEqual(['a', 'b', 'c', 'd'])
    await one.end('a', 'b', 'c', 'd')
  })
})

describe('a call that runs only if that is possible at once', () => {
  it('is asked for once, and refused without a wait', async () => {
    const service = new Service()
    const one = joined(service, { concurrency: 1 })
    const layer = queue({ concurrency: 1, shared: service.join() })
    const optional: LayerOf<string, string> = (next) => (request, context) =>
      next(request, context.derive({ optional: true }))
    const ask = stack(async (request: string) => `answer to ${request}`, optional, layer)
    expect(await ask('a')).toBe('answer to a')
    one.call('b')
    await tick()
    expect(await failure(ask('c'))).toMatchObject({ code: 'QUEUE_FULL', refused: true })
    expect(layer.stats()).toMatchObject({ running: 0, waiting: 0, completed: 1, rejected: 1 })
    await one.end('b')
  })
})

describe('any schedule', () => {
  const step = fc.record({
    after: fc.integer({ min: 0, max: 40 }),
    process: fc.integer({ min: 0, max: 2 }),
    tenant: fc.constantFrom(undefined, 'a', 'b'),
    priority: fc.integer({ min: 0, max: 1 }),
    takes: fc.integer({ min: 0, max: 60 }),
    leavesAfter: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
    timeoutMs: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    fails: fc.boolean(),
  })
  const schedule = fc.record({
    concurrency: fc.integer({ min: 1, max: 4 }),
    maxWaiting: fc.constantFrom(0, 2, 100),
    gate: fc.constantFrom('member' as const, 'model' as const),
    ways: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 10 }),
    steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  })
  type Value<Of> = Of extends fc.Arbitrary<infer T> ? T : never
  type Step = Value<typeof step>
  type Schedule = Value<typeof schedule>

  /** Plays it with three processes. */
  async function play(of: Schedule, onStep: (service: Process[]) => void = () => {}) {
    const { concurrency, maxWaiting, gate, ways, steps } = of
    let asks = 0
    const way = () =>
      new Promise<void>((resolve) => setTimeout(resolve, ways[asks++ % ways.length]))
    const service = new Service(way)
    const processes = [service.join(), service.join(), service.join()]
    let running = 0
    let most = 0
    const work = async ({ takes, fails }: Pick<Step, 'takes' | 'fails'>) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, takes))
      running--
      if (fails) throw upstreamError('SERVER')
      return 'done'
    }
    const stacks = processes.map((shared) =>
      stack(work, queue({ concurrency, maxWaiting, gate, shared })),
    )
    const calls: Watched<unknown>[] = []
    for (const { after, process, takes, fails, leavesAfter, ...options } of steps) {
      onStep(processes)
      await tick(after)
      const caller = new AbortController()
      if (leavesAfter !== undefined) setTimeout(() => caller.abort(), leavesAfter)
      const all = { ...options, signal: caller.signal }
      calls.push(watch(stacks[process]!({ takes, fails }, all)))
    }
    await tick(60 * steps.length + 10_000)
    expect(calls.filter(({ state }) => state === 'pending')).toEqual([])
    for (const { stats } of stacks)
      expect(stats().queue).toMatchObject({ running: 0, waiting: 0, tenants: 0 })
    expect(vi.getTimerCount()).toBe(0)
    return { most, left: service.slots.get('queue')!.size }
  }

  it('has no more calls in progress than slots, settles each call, and gives back each slot', async () => {
    await fc.assert(
      fc.asyncProperty(schedule, async (of) => {
        const { most, left } = await play(of)
        expect(most).toBeLessThanOrEqual(of.concurrency)
        expect(left).toBe(0)
      }),
      { numRuns: 150 },
    )
  })

  it('settles each call also when processes lose each other now and then', async () => {
    const there = fc.infiniteStream(fc.boolean())
    await fc.assert(
      fc.asyncProperty(schedule, there, async (of, isThere) => {
        await play(of, (processes) => {
          for (const process of processes) process.isThere = isThere.next().value as boolean
        })
      }),
      { numRuns: 100 },
    )
  })
})
