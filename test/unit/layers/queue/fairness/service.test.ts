import { describe, expect, it } from 'vitest'
import type { BaseFacts } from '../../../../../src/core/index.js'
import { Service } from '../../../../../src/layers/queue/fairness/service.js'

const counting = (tokens: ReturnType<BaseFacts['weigh']>) =>
  ({ countsTokens: true, weigh: () => tokens }) as unknown as BaseFacts

describe('Service', () => {
  it('is 1 a call where the base counts no tokens', () => {
    const weigh = () => ({ input: 5_000 })
    const base = { countsTokens: false, weigh } as unknown as BaseFacts
    expect(new Service().expected(base, 'x')).toBe(1)
  })

  it('counts input once, what was cached a tenth, and output twice', () => {
    expect(new Service().counted({ input: 100, output: 30 })).toBeCloseTo(160)
    expect(new Service().counted({ input: 100, cachedInput: 80, output: 30 })).toBeCloseTo(88)
  })

  it('is never nothing', () => {
    expect(new Service().counted({ input: 0, output: 0 })).toBe(1)
    expect(new Service().expected(counting({ input: 0, output: 0 }), 'x')).toBe(1)
  })

  it('expects what the answers before have had, and no more than the request allows', () => {
    const service = new Service()
    expect(service.expected(counting({ input: 10 }), 'x')).toBe(10 + 2 * 256)
    expect(service.expected(counting({ input: 10, output: 8 }), 'x')).toBe(26)
    for (let i = 0; i < 200; i++) service.counted({ input: 10, output: 50 })
    expect(service.expected(counting({ input: 10 }), 'x')).toBeCloseTo(110, 0)
    expect(service.expected(counting({ input: 10, output: 100_000 }), 'x')).toBeCloseTo(110, 0)
  })

  it('learns from the first answer, and from the last ones later', () => {
    const service = new Service()
    service.counted({ input: 1, output: 1_000 })
    expect(service.expected(counting({ input: 0 }), 'x')).toBe(2_000)
    for (let i = 0; i < 100; i++) service.counted({ input: 1, output: 10 })
    expect(service.expected(counting({ input: 0 }), 'x')).toBeLessThan(60)
  })

  it('expects an answer as usual of a request that cannot be weighed', () => {
    expect(new Service().expected(counting(undefined), 'x')).toBe(512)
  })
})
