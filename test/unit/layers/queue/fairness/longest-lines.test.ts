import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LongestLines } from '../../../../../src/layers/queue/fairness/longest-lines.js'
import { Tenant } from '../../../../../src/layers/queue/fairness/tenant.js'

function lines() {
  const all = new LongestLines()
  const change = (tenant: Tenant, by: number) => {
    const before = tenant.waiting
    tenant.waiting += by
    all.moved(tenant, before)
  }
  return { all, change }
}

describe('LongestLines', () => {
  it('finds the tenant that is above its share by most', () => {
    const { all, change } = lines()
    const [a, b, c] = [new Tenant('a', 1), new Tenant('b', 1), new Tenant('c', 1)]
    change(a, 6)
    change(b, 4)
    expect(all.above(c, 10)).toBe(a)
    change(a, -3)
    expect(all.above(c, 10)).toBe(b)
  })

  it('finds nobody for a tenant that has its share, and when nobody is above theirs', () => {
    const { all, change } = lines()
    const [a, b, c] = [new Tenant('a', 1), new Tenant('b', 1), new Tenant('c', 1)]
    change(a, 5)
    change(b, 5)
    expect(all.above(a, 10)).toBeUndefined()
    change(c, 3)
    expect(all.above(c, 10)).toBeUndefined()
    change(a, -2)
    change(b, -2)
    change(c, -1)
    expect(all.above(c, 10)).toBeUndefined()
  })

  it('goes by weights', () => {
    const { all, change } = lines()
    const [gold, plain, newcomer] = [
      new Tenant('gold', 3),
      new Tenant('plain', 1),
      new Tenant('newcomer', 1),
    ]
    change(gold, 60)
    change(plain, 40)
    // Shares of 60, 20 and 20.
    expect(all.above(newcomer, 100)).toBe(plain)
    change(plain, -20)
    change(gold, 20)
    expect(all.above(newcomer, 100)).toBe(gold)
  })

  it('finds who a walk through all of them would find, for any changes', () => {
    const step = fc.record({ which: fc.nat(5), up: fc.boolean() })
    const weights = fc.array(fc.constantFrom(0.5, 1, 1, 3), { minLength: 6, maxLength: 6 })
    fc.assert(
      fc.property(weights, fc.array(step, { maxLength: 80 }), (weights, steps) => {
        const { all, change } = lines()
        const tenants = weights.map((weight, i) => new Tenant(`${i}`, weight))
        for (const { which, up } of steps) {
          const tenant = tenants[which] as Tenant
          if (up || tenant.waiting > 0) change(tenant, up ? 1 : -1)
          for (const newcomer of tenants) {
            const waiting = tenants.filter((one) => one.waiting > 0 || one === newcomer)
            const sum = waiting.reduce((sum, { weight }) => sum + weight, 0)
            const excess = (one: Tenant) => one.waiting - (12 * one.weight) / sum
            const most = Math.max(...tenants.map((one) => (one.waiting > 0 ? excess(one) : 0)))
            const above = all.above(newcomer, 12)
            if (excess(newcomer) + 1 > 1e-9 || most < 1e-9) expect(above).toBeUndefined()
            else expect(excess(above as Tenant)).toBeCloseTo(most)
          }
        }
      }),
    )
  })
})
