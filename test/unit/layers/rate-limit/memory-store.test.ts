import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Amounts,
  type Limits,
  NOTHING,
  type Rate,
} from '../../../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../../../src/layers/rate-limit/memory-store.js'
import type { LimitStore, Refusal, Reservation } from '../../../../src/layers/rate-limit/store.js'
import { FixedWindow } from '../../../support/fixed-window.js'
import { excess, MINUTE } from '../../../support/sliding-minute.js'
import { StillClock } from '../../../support/still-clock.js'

let clock: StillClock

beforeEach(() => {
  clock = new StillClock()
})

afterEach(() => {
  clock[Symbol.dispose]()
})

const rate = (limit: number): Rate => ({
  limit,
  intervalMs: MINUTE,
  capacity: Math.max(1, limit / 6),
  perMs: limit / MINUTE,
})
const limitsOf = (requests?: number, tokens?: number): Limits => ({
  requests: requests === undefined ? undefined : rate(requests),
  tokens: tokens === undefined ? undefined : rate(tokens),
  cost: undefined,
})
const call = (tokens = 0, cost = 0): Amounts => ({ requests: 1, tokens, cost })
const SOMEBODY = call()

type Decision = Reservation | Refusal
const now = (decision: ReturnType<LimitStore['reserve']>): Decision => decision as Decision

/** How long a call would wait, without taking anything. */
const waitOf = (store: LimitStore, limits: Limits, amounts = call()): number =>
  (store.reserve('k', amounts, limits, { ...SOMEBODY, requests: 1e-9 }) as Refusal).retryAfterMs

/** One arrival: how long after the one before, and what it takes. */
interface Arrival {
  readonly gap: 'at once' | 'when asked' | number
  readonly tokens: number
  /** Of the tokens, what is really taken. */
  readonly share: number
}

const arrivals = fc.array(
  fc.record<Arrival>({
    gap: fc.oneof(
      { weight: 4, arbitrary: fc.constant('at once' as const) },
      { weight: 4, arbitrary: fc.constant('when asked' as const) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: 3_000 }) },
      { weight: 1, arbitrary: fc.integer({ min: 3_000, max: 90_000 }) },
    ),
    tokens: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 60 }) },
      { weight: 1, arbitrary: fc.integer({ min: 60, max: 2_000 }) },
    ),
    share: fc.double({ min: 0, max: 3, noNaN: true }),
  }),
  { minLength: 10, maxLength: 40 },
)
const limits = fc.record({
  requests: fc.integer({ min: 1, max: 120 }),
  tokens: fc.integer({ min: 6, max: 3_000 }),
})

interface Granted {
  readonly at: number
  readonly amounts: Amounts
}

/** Plays a schedule, and returns what was granted when. */
function play(store: LimitStore, of: Limits, schedule: readonly Arrival[], corrects = false) {
  clock.at = 0
  const granted: Granted[] = []
  let asked = 0
  for (const { gap, tokens, share } of schedule) {
    clock.at += gap === 'at once' ? 0 : gap === 'when asked' ? asked : gap
    const decision = now(store.reserve('k', call(tokens), of, NOTHING))
    asked = decision.granted ? 0 : decision.retryAfterMs
    if (!decision.granted) continue
    const taken = corrects ? Math.round(tokens * share) : tokens
    granted.push({ at: clock.at, amounts: call(taken) })
    if (corrects) store.settle(decision, call(taken))
  }
  return granted
}

const takenOf = (granted: readonly Granted[], unit: 'requests' | 'tokens') =>
  granted.map(({ at, amounts }) => ({ at, amount: amounts[unit] }))

type MakeStore = () => LimitStore

const neverMore = (make: MakeStore, numRuns: number) =>
  fc.assert(
    fc.property(limits, arrivals, ({ requests, tokens }, schedule) => {
      const granted = play(make(), limitsOf(requests, tokens), schedule)
      expect(excess(takenOf(granted, 'requests'), requests)).toBeLessThanOrEqual(1e-6)
      expect(excess(takenOf(granted, 'tokens'), tokens)).toBeLessThanOrEqual(1e-6)
    }),
    { numRuns },
  )

const refusedTakesNothing = (make: MakeStore, numRuns: number) =>
  fc.assert(
    fc.property(limits, arrivals, ({ requests, tokens }, schedule) => {
      const of = limitsOf(requests, tokens)
      const store = make()
      const granted = play(store, of, schedule)
      const end = clock.at
      // The same calls without those that were refused.
      const other = make()
      for (const { at, amounts } of granted) {
        clock.at = at
        expect(now(other.reserve('k', amounts, of, NOTHING)).granted).toBe(true)
      }
      clock.at = end
      for (const one of [call(), call(10), call(5_000)])
        expect(waitOf(store, of, one)).toBeCloseTo(waitOf(other, of, one), 3)
    }),
    { numRuns },
  )

/** What is wrong with a store, on purpose. */
class WrongStore implements LimitStore {
  readonly inner = new MemoryStore()
  get keys() {
    return this.inner.keys
  }
  reserve(key: string, amounts: Amounts, of: Limits, ahead: Amounts) {
    return this.inner.reserve(key, amounts, of, ahead)
  }
  settle(reservation: Reservation, taken: Amounts) {
    return this.inner.settle(reservation, taken)
  }
  levels(key: string, of: Limits) {
    return this.inner.levels(key, of)
  }
}

/** Takes from the first limit before it has looked at the second. */
class OneByOne extends WrongStore {
  override reserve(key: string, amounts: Amounts, of: Limits, ahead: Amounts) {
    const first = this.inner.reserve(key, amounts, { ...of, tokens: undefined }, ahead)
    if (!first.granted) return first
    return this.inner.reserve(key, amounts, { ...of, requests: undefined }, ahead)
  }
}

/** Charges a call no more than the bucket holds. */
class CheaperThanItIs extends WrongStore {
  override reserve(key: string, { requests, tokens, cost }: Amounts, of: Limits, ahead: Amounts) {
    const charged = Math.min(tokens, of.tokens!.capacity)
    return this.inner.reserve(key, { requests, tokens: charged, cost }, of, ahead)
  }
}

describe('MemoryStore', () => {
  it('lets no interval see more than 1.17 times the limit and one call, over 10,000 schedules', () => {
    neverMore(() => new MemoryStore(), 10_000)
  })

  it('keeps the same bound when reservations are given back', () => {
    fc.assert(
      fc.property(limits, arrivals, ({ tokens }, schedule) => {
        const corrected = schedule.map((one) => ({ ...one, share: Math.min(one.share, 1) }))
        const granted = play(new MemoryStore(), limitsOf(undefined, tokens), corrected, true)
        expect(excess(takenOf(granted, 'tokens'), tokens)).toBeLessThanOrEqual(1e-6)
      }),
      { numRuns: 2_000 },
    )
  })

  it('takes nothing for a call that it refuses', () => {
    refusedTakesNothing(() => new MemoryStore(), 2_000)
  })

  it('serves a call within the wait that it names, if nobody takes anything meanwhile', () => {
    fc.assert(
      fc.property(limits, arrivals, ({ requests, tokens }, schedule) => {
        const of = limitsOf(requests, tokens)
        const store = new MemoryStore()
        play(store, of, schedule, true)
        const refused = now(store.reserve('k', call(5_000), of, { ...SOMEBODY, requests: 1e-9 }))
        clock.at += (refused as Refusal).retryAfterMs
        expect(now(store.reserve('k', call(5_000), of, NOTHING)).granted).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  describe('with a mistake that the checks find', () => {
    it.each([
      ['a fixed window', () => new FixedWindow(), neverMore],
      ['a price cut to the bucket', () => new CheaperThanItIs(), neverMore],
      ['limits that are asked one by one', () => new OneByOne(), refusedTakesNothing],
    ])('%s', (_, make, check) => {
      expect(() => check(make, 2_000)).toThrow(/Property failed/)
    })
  })

  it('names the limit that delays a call longest', () => {
    const store = new MemoryStore()
    const of = limitsOf(60, 600)
    for (let i = 0; i < 10; i++) store.reserve('k', call(5), of, NOTHING)
    expect(store.reserve('k', call(70), of, NOTHING)).toMatchObject({
      granted: false,
      unit: 'tokens',
      rate: of.tokens,
      retryAfterMs: expect.closeTo(2_000, 2),
    })
    expect(store.reserve('k', call(1), of, NOTHING)).toMatchObject({ unit: 'requests' })
  })

  it('keeps keys apart', () => {
    const store = new MemoryStore()
    const of = limitsOf(1)
    expect(store.reserve('a', call(), of, NOTHING).granted).toBe(true)
    expect(store.reserve('a', call(), of, NOTHING).granted).toBe(false)
    expect(store.reserve('b', call(), of, NOTHING).granted).toBe(true)
    expect(store.keys).toBe(2)
  })

  it('does not correct a limit that did not apply when the call began', () => {
    const store = new MemoryStore()
    const first = now(store.reserve('k', call(50), limitsOf(60), NOTHING)) as Reservation
    store.reserve('k', call(0), limitsOf(60, 600), NOTHING)
    store.settle(first, call(5_000))
    expect(waitOf(store, limitsOf(undefined, 600), call(1))).toBe(0)
  })

  it('corrects a call that was thought to take nothing', () => {
    const store = new MemoryStore()
    const of = limitsOf(undefined, 600)
    store.settle(now(store.reserve('k', call(0), of, NOTHING)) as Reservation, call(110))
    expect(waitOf(store, of, call(1))).toBeCloseTo(1_100)
  })
})

describe('the keys of a MemoryStore', () => {
  const of = limitsOf(60)
  /** A call that has ended. */
  const use = (store: LimitStore, key: string, times = 1) => {
    for (let i = 0; i < times; i++)
      store.settle(now(store.reserve(key, call(), of, NOTHING)) as Reservation, call())
  }
  /** Whether it is as a new one: how many calls may begin at once. */
  const left = (store: LimitStore, key: string) => {
    let count = 0
    while (now(store.reserve(key, call(), of, NOTHING)).granted) count++
    return count
  }

  it('are at most 10,000', () => {
    const store = new MemoryStore()
    for (let i = 0; i < 25_000; i++) use(store, `${i}`)
    expect(store.keys).toBe(10_000)
  })

  it('are given up in the order in which they become idle', () => {
    const store = new MemoryStore({ keysKept: 3 })
    use(store, 'long', 9)
    use(store, 'short', 2)
    use(store, 'shorter', 1)
    clock.at = 500
    use(store, 'new')
    expect(store.keys).toBe(3)
    expect([left(store, 'long'), left(store, 'short')]).toEqual([1, 8])
  })

  it('that have calls in progress go last, the one that has been found so first', () => {
    const store = new MemoryStore({ keysKept: 2 })
    const open = now(store.reserve('open', call(), of, NOTHING)) as Reservation
    clock.at = 100_000
    use(store, 'a', 9)
    use(store, 'b', 9)
    use(store, 'c', 9)
    clock.at = 100_001
    expect(store.keys).toBe(2)
    // Its own call has been taken from it, which has long filled up again; it is no new one.
    store.settle(open, NOTHING)
    clock.at = 200_000
    use(store, 'd', 9)
    use(store, 'e', 9)
    expect(left(store, 'd')).toBe(1)
  })

  it('give way one at a time where all have calls in progress', () => {
    const store = new MemoryStore({ keysKept: 3 })
    const opened = ['a', 'b', 'c', 'd', 'e'].map(
      (key) => now(store.reserve(key, call(), of, NOTHING)) as Reservation,
    )
    expect(store.keys).toBe(3)
    for (const one of opened) store.settle(one, NOTHING)
    expect(store.keys).toBe(3)
    expect(left(store, 'e')).toBe(10)
  })

  it('make place for each other in no time when all of them are in use', () => {
    const store = new MemoryStore()
    for (let i = 0; i < 10_000; i++) store.reserve(`${i}`, call(), of, NOTHING)
    for (let i = 0; i < 2_000; i++) store.reserve(`first ${i}`, call(), of, NOTHING)
    const began = process.hrtime.bigint()
    for (let i = 0; i < 10_000; i++) store.reserve(`more ${i}`, call(), of, NOTHING)
    // Below several seconds, on a busy machine as well.
    expect(Number(process.hrtime.bigint() - began) / 1e6).toBeLessThan(5_000)
    expect(store.keys).toBe(10_000)
  })
})
