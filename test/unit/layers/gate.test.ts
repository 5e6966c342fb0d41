import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { upstreamError as errorOf } from '../../../src/client/wire/upstream-error.js'
import { Gate, refusalIn } from '../../../src/layers/gate.js'
import { useFakeTimers } from '../../support/fake-timers.js'
import { upstreamError } from '../../support/upstream.js'

useFakeTimers()

const pass = (ms: number) => vi.advanceTimersByTime(ms)
const even = () => new Gate(() => 0)

/** Lets as many begin as may. */
function fill(gate: Gate, most = 100): number[] {
  const passes: number[] = []
  while (gate.isOpen && passes.length < most) passes.push(gate.begin())
  return passes
}

describe('Gate', () => {
  it('is open as long as nothing is refused', () => {
    const gate = even()
    const passes = fill(gate)
    expect(passes).toHaveLength(100)
    for (const one of passes) gate.succeeded(one)
    for (const one of passes) gate.ended(one)
    expect(gate.isOpen).toBe(true)
  })

  it('is shut for the time that a refusal names', () => {
    const gate = even()
    const one = gate.begin()
    expect(gate.refused(one, 5_000, true)).toBe(true)
    gate.ended(one)
    expect(gate.isShut).toBe(true)
    pass(4_999)
    expect([gate.isShut, gate.isOpen]).toEqual([true, false])
    pass(1)
    expect([gate.isShut, gate.isOpen]).toEqual([false, true])
  })

  it('is shut for a minute at most', () => {
    const gate = even()
    gate.refused(gate.begin(), 24 * 3_600_000, true)
    pass(59_999)
    expect(gate.isShut).toBe(true)
    pass(1)
    expect(gate.isShut).toBe(false)
  })

  it('is shut for a second when no time is named, and twice as long each time, up to 8 s', () => {
    const gate = even()
    for (const ms of [1_000, 2_000, 4_000, 8_000, 8_000]) {
      gate.refused(gate.begin(), undefined, true)
      pass(ms - 1)
      expect(gate.isShut).toBe(true)
      pass(1)
      expect(gate.isShut).toBe(false)
    }
    const one = gate.begin()
    gate.succeeded(one)
    gate.refused(gate.begin(), undefined, true)
    pass(1_000)
    expect(gate.isShut).toBe(false)
  })

  it('stays shut for up to a quarter longer when no time is named, never shorter', () => {
    const seen = [0, 0.5, 0.999].map((random) => {
      const gate = new Gate(() => random)
      gate.refused(gate.begin(), undefined, true)
      return gate.opensAt - performance.now()
    })
    expect(seen[0]).toBe(1_000)
    expect(seen[1]).toBe(1_125)
    expect(seen[2]).toBeLessThan(1_250)
  })

  it('goes by the longest time of a burst, and takes the burst for one refusal', () => {
    const gate = even()
    const passes = fill(gate, 5)
    expect(gate.refused(passes[0]!, undefined, true)).toBe(true)
    expect(gate.refused(passes[1]!, undefined, true)).toBe(false)
    expect(gate.refused(passes[2]!, 7_000, true)).toBe(true)
    expect(gate.refused(passes[3]!, 3_000, true)).toBe(false)
    pass(6_999)
    expect(gate.isShut).toBe(true)
    pass(1)
    expect(gate.isShut).toBe(false)
    // It was shut once.
    gate.refused(gate.begin(), undefined, true)
    pass(1_999)
    expect(gate.isShut).toBe(true)
    pass(1)
  })

  it('opens for one call beside those in progress, and for twice as many with each success', () => {
    const gate = even()
    const before = fill(gate, 10)
    gate.refused(before[0]!, 1_000, true)
    pass(1_000)
    const [first, ...others] = fill(gate)
    expect(others).toEqual([])
    gate.succeeded(first!)
    const second = fill(gate)
    expect(second).toHaveLength(1)
    gate.ended(first!)
    const third = fill(gate)
    expect(third).toHaveLength(1)
    for (const one of [...second, ...third]) gate.succeeded(one)
    expect(fill(gate)).toHaveLength(6)
    // Those from before count neither way.
    for (const one of before) {
      gate.succeeded(one)
      gate.ended(one)
    }
    expect(gate.isOpen).toBe(false)
  })

  it('lets another call begin when one ends without success', () => {
    const gate = even()
    gate.refused(gate.begin(), 1_000, true)
    pass(1_000)
    for (let i = 0; i < 5; i++) {
      const passes = fill(gate)
      expect(passes).toHaveLength(1)
      gate.ended(passes[0]!)
    }
  })

  it('opens for all at once when it need not be slow', () => {
    const gate = even()
    gate.refused(gate.begin(), 1_000, false)
    expect(gate.isOpen).toBe(false)
    pass(1_000)
    expect(fill(gate)).toHaveLength(100)
  })

  it('is wide open again after some successes', () => {
    const gate = even()
    gate.refused(gate.begin(), 1_000, true)
    pass(1_000)
    for (let i = 0; i < 12; i++) gate.succeeded(gate.begin())
    expect(fill(gate, 5_000)).toHaveLength(5_000)
  })

  it('accepts passes until it is shut', () => {
    const gate = even()
    const [one, other] = fill(gate, 2)
    expect(gate.accepts(one!)).toBe(true)
    gate.refused(other!, 1_000, true)
    expect(gate.accepts(one!)).toBe(false)
    pass(1_000)
    expect(gate.accepts(one!)).toBe(false)
    expect(gate.accepts(gate.begin())).toBe(true)
  })

  it('never lets more begin than it allows, for any history', () => {
    const step = fc.record({
      kind: fc.constantFrom('begin', 'begin', 'succeed', 'end', 'refuse', 'pass'),
      which: fc.nat(30),
      ms: fc.integer({ min: 0, max: 9_000 }),
      named: fc.boolean(),
    } as const)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const gate = even()
        let running: number[] = []
        let times = 0
        let allowed = Number.POSITIVE_INFINITY
        let shutUntil = 0
        for (const { kind, which, ms, named } of steps) {
          const at = which % Math.max(1, running.length)
          const one = running[at]
          const since = running.filter((pass) => pass === times).length
          expect(gate.isShut).toBe(performance.now() < shutUntil)
          expect(gate.isOpen).toBe(performance.now() >= shutUntil && since < allowed)
          if (kind === 'begin' && gate.isOpen) running.push(gate.begin())
          else if (kind === 'pass') pass(ms)
          else if (one === undefined) continue
          else if (kind === 'succeed') {
            gate.succeeded(one)
            if (one === times) allowed *= 2
          } else if (kind === 'end' || kind === 'refuse') {
            const before = gate.opensAt
            if (kind === 'refuse') {
              const isFirst = one === times && !gate.isShut
              gate.refused(one, named ? ms : undefined, true)
              if (isFirst) {
                times++
                allowed = 1
              }
              expect(gate.opensAt).toBeGreaterThanOrEqual(before)
              if (named)
                expect(gate.opensAt).toBeGreaterThanOrEqual(
                  performance.now() + Math.min(ms, 60_000),
                )
              shutUntil = gate.opensAt
            }
            gate.ended(one)
            running = running.filter((_, i) => i !== at)
          }
        }
      }),
    )
  })
})

describe('refusalIn', () => {
  it('is what upstream asked for, in milliseconds', () => {
    expect(refusalIn(errorOf({ upstreamStatus: 429, retryAfter: 3_000 }))).toEqual({
      retryAfter: 3_000,
    })
    expect(refusalIn(upstreamError('RATE_LIMITED'))).toEqual({ retryAfter: undefined })
    expect(refusalIn(upstreamError('RATE_LIMITED', { retryAfter: 0 }))).toEqual({
      retryAfter: undefined,
    })
    expect(refusalIn(Object.assign(new Error('foreign'), { status: 429 }))).toEqual({
      retryAfter: undefined,
    })
  })

  it.each([
    upstreamError('RATE_LIMITED', { refused: true, retryAfter: 5 }),
    upstreamError('SERVER', { retryAfter: 5 }),
    new Error('foreign'),
    'a string',
    undefined,
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('unreadable')
        },
      },
    ),
  ])('is nothing for other failures', (error) => {
    expect(refusalIn(error)).toBeUndefined()
  })
})
