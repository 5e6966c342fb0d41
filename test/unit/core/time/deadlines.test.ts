import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  Deadlines,
  type Expiring,
  NOT_WAITING,
  now,
  remaining,
  stack,
} from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { spy } from '../../../support/layers.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('remaining', () => {
  it('gives the milliseconds until the deadline, and Infinity without one', async () => {
    const probe = spy()
    const ask = stack(async () => 'x', probe)
    await ask()
    expect(remaining(probe.context)).toBe(Number.POSITIVE_INFINITY)
    await ask(undefined, { timeoutMs: 80 })
    expect(remaining(probe.context)).toBe(80)
    await vi.advanceTimersByTimeAsync(100)
    expect(remaining(probe.context)).toBe(-20)
  })
})

class Entry implements Expiring {
  deadlineSlot = NOT_WAITING
  constructor(readonly expire: () => void) {}
}

function logged() {
  const log: string[] = []
  const start = now()
  const entry = (name: string) => new Entry(() => log.push(`${name}@${now() - start}`))
  return { log, entry, deadlines: new Deadlines({ ref: true }) }
}

describe('Deadlines', () => {
  it('expires each entry at its moment and not before', async () => {
    const { log, entry, deadlines } = logged()
    for (const ms of [30, 10, 20]) deadlines.set(entry(`${ms}`), now() + ms)
    await tick(9)
    expect(log).toEqual([])
    await tick(30)
    expect(log).toEqual(['10@10', '20@20', '30@30'])
  })

  it('expires entries of the same moment in the order they were set', async () => {
    const { log, entry, deadlines } = logged()
    const moment = now() + 10
    const names = Array.from({ length: 40 }, (_, i) => `${i}`)
    for (const name of names) deadlines.set(entry(name), moment)
    await tick(10)
    expect(log).toEqual(names.map((name) => `${name}@10`))
  })

  it('forgets cleared entries, even those cleared by another entry as it expires', async () => {
    const { log, entry, deadlines } = logged()
    const second = entry('second')
    deadlines.set(new Entry(() => deadlines.clear(second)), now() + 10)
    deadlines.set(second, now() + 10)
    deadlines.set(entry('third'), now() + 10)
    await tick(10)
    expect(log).toEqual(['third@10'])
    expect(deadlines.size).toBe(0)
    deadlines.clear(second)
    expect(deadlines.size).toBe(0)
  })

  it('moves an entry that is set again', async () => {
    const { log, entry, deadlines } = logged()
    const later = entry('later')
    const sooner = entry('sooner')
    deadlines.set(later, now() + 10)
    deadlines.set(sooner, now() + 50)
    deadlines.set(later, now() + 30)
    deadlines.set(sooner, now() + 20)
    await tick(100)
    expect(log).toEqual(['sooner@20', 'later@30'])
  })

  it('has one timer while any entry waits, and none otherwise', async () => {
    const { entry, deadlines } = logged()
    const all = Array.from({ length: 100 }, (_, i) => entry(`${i}`))
    for (const [i, one] of all.entries()) deadlines.set(one, now() + 1_000 - i)
    await tick()
    expect(vi.getTimerCount()).toBe(1)
    for (const one of all.slice(1)) deadlines.clear(one)
    expect(vi.getTimerCount()).toBe(1)
    deadlines.clear(all[0] as Entry)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('starts no timer for an entry cleared in the same turn', async () => {
    const { entry, deadlines } = logged()
    const setTimer = vi.spyOn(globalThis, 'setTimeout')
    for (let i = 0; i < 10; i++) {
      const one = entry(`${i}`)
      deadlines.set(one, now() + 100)
      deadlines.clear(one)
    }
    await Promise.resolve()
    expect(setTimer).not.toHaveBeenCalled()
  })

  it('restarts the timer only for an earlier moment', async () => {
    const setTimer = vi.spyOn(globalThis, 'setTimeout')
    const { entry, deadlines } = logged()
    deadlines.set(entry('first'), now() + 100)
    await tick()
    for (let i = 0; i < 10; i++) deadlines.set(entry('later'), now() + 100 + i)
    await tick()
    expect(setTimer).toHaveBeenCalledTimes(1)
    deadlines.set(entry('earlier'), now() + 50)
    await tick()
    expect(setTimer).toHaveBeenCalledTimes(2)
    await tick(200)
  })

  it('expires the other entries when one throws, and leaves the error uncaught as in any timer', async () => {
    const { log, entry, deadlines } = logged()
    const runners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', (error) => log.push(error.message))
    const throwing = new Entry(() => {
      throw new Error('on purpose')
    })
    deadlines.set(throwing, now() + 5)
    deadlines.set(entry('next'), now() + 5)
    await tick(5)
    for (const runner of runners) process.on('uncaughtException', runner)
    expect(log).toEqual(['next@5', 'on purpose'])
  })

  it('lets time pass even when an entry sets itself again for the same moment', async () => {
    const { log, entry, deadlines } = logged()
    let times = 0
    const again: Entry = new Entry(() => {
      times++
      if (times < 1_000) deadlines.set(again, now())
    })
    deadlines.set(again, now() + 10)
    deadlines.set(entry('next'), now() + 12)
    await tick(11)
    expect(times).toBeLessThan(20)
    await tick(20)
    expect(log).toHaveLength(1)
    deadlines.clear(again)
  })

  it('finishes the follow-up work of one moment before the next, even when both are late', async () => {
    const log: string[] = []
    const deadlines = new Deadlines({ ref: true })
    deadlines.set(
      new Entry(() => Promise.resolve().then(() => log.push('after the first'))),
      now() + 5,
    )
    deadlines.set(new Entry(() => log.push('second')), now() + 10)
    vi.spyOn(performance, 'now').mockReturnValue(now() + 100)
    await tick(5)
    await tick(1)
    expect(log).toEqual(['after the first', 'second'])
  })

  it('counts beyond 2^31 milliseconds', async () => {
    const { log, entry, deadlines } = logged()
    const moment = 3 * 2 ** 31
    deadlines.set(entry('far'), now() + moment)
    await tick(moment - 1)
    expect(log).toEqual([])
    await tick(1)
    expect(log).toEqual([`far@${moment}`])
  })

  it('keeps waiting when a timer fires a moment too early', async () => {
    const { log, entry, deadlines } = logged()
    const real = performance.now.bind(performance)
    let behind = 0.4
    vi.spyOn(performance, 'now').mockImplementation(() => real() - behind)
    deadlines.set(entry('exact'), now() + 10)
    await tick()
    behind = 0.9
    await tick(10)
    expect(log).toEqual([])
    await tick(1)
    expect(log).toHaveLength(1)
    await tick()
  })

  it('behaves like a list sorted at each step, whatever is set, moved and cleared', async () => {
    interface Place {
      readonly id: number
      readonly due: number
      readonly order: number
    }
    const id = fc.nat(11)
    const step = fc.oneof(
      fc.record({ does: fc.constant('set' as const), id, ms: fc.integer({ min: 1, max: 25 }) }),
      fc.record({ does: fc.constant('clear' as const), id, ms: fc.constant(0) }),
      fc.record({ does: fc.constant('pass' as const), id, ms: fc.integer({ min: 1, max: 9 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), async (steps) => {
        const deadlines = new Deadlines({ ref: true })
        const expired: string[] = []
        const expected: string[] = []
        const entries = Array.from(
          { length: 12 },
          (_, at) => new Entry(() => expired.push(`${at}@${now()}`)),
        )
        let order = 0
        let model: Place[] = []
        const passModel = (until: number) => {
          const sorted = model.toSorted((a, b) => a.due - b.due || a.order - b.order)
          for (const { id, due } of sorted.filter((place) => place.due <= until))
            expected.push(`${id}@${due}`)
          model = model.filter((place) => place.due > until)
        }
        for (const { does, id, ms } of steps) {
          const entry = entries[id] as Entry
          if (does === 'pass') {
            passModel(now() + ms)
            await tick(ms)
          } else {
            model = model.filter((place) => place.id !== id)
            if (does === 'clear') deadlines.clear(entry)
            if (does === 'set') {
              const due = now() + ms
              deadlines.set(entry, due)
              model.push({ id, due, order: ++order })
            }
          }
          expect(deadlines.size).toBe(model.length)
          expect(vi.getTimerCount()).toBeLessThanOrEqual(1)
          expect(expired).toEqual(expected)
        }
        for (const entry of entries) deadlines.clear(entry)
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 200 },
    )
  })
})

describe('Deadlines on a clock that a test has replaced', () => {
  it('keep working when the clock is replaced while an entry waits', async () => {
    const { log, entry, deadlines } = logged()
    const stays = entry('stays')
    deadlines.set(stays, now() + 1_000)
    await tick()
    vi.useRealTimers()
    vi.useFakeTimers()
    const start = now()
    deadlines.set(new Entry(() => log.push(`next@${now() - start}`)), now() + 50)
    await tick(50)
    expect(log).toEqual(['next@50'])
    deadlines.clear(stays)
  })

  it('keep working when a mocked `nextTick` never runs', async () => {
    // As Jest does.
    const { log, entry, deadlines } = logged()
    const nextTick = vi.spyOn(process, 'nextTick').mockReturnValue()
    const lost = entry('lost')
    deadlines.set(lost, now() + 1_000)
    nextTick.mockRestore()
    deadlines.clear(lost)
    vi.useRealTimers()
    vi.useFakeTimers()
    deadlines.set(new Entry(() => log.push('next')), now() + 50)
    await tick(50)
    expect(log).toEqual(['next'])
  })

  it('follow mocked timers while the clock stands still, as in node:test', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    vi.spyOn(performance, 'now').mockReturnValue(5_000)
    const { log, deadlines } = logged()
    const entry = (name: string) => new Entry(() => log.push(name))
    deadlines.set(entry('100'), now() + 100)
    deadlines.set(entry('300'), now() + 300)
    await tick(100)
    expect(log).toEqual(['100'])
    deadlines.set(entry('150'), now() + 50)
    await tick(49)
    expect(log).toEqual(['100'])
    await tick(1)
    expect(log).toEqual(['100', '150'])
    await tick(149)
    expect(log).toEqual(['100', '150'])
    await tick(1)
    expect(log).toEqual(['100', '150', '300'])
  })
})
