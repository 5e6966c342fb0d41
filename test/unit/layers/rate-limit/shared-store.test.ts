import { describe, expect, it } from 'vitest'
import type {
  LimitCorrection,
  LimitOrder,
  LimitReply,
  SharedLimits,
} from '../../../../src/core/index.js'
import { LimitRules, type Limits, NOTHING } from '../../../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../../../src/layers/rate-limit/memory-store.js'
import { SharedStore } from '../../../../src/layers/rate-limit/shared-store.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()

/** What other processes would be asked, and what they answer. */
class Others implements SharedLimits {
  processes = 1
  isThere = true
  /** What the bucket of each key has left. */
  left = 1_000
  readonly asked: (readonly LimitOrder[])[] = []
  readonly corrected: LimitCorrection[] = []

  async take(_: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null> {
    if (!this.isThere) return null
    this.asked.push(orders)
    return orders.map(({ want }) => {
      this.left -= want
      return { given: want, waitMs: 0, level: this.left }
    })
  }

  async correct(_: string, corrections: readonly LimitCorrection[]) {
    for (const correction of corrections) {
      this.corrected.push(correction)
      this.left -= correction.amount
    }
    return undefined
  }
}

const limitsOf = (requests: number): Limits =>
  new LimitRules({
    requests: { limit: () => requests },
    tokens: undefined,
    cost: undefined,
  }).of('', undefined as never)

const ONE = { requests: 1, tokens: 0, cost: 0 }

function made({ exact = false } = {}) {
  const others = new Others()
  const store = new SharedStore(others, { exact, alone: new MemoryStore() })
  const take = (limits: Limits, key = 'a') => store.reserve(key, ONE, limits, NOTHING)
  return { others, store, take }
}

/** How many calls in a row are granted, of a hundred. */
async function granted(take: () => unknown): Promise<number> {
  let count = 0
  for (let i = 0; i < 100; i++) {
    const { granted } = (await take()) as { granted: boolean }
    if (granted) count++
  }
  return count
}

describe('what a process has borrowed', () => {
  it('is given out without asking, and what is left of it goes back after two seconds', async () => {
    const { others, take } = made()
    await take(limitsOf(1_000))
    for (let i = 0; i < 9; i++) expect(take(limitsOf(1_000))).toMatchObject({ granted: true })
    expect(others.asked).toHaveLength(1)
    expect(others.left).toBe(950)
    await tick(2_000)
    expect(others.left).toBe(990)
    expect(others.corrected).toMatchObject([{ unit: 'requests', amount: -40 }])
  })

  it('is one loan at a time, however many calls come at once', async () => {
    const { others, take } = made()
    await Promise.all(Array.from({ length: 20 }, () => take(limitsOf(1_000))))
    expect(others.asked.map(([order]) => order?.want).sort()).toEqual([...Array(19).fill(1), 50])
  })

  it('goes back when the layer closes, and when its key is forgotten for others', async () => {
    const { others, store, take } = made()
    await take(limitsOf(1_000))
    store.close()
    expect(others.left).toBe(999)
    await take(limitsOf(1_000), 'first')
    for (let i = 0; i < 10_000; i++) await take(limitsOf(10), `key ${i}`)
    expect(store.keys).toBe(10_000)
    expect(others.corrected.filter(({ amount }) => amount === -49)).toHaveLength(2)
  })

  it('is nothing where every call is asked for', async () => {
    const { others, take } = made({ exact: true })
    for (let i = 0; i < 5; i++) await take(limitsOf(1_000))
    expect(others.asked.map(([order]) => order?.want)).toEqual([1, 1, 1, 1, 1])
  })
})

describe('a process alone', () => {
  it.each([
    [600, 1, 100],
    [600, 4, 25],
    [6, 4, 1],
    [0.5, 4, 1],
    [0, 4, 0],
    [0, 1, 0],
  ])(
    'lets, of a limit of %s for %i processes, %i calls through at once',
    async (limit, processes, count) => {
      const { others, take } = made()
      others.isThere = false
      others.processes = processes
      expect(await granted(() => take(limitsOf(limit)))).toBe(count)
    },
  )

  it('says that it has decided alone', async () => {
    const { others, take } = made()
    others.isThere = false
    expect(await take(limitsOf(6))).toMatchObject({ granted: true, alone: true })
    expect(await take(limitsOf(6))).toMatchObject({ granted: false, alone: true })
  })
})

describe('what is left', () => {
  it('is a number also of a limit that lets nothing through', async () => {
    const { others, store, take } = made({ exact: true })
    others.left = 2
    await take(limitsOf(0))
    const [level] = store.levels('a', limitsOf(0))
    expect(level).toMatchObject({ limit: 0, remaining: 1, resetMs: 0 })
  })
})
