import { describe, expect, it } from 'vitest'
import { type LayerOf, stack } from '../../../../../src/core/index.js'
import { queue } from '../../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { held, joined, two } from '../../../../support/shared-queues.js'
import { Service } from '../../../../support/shared-service.js'
import { upstreamError } from '../../../../support/upstream.js'
import { failure } from '../../../../support/watch.js'

useFakeTimers()

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
        'queue: with "shared", option "concurrency" must be a number.',
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
