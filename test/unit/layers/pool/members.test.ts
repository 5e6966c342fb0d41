import { describe, expect, it, vi } from 'vitest'
import { collect, QueueFullError, stack, TimeoutError } from '../../../../src/core/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { answeringPool, heldPool, TWO } from '../../../support/pools.js'
import { breaking, numbers } from '../../../support/streams.js'
import { type UpstreamCode, upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

const byWeight = (connections: number, ...weights: number[]) => ({
  connections,
  members: weights.map((weight) => ({ weight })),
})

describe('pool', () => {
  describe('several members', () => {
    it('share calls by least load', async () => {
      const { call, end, endAll, works, stats } = heldPool({ connections: 3, members: TWO })
      for (const request of ['a', 'b', 'c', 'd']) call(request)
      expect(works.map(({ member }) => member)).toEqual([0, 1, 0, 1])
      await end('a')
      await end('c')
      for (const request of ['e', 'f']) call(request)
      expect(works.slice(4).map(({ member }) => member)).toEqual([0, 0])
      expect(stats()).toMatchObject({ max: 6, active: 4, members: [{ active: 2 }, { active: 2 }] })
      await endAll()
    })

    it('share them by weight', async () => {
      const { call, endAll, works } = heldPool(byWeight(100, 1, 3))
      for (let i = 0; i < 40; i++) call(`${i}`)
      expect(works.filter(({ member }) => member === 1)).toHaveLength(30)
      await endAll()
    })

    it('take turns by weight when calls come one after the other', async () => {
      const { used, run } = answeringPool({ members: [{ weight: 1 }, { weight: 3 }] })
      await run(40)
      expect(used.filter((member) => member === 1)).toHaveLength(30)
      const even = answeringPool({ members: TWO })
      await even.run(6)
      expect(even.used).toEqual([0, 1, 0, 1, 0, 1])
    })

    it('take no more than their connections each', async () => {
      const { call, endAll, works } = heldPool(byWeight(2, 1, 1_000))
      for (let i = 0; i < 5; i++) call(`${i}`)
      expect(works.filter(({ member }) => member === 1)).toHaveLength(2)
      expect(works).toHaveLength(4)
      await endAll()
    })

    it('record in meta which member was asked and which failed', async () => {
      const { ask, answers } = answeringPool({ members: TWO })
      answers[0] = upstreamError('SERVER')
      const meta = new Map<string, unknown>()
      await failure(ask('x', { meta }))
      expect(meta.get('pool')).toEqual({ member: 0, failed: new Set([0]) })
    })

    it('are unharmed by what a caller puts into meta', async () => {
      const { ask, answers } = answeringPool({ members: TWO })
      answers[0] = upstreamError('SERVER')
      for (const mine of ['mine', null, 5, { failed: 'all' }]) {
        await failure(ask('x', { meta: new Map<string, unknown>([['pool', mine]]) }))
        answers[1] = answers[0]
      }
      expect(ask.stats()).toMatchObject({ pool: { active: 0 } })
      const clearing = new Map<string, unknown>()
      const base = async () => {
        clearing.clear()
        throw upstreamError('SERVER')
      }
      const other = stack(base, pool({ members: TWO, connections: 1 }))
      for (let i = 0; i < 4; i++) await failure(other(undefined, { meta: clearing }))
      expect(other.stats().pool).toMatchObject({ active: 0, available: 2 })
    })
  })

  describe('a failing member', () => {
    it('is ejected after 5 failures in a row, for 30 s', async () => {
      const { answers, used, run, states } = answeringPool({ members: TWO })
      answers[0] = upstreamError('SERVER')
      await run(8)
      expect(states()).toEqual(['ready', 'ready'])
      await run(1)
      expect(used.filter((member) => member === 0)).toHaveLength(5)
      expect(states()).toEqual(['ejected', 'ready'])
      await run(20)
      expect(used.filter((member) => member === 0)).toHaveLength(5)
      await tick(29_999)
      await run(1)
      expect(states()).toEqual(['ejected', 'ready'])
      await tick(1)
      expect(states()).toEqual(['ready', 'ready'])
      answers[0] = undefined
      used.length = 0
      await run(10)
      // It takes its turns again, and has none to catch up on.
      expect([4, 5, 6]).toContain(used.filter((member) => member === 0).length)
    })

    it.each(['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'] satisfies UpstreamCode[])(
      'is ejected for %s',
      async (code) => {
        const { answers, run, states } = answeringPool({ members: TWO })
        answers[0] = upstreamError(code)
        await run(10)
        expect(states()).toEqual(['ejected', 'ready'])
      },
    )

    it.each([
      ['a time-out', new TimeoutError(5)],
      ['a foreign error', new Error('odd')],
    ])('is ejected for %s', async (_, error) => {
      const { answers, run, states } = answeringPool({ members: TWO })
      answers[0] = error
      await run(10)
      expect(states()).toEqual(['ejected', 'ready'])
    })

    it.each([
      ['BAD_REQUEST', upstreamError('BAD_REQUEST')],
      ['NOT_FOUND', upstreamError('NOT_FOUND')],
      ['FORBIDDEN', upstreamError('FORBIDDEN')],
      ['a refusal', new QueueFullError(1)],
      ['an unread stream', new TimeoutError(5, { phase: 'read' })],
    ])('is not ejected for %s', async (_, error) => {
      const { answers, run, states } = answeringPool({ members: TWO })
      answers[0] = error
      await run(20)
      expect(states()).toEqual(['ready', 'ready'])
    })

    it.each(['AUTH', 'PAYMENT'] satisfies UpstreamCode[])(
      'is ejected for %s at once: it would answer fastest of all',
      async (code) => {
        const { answers, used, run, states } = answeringPool({ members: TWO })
        answers[0] = upstreamError(code)
        await run(10)
        expect(states()).toEqual(['ejected', 'ready'])
        expect(used.filter((member) => member === 0)).toHaveLength(1)
      },
    )

    it('is not ejected while successes interrupt its failures', async () => {
      const { answers, run, states } = answeringPool({ members: TWO })
      for (let i = 0; i < 5; i++) {
        answers[0] = upstreamError('SERVER')
        await run(8)
        answers[0] = undefined
        await run(2)
      }
      expect(states()).toEqual(['ready', 'ready'])
    })

    it("is not blamed for a caller's abort", async () => {
      const { ask, works, states } = (() => {
        const pooled = heldPool({ members: TWO, connections: 20 })
        return { ...pooled, states: () => pooled.stats().members.map(({ state }) => state) }
      })()
      const caller = new AbortController()
      const calls = Array.from({ length: 20 }, () => watch(ask('x', { signal: caller.signal })))
      caller.abort()
      for (const { work } of works) work.fail(upstreamError('NETWORK'))
      await tick()
      expect(calls.every(({ state }) => state === 'rejected')).toBe(true)
      expect(states()).toEqual(['ready', 'ready'])
    })

    it('is blamed for a stream that breaks half-way', async () => {
      const ask = stack(
        async (_: string, { transport }) =>
          transport!.member === 0 ? breaking(1, upstreamError('STREAM')) : numbers(2),
        pool({ members: TWO }),
      )
      for (let i = 0; i < 10; i++) await collect(await ask('x')).catch(() => {})
      expect(ask.stats().pool.members.map(({ state }) => state)).toEqual(['ejected', 'ready'])
    })

    it('is avoided by the retry of the call that it failed', async () => {
      for (let i = 0; i < 5; i++) {
        const base = { used: [] as number[] }
        const ask = stack(
          async (_: string, { transport }) => {
            base.used.push(transport!.member!)
            if (base.used.length < 3) throw upstreamError('SERVER')
          },
          retry(),
          pool({ members: [...TWO, { apiKey: 'sk_third' }] }),
        )
        const call = watch(ask('x'))
        await tick(60_000)
        expect(call.state).toBe('resolved')
        expect([...base.used].sort()).toEqual([0, 1, 2])
      }
    })

    it('is avoided by the retry even when it has the least load', async () => {
      const { ask, works, call, endAll } = heldPool({ members: TWO, connections: 10 })
      void ask
      for (const request of ['a', 'b', 'c', 'd', 'e']) call(request)
      // Member 1 has two calls, member 0 three; the next goes to member 1.
      const layered = works.map(({ member }) => member)
      expect(layered).toEqual([0, 1, 0, 1, 0])
      const meta = new Map<string, unknown>([['pool', { member: 1, failed: new Set([1]) }]])
      call('again', { meta })
      expect(works.at(-1)!.member).toBe(0)
      await endAll()
    })

    it('is still used when all members are failing', async () => {
      const { answers, used, run, states } = answeringPool({ members: TWO })
      answers[0] = upstreamError('SERVER')
      answers[1] = upstreamError('AUTH')
      await run(20)
      expect(states()).toEqual(['ejected', 'ejected'])
      expect(used).toHaveLength(20)
      answers[0] = undefined
      answers[1] = undefined
      const { ask } = answeringPool({ members: TWO })
      expect(await ask('x')).toMatch(/member/)
    })

    it('is still used when it is the only member', async () => {
      const { answers, used, run, states } = answeringPool({})
      answers[0] = upstreamError('AUTH')
      await run(3)
      answers[0] = undefined
      await run(1)
      expect(used).toHaveLength(4)
      expect(states()).toEqual(['ejected'])
    })
  })

  describe('a member that answers 429', () => {
    it('rests for the time it named, while another is free', async () => {
      const { answers, used, run, states } = answeringPool({ members: TWO })
      answers[0] = upstreamError('RATE_LIMITED', { retryAfter: 5_000 })
      await run(1)
      answers[0] = undefined
      expect(states()).toEqual(['paused', 'ready'])
      used.length = 0
      await run(5)
      await tick(4_999)
      await run(1)
      expect(used).toEqual([1, 1, 1, 1, 1, 1])
      await tick(1)
      expect(states()).toEqual(['ready', 'ready'])
      await run(1)
      expect(used.at(-1)).toBe(0)
    })

    it('makes its call wait only when no other member is free', async () => {
      const used: number[] = []
      const ask = stack(
        async (_: string, { transport }) => {
          used.push(transport!.member!)
          if (used.length < 3) throw upstreamError('RATE_LIMITED', { retryAfter: 5_000 })
        },
        retry({ retries: 2, minDelayMs: 100, random: () => 0.5 }),
        pool({ members: TWO }),
      )
      const call = watch(ask('x'))
      await tick(50)
      expect(used).toEqual([0, 1])
      await tick(4_999)
      expect(used).toHaveLength(2)
      await tick(100)
      expect(used).toHaveLength(3)
      expect(call.state).toBe('resolved')
    })

    it('rests for the longest time it named, whatever it says afterwards', async () => {
      const { call, works, endAll, stats } = heldPool({ connections: 3 })
      for (const request of ['a', 'b', 'c']) call(request)
      for (const [i, retryAfter] of [5_000, 30_000, undefined].entries())
        works[i]!.work.fail(upstreamError('RATE_LIMITED', { retryAfter }))
      await tick(29_999)
      expect(stats().members).toMatchObject([{ state: 'paused' }])
      await tick(1)
      expect(stats().members).toMatchObject([{ state: 'ready' }])
      await endAll()
    })

    it('rests for a second when it named no time', async () => {
      vi.spyOn(Math, 'random').mockReturnValue(0)
      const { answers, run, states } = answeringPool({ members: TWO })
      answers[0] = upstreamError('RATE_LIMITED')
      await run(1)
      await tick(999)
      expect(states()).toEqual(['paused', 'ready'])
      await tick(1)
      expect(states()).toEqual(['ready', 'ready'])
    })

    it('is not ejected, however often', async () => {
      const { answers, run, states } = answeringPool({ members: TWO })
      answers[0] = upstreamError('RATE_LIMITED', { retryAfter: 1 })
      for (let i = 0; i < 20; i++) {
        await run(1)
        await tick(1)
      }
      expect(states()).toEqual(['ready', 'ready'])
    })
  })
})
