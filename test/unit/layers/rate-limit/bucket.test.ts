import { describe, expect, it } from 'vitest'
import { Bucket } from '../../../../src/layers/rate-limit/bucket.js'
import type { Rate } from '../../../../src/layers/rate-limit/limits.js'

/** A limit a minute. */
const rate = (limit: number, capacity = Math.max(1, limit / 6)): Rate => ({
  limit,
  intervalMs: 60_000,
  capacity,
  perMs: limit / 60_000,
})

/** Takes as much as goes at once, one by one. */
function drain(bucket: Bucket): number {
  let taken = 0
  for (; bucket.waitMs(1, 0) === 0; taken++) bucket.take(1)
  return taken
}

describe('Bucket', () => {
  it('begins full, and fills evenly', () => {
    const bucket = new Bucket(rate(60), 0)
    expect(drain(bucket)).toBe(10)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(1_000, 2)
    bucket.fill(999)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(1, 2)
    bucket.fill(3_500)
    expect(drain(bucket)).toBe(3)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(500, 2)
    bucket.fill(1e9)
    expect(drain(bucket)).toBe(10)
  })

  it('holds at least one, however small the limit', () => {
    const bucket = new Bucket(rate(1), 0)
    expect(drain(bucket)).toBe(1)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(60_000, 0)
  })

  it('makes a call that costs more than it holds wait until it is full, and charges it in full', () => {
    const bucket = new Bucket(rate(600), 0)
    bucket.take(50)
    expect(bucket.waitMs(250, 0)).toBeCloseTo(5_000, 2)
    bucket.fill(5_000)
    expect(bucket.waitMs(250, 0)).toBe(0)
    bucket.take(250)
    // It owes 150, and one more has to wait for them.
    expect(bucket.waitMs(1, 0)).toBeCloseTo(15_100, 2)
  })

  it('counts what earlier calls take', () => {
    const bucket = new Bucket(rate(60), 0)
    drain(bucket)
    expect(bucket.waitMs(1, 5)).toBeCloseTo(6_000, 2)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(1_000, 2)
  })

  it('gives back no more than it holds, before and after it has filled alike', () => {
    const [before, after] = [new Bucket(rate(60), 0), new Bucket(rate(60), 0)]
    for (const bucket of [before, after]) drain(bucket)
    before.giveBack(8)
    before.fill(4_000)
    after.fill(4_000)
    after.giveBack(8)
    expect([drain(before), drain(after)]).toEqual([10, 10])
  })

  it('takes more down to minus the limit, and what is below already stays', () => {
    const bucket = new Bucket(rate(60), 0)
    bucket.takeMore(1e9, 0)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(61_000, 2)
    bucket.take(100)
    bucket.takeMore(5, 0)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(161_000, 2)
  })

  it('keeps its level when the limit changes, cut to what it then holds', () => {
    const bucket = new Bucket(rate(60), 0)
    bucket.fill(0, rate(600))
    expect(drain(bucket)).toBe(10)
    expect(bucket.waitMs(1, 0)).toBeCloseTo(100, 2)
    bucket.fill(100_000, rate(6))
    expect(drain(bucket)).toBe(1)
  })

  it('fills by the old limit up to the moment when it changes', () => {
    const bucket = new Bucket(rate(60), 0)
    drain(bucket)
    bucket.fill(5_000, rate(60_000))
    expect(drain(bucket)).toBe(5)
  })

  it('lets nothing through when the limit is zero', () => {
    const bucket = new Bucket(rate(0), 0)
    expect(bucket.waitMs(1, 0)).toBe(Number.POSITIVE_INFINITY)
    bucket.fill(1e12)
    expect(bucket.waitMs(0, 0)).toBe(Number.POSITIVE_INFINITY)
    expect(bucket.fullAt).toBe(1e12)
  })

  it('knows when it will be full', () => {
    const bucket = new Bucket(rate(60), 0)
    expect(bucket.fullAt).toBe(0)
    bucket.take(4)
    expect(bucket.fullAt).toBe(4_000)
  })

  it('loses nothing to rounding over a million small steps', () => {
    const bucket = new Bucket(rate(7), 0)
    let taken = drain(bucket)
    const steps = 1_000_000
    for (let i = 1; i <= steps; i++) {
      bucket.fill(i * 0.7)
      taken += drain(bucket)
    }
    expect(taken).toBe(Math.floor((steps * 0.7 * 7) / 60_000 + 7 / 6))
  })
})
