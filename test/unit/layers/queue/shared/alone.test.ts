import { describe, expect, it } from 'vitest'
import { onEvent, type StackEvent } from '../../../../../src/core/index.js'
import { closedAtEnd } from '../../../../support/closed-at-end.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { two } from '../../../../support/shared-queues.js'

useFakeTimers()
const kept = closedAtEnd()

describe('a process alone', () => {
  it('has its part of the slots, at least one, and says so', async () => {
    const { one, other } = two({ concurrency: 5 })
    one.process.isThere = false
    const events: StackEvent[] = []
    kept({ close: onEvent((event) => void (event.type === 'alone' && events.push(event))) })
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
