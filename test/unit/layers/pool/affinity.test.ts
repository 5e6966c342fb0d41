import { describe, expect, it, vi } from 'vitest'
import { base, type CallOptions, type Context, stack } from '../../../../src/core/index.js'
import { type PoolMember, type PoolOptions, pool } from '../../../../src/layers/pool/index.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

const members = (count: number, of: Partial<PoolMember> = {}): PoolMember[] =>
  Array.from({ length: count }, (_, i) => ({ apiKey: `sk_${i}`, ...of }))

interface Ask {
  readonly about?: string
  readonly fail?: Error
  readonly held?: Gate<unknown>
}

function pooled(options: PoolOptions<'pool', Ask> = {}) {
  const used: number[] = []
  const ask = stack(
    base(
      async ({ fail, held }: Ask, { transport }: Context) => {
        used.push(transport!.member!)
        if (fail) throw fail
        await held?.promise
      },
      { conversation: ({ about }) => about },
    ),
    pool({ affinity: true, members: members(4), ...options }),
  )
  /** The member that a call went to. */
  const go = async (about: string | undefined, more: Ask = {}, options?: CallOptions) => {
    const call = watch(ask({ ...(about !== undefined && { about }), ...more }, options))
    await tick()
    void call
    return used.at(-1) as number
  }
  return { ask, go, used, stats: () => ask.stats().pool }
}

describe('pool({ affinity })', () => {
  it('sends the calls of one conversation to one member, and many to all', async () => {
    const { go, used } = pooled()
    const places = new Map<string, number>()
    for (let i = 0; i < 40; i++) places.set(`about ${i}`, await go(`about ${i}`))
    used.length = 0
    for (const [about, place] of places) expect(await go(about)).toBe(place)
    expect(new Set(places.values()).size).toBe(4)
  })

  it('picks the same member in every process, whatever was asked before', async () => {
    const [one, other] = [pooled(), pooled({ members: members(4).reverse() })]
    for (let i = 0; i < 7; i++) await other.go(`something else ${i}`)
    for (let i = 0; i < 40; i++)
      expect(3 - (await other.go(`about ${i}`))).toBe(await one.go(`about ${i}`))
  })

  it('shares conversations by weight', async () => {
    const { go, used } = pooled({
      members: [
        { apiKey: 'sk_light', weight: 1 },
        { apiKey: 'sk_heavy', weight: 3 },
      ],
    })
    for (let i = 0; i < 1_000; i++) await go(`about ${i}`)
    const heavy = used.filter((member) => member === 1).length
    expect(heavy).toBeGreaterThan(700)
    expect(heavy).toBeLessThan(800)
  })

  it('moves only the conversations of a member that is removed', async () => {
    const [four, three] = [pooled(), pooled({ members: members(4).slice(0, 3) })]
    for (let i = 0; i < 60; i++) {
      const before = await four.go(`about ${i}`)
      const after = await three.go(`about ${i}`)
      if (before < 3) expect(after).toBe(before)
    }
  })

  it('never shares a conversation between tenants', async () => {
    const { go } = pooled()
    const places = new Set<number>()
    for (let i = 0; i < 40; i++) places.add(await go('the same', {}, { tenant: `tenant ${i}` }))
    expect(places.size).toBe(4)
  })

  it('leaves calls without a conversation to the least loaded', async () => {
    const { go, used } = pooled()
    for (let i = 0; i < 8; i++) await go(undefined)
    expect(used).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })

  it('goes elsewhere while its member is paused, and stays there as long as it is used', async () => {
    const { go } = pooled()
    const home = await go('roses')
    await go('roses', { fail: upstreamError('RATE_LIMITED', { retryAfter: 10_000 }) })
    const other = await go('roses')
    expect(other).not.toBe(home)
    for (let i = 0; i < 5; i++) {
      await tick(4 * 60_000)
      expect(await go('roses')).toBe(other)
    }
    await tick(5 * 60_000)
    expect(await go('roses')).toBe(home)
  })

  it('goes elsewhere while its member is ejected', async () => {
    const { go } = pooled()
    const home = await go('roses')
    await go('roses', { fail: upstreamError('AUTH') })
    expect(await go('roses')).not.toBe(home)
  })

  it('sends a retry to another member after its own member fails the call', async () => {
    const { go } = pooled()
    const home = await go('roses')
    const meta = new Map<string, unknown>([['pool', { member: home, failed: new Set([home]) }]])
    expect(await go('roses', {}, { meta })).not.toBe(home)
  })

  it('goes elsewhere when its member is a quarter over its share', async () => {
    const { go, used, stats } = pooled({ connections: 100, members: members(2) })
    const held = gate<unknown>()
    const home = await go('roses', { held })
    for (let i = 0; i < 40; i++) await go('roses', { held })
    const there = used.filter((member) => member === home).length
    // ⌈1.25 × 41 × 1/2⌉ and the one that finds just as many.
    expect(there).toBeLessThanOrEqual(27)
    expect(there).toBeGreaterThanOrEqual(20)
    held.open(undefined)
    await tick()
    expect(stats().active).toBe(0)
  })

  it('waits for any connection when none is free', async () => {
    const { go, stats } = pooled({ connections: 1, members: members(2) })
    const held = gate<unknown>()
    for (let i = 0; i < 3; i++) await go('roses', { held })
    expect(stats()).toMatchObject({ active: 2, waiting: 1 })
    held.open(undefined)
    await tick()
    expect(stats()).toMatchObject({ active: 0, waiting: 0 })
  })

  it('takes a function that returns what calls of one conversation have in common', async () => {
    const seen: unknown[] = []
    const { go } = pooled({
      affinity: ({ about }, { tenant }) => {
        seen.push(tenant)
        return about?.split(' ')[0]
      },
    })
    const home = await go('roses are red', {}, { tenant: 'acme' })
    for (const about of ['roses are not', 'roses']) {
      expect(await go(about, {}, { tenant: 'acme' })).toBe(home)
    }
    expect(seen).toEqual(['acme', 'acme', 'acme'])
  })

  it.each([
    [
      'throws',
      () => {
        throw named('AffinityIsBroken')
      },
    ],
    ['answers with a promise', async () => 'roses'],
    ['answers with nonsense', () => 5],
  ])('leaves calls to the least loaded when a function %s', async (_, affinity) => {
    catchWarnings()
    const { go, used } = pooled({ affinity: affinity as never })
    for (let i = 0; i < 4; i++) await go('roses')
    expect(used).toEqual([0, 1, 2, 3])
  })

  it('does nothing with one member or when it is not set', async () => {
    const asked = vi.fn(() => 'roses')
    const { go } = pooled({ members: members(1), affinity: asked })
    await go('roses')
    expect(asked).not.toHaveBeenCalled()
    const { go: other, used } = pooled({ affinity: false })
    for (let i = 0; i < 4; i++) await other('roses')
    expect(used).toEqual([0, 1, 2, 3])
  })

  it.each(['conversation', 5, {}])('refuses %j', (affinity) => {
    expect(() => pool({ affinity: affinity as never })).toThrow(configError('"affinity"'))
  })
})
