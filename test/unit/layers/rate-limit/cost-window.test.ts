import { describe, expect, it } from 'vitest'
import { CostWindow, windowOf } from '../../../../src/layers/rate-limit/cost-window.js'

const HOUR = 3_600_000
const at = (text: string) => Date.parse(text)

describe('windowOf', () => {
  it.each([
    ['day', '2026-03-29T01:30:00+02:00', '2026-03-28T00:00:00Z', '2026-03-29T00:00:00Z'],
    ['day', '2026-12-31T23:59:59.999Z', '2026-12-31T00:00:00Z', '2027-01-01T00:00:00Z'],
    ['day', '2027-01-01T00:00:00Z', '2027-01-01T00:00:00Z', '2027-01-02T00:00:00Z'],
    ['month', '2028-02-29T12:00:00Z', '2028-02-01T00:00:00Z', '2028-03-01T00:00:00Z'],
    ['month', '2026-12-31T23:59:59.999Z', '2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    [5 * HOUR, '1970-01-01T12:34:56Z', '1970-01-01T10:00:00Z', '1970-01-01T15:00:00Z'],
    [90_000, '1970-01-01T00:01:30Z', '1970-01-01T00:01:30Z', '1970-01-01T00:03:00Z'],
  ] as const)('of %s at %s is from %s to %s', (per, moment, start, end) => {
    expect(windowOf(per, at(moment))).toEqual({ start: at(start), end: at(end) })
  })
})

describe('CostWindow', () => {
  const limit = { limit: 100, per: HOUR }
  const opened = (wall = 0) => {
    const window = new CostWindow()
    window.enter(limit, wall)
    return window
  }

  it('has room for what is neither spent nor reserved', () => {
    const window = opened()
    window.reserve(60)
    expect([window.hasRoomFor(40), window.hasRoomFor(41)]).toEqual([true, false])
    window.settle(window.number, 60, 10)
    expect([window.hasRoomFor(90), window.hasRoomFor(91)]).toEqual([true, false])
  })

  it('begins anew with the next window, whatever was reserved in the last', () => {
    const window = opened()
    window.reserve(100)
    const { number } = window
    window.enter(limit, HOUR)
    expect(window.hasRoomFor(100)).toBe(true)
    window.reserve(5)
    expect(window.settle(number, 100, 100)).toBe(false)
    expect([window.hasRoomFor(95), window.hasRoomFor(96)]).toEqual([true, false])
  })

  it('begins anew when the clock was set back, or is right again', () => {
    const window = opened(1_000 * HOUR)
    window.reserve(100)
    window.enter(limit, 5)
    expect(window.hasRoomFor(100)).toBe(true)
    expect(window.end).toBe(HOUR)
  })

  it('keeps what is spent when its length is changed', () => {
    const window = opened()
    window.reserve(70)
    const { number } = window
    window.enter({ limit: 100, per: 'day' }, 5)
    expect(window.end).toBe(24 * HOUR)
    window.settle(number, 70, 70)
    expect([window.hasRoomFor(30), window.hasRoomFor(31)]).toEqual([true, false])
  })

  it('warns once, when four fifths are spent', () => {
    const window = opened()
    const spend = (amount: number) => {
      window.reserve(amount)
      return window.settle(window.number, amount, amount)
    }
    expect([spend(79), spend(1), spend(1)]).toEqual([false, true, false])
    window.enter(limit, HOUR)
    expect([spend(79), spend(30)]).toEqual([false, true])
  })
})
