import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/client.js'
import {
  type Context,
  collect,
  QueueFullError,
  stack,
  TimeoutError,
  type Transport,
} from '../../../../src/core/index.js'
import { type PoolMember, type PoolOptions, pool } from '../../../../src/layers/pool/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { startLocalBlossom } from '../../../../src/testing/local-blossom/index.js'
import { type Gate, gate } from '../../../support/gate.js'
import { breaking, numbers } from '../../../support/streams.js'
import { type UpstreamCode, upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
const TWO: PoolMember[] = [{ apiKey: 'sk_first' }, { apiKey: 'sk_second' }]

/** A pool around work that the test ends one by one. */
function held(options: PoolOptions = {}) {
  const works: { member: number; request: string; work: Gate<string> }[] = []
  const ask = stack((request: string, { transport }: Context) => {
    const work = gate<string>()
    works.push({ member: transport!.member!, request, work })
    return work.promise
  }, pool(options))
  const end = async (request: string) => {
    works.find((one) => one.request === request)!.work.open(request)
    await tick()
  }
  const endAll = async () => {
    for (let ended = 0; ended < works.length; ) {
      for (; ended < works.length; ended++) works[ended]!.work.open('')
      await tick()
    }
  }
  const call = (request: string, options = {}) => watch(ask(request, options))
  return {
    ask,
    call,
    end,
    endAll,
    works,
    started: () => works.map(({ request }) => request),
    stats: () => ask.stats().pool,
  }
}

/** A pool whose members answer with what the test says, by index: an error to throw, or nothing. */
function around(options: PoolOptions, ...inside: unknown[]) {
  const answers: unknown[] = []
  const used: number[] = []
  const ask = stack(
    async (_: string, { transport }: Context) => {
      const member = transport!.member!
      used.push(member)
      const answer = answers[member]
      if (answer instanceof Error) throw answer
      return `member ${member}`
    },
    ...(inside as []),
    pool(options),
  )
  const run = async (times: number) => {
    for (let i = 0; i < times; i++) await ask('x').catch(() => {})
  }
  const states = () =>
    (ask.stats() as unknown as { pool: { members: { state: string }[] } }).pool.members.map(
      ({ state }) => state,
    )
  return { ask, answers, used, run, states }
}

describe('pool', () => {
  describe('as a bounded lease around any function', () => {
    it('leases its connections and lets the others wait', async () => {
      const { call, end, endAll, started, stats } = held({ connections: 2 })
      const calls = ['a', 'b', 'c', 'd'].map((request) => call(request))
      expect(started()).toEqual(['a', 'b'])
      expect(stats()).toEqual({
        max: 2,
        active: 2,
        available: 0,
        waiting: 2,
        members: [{ active: 2, state: 'ready' }],
      })
      await end('b')
      expect(started()).toEqual(['a', 'b', 'c'])
      await endAll()
      expect(calls.every(({ state }) => state === 'resolved')).toBe(true)
      expect(stats()).toEqual({
        max: 2,
        active: 0,
        available: 2,
        waiting: 0,
        members: [{ active: 0, state: 'ready' }],
      })
    })

    it('has 10 connections and 1000 places by default', async () => {
      const { ask, call, endAll, started, stats } = held()
      for (let i = 0; i < 1_010; i++) call(`${i}`)
      expect(stats()).toMatchObject({ max: 10, active: 10, waiting: 1_000 })
      expect(await failure(ask('one more'))).toMatchObject({
        code: 'QUEUE_FULL',
        limit: 1_000,
        layer: 'pool',
        refused: true,
      })
      await endAll()
      expect(started()).toHaveLength(1_010)
    })

    it('refuses at once when maxWaiting wait', async () => {
      const { ask, call, endAll } = held({ connections: 1, maxWaiting: 0 })
      call('a')
      expect(await failure(ask('b'))).toMatchObject({ code: 'QUEUE_FULL', limit: 0 })
      await endAll()
    })

    it('hands connections on by priority and then by arrival', async () => {
      const { call, endAll, started } = held({ connections: 1 })
      call('first')
      call('b')
      call('urgent', { priority: 1 })
      call('c')
      await endAll()
      expect(started()).toEqual(['first', 'urgent', 'b', 'c'])
    })

    it('lets no newcomer overtake those who wait, not in the moment a connection is free', async () => {
      const { call, works, endAll, started } = held({ connections: 1 })
      call('a')
      call('b')
      works[0]!.work.open('')
      for (let i = 0; i < 10; i++) {
        await Promise.resolve()
        call(`new ${i}`)
      }
      await tick()
      expect(started()).toEqual(['a', 'b'])
      await endAll()
    })

    it('gives a connection back when the work fails', async () => {
      const ask = stack(
        () => {
          throw new Error('at once')
        },
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 5; i++) expect(await failure(ask())).toMatchObject({ message: 'at once' })
      expect(ask.stats().pool).toMatchObject({ active: 0, available: 1 })
    })

    it('lets an aborted waiter leave at once, and one that runs only when its work has ended', async () => {
      const { call, end, endAll, started, stats } = held({ connections: 1 })
      const caller = new AbortController()
      const a = call('a', { signal: caller.signal })
      const b = call('b', { signal: caller.signal })
      call('c')
      caller.abort('enough')
      expect(stats().waiting).toBe(1)
      await tick()
      expect([a.error, b.error]).toEqual(['enough', 'enough'])
      expect(started()).toEqual(['a'])
      await end('a')
      expect(started()).toEqual(['a', 'c'])
      await endAll()
    })

    it('ends a wait at the deadline, telling that the call never ran', async () => {
      const { call, endAll } = held({ connections: 1 })
      call('a')
      const b = call('b', { timeoutMs: 100 })
      await tick(100)
      expect(b.error).toMatchObject({
        code: 'TIMEOUT',
        phase: 'queue',
        layer: 'pool',
        refused: true,
      })
      await endAll()
    })

    it("runs each call in its own caller's async context, also behind a wait", async () => {
      const caller = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      const ask = stack(
        async () => {
          seen.push(caller.getStore())
          await new Promise((resolve) => setTimeout(resolve, 10))
          seen.push(caller.getStore())
        },
        pool({ connections: 1 }),
      )
      for (const name of ['a', 'b', 'c']) caller.run(name, () => void watch(ask()))
      await tick(100)
      expect(seen).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
    })

    it('ends those who wait when the stack closes, and lets the running ones finish', async () => {
      const { ask, call, endAll } = held({ connections: 1 })
      const [a, b] = [call('a'), call('b')]
      const closed = watch(ask.close())
      await tick()
      expect(b.error).toMatchObject({ code: 'CLOSED', layer: 'pool' })
      await endAll()
      expect(a.state).toBe('resolved')
      expect(closed.state).toBe('resolved')
    })

    it('holds a connection to the end of a stream, however it ends', async () => {
      const ask = stack(
        (make: () => AsyncGenerator<number>) => Promise.resolve(make()),
        pool({ connections: 1 }),
      )
      const active = () => ask.stats().pool.active
      const stream = await ask(() => numbers(2))
      const waiting = watch(ask(() => numbers(1)))
      await stream.next()
      expect(waiting.state).toBe('pending')
      await collect(stream)
      await tick()
      expect(waiting.state).toBe('resolved')
      await waiting.value!.return(undefined)
      expect(active()).toBe(0)
      await failure(collect(await ask(() => breaking(1, new Error('broke')))))
      expect(active()).toBe(0)
      const caller = new AbortController()
      const cut = await ask(() => numbers(5), { signal: caller.signal })
      expect(active()).toBe(1)
      caller.abort()
      expect(active()).toBe(0)
      await failure(cut.next())
    })

    it('never leases too many, loses none and keeps the order, for any pattern', async () => {
      const step = fc.oneof(
        {
          weight: 3,
          arbitrary: fc.record({
            kind: fc.constant('call' as const),
            n: fc.integer({ min: -1, max: 1 }),
          }),
        },
        {
          weight: 2,
          arbitrary: fc.record({
            kind: fc.constantFrom('end' as const, 'fail' as const, 'abort' as const),
            n: fc.nat(50),
          }),
        },
      )
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 60, size: 'max' }),
          fc.integer({ min: 1, max: 2 }),
          fc.integer({ min: 1, max: 3 }),
          async (steps, connections, count) => {
            const { call, works, endAll, stats } = held({
              connections,
              members: Array.from({ length: count }, () => ({})),
            })
            const max = connections * count
            const all: {
              priority: number
              caller: AbortController
              result: ReturnType<typeof call>
            }[] = []
            let running: number[] = []
            let waiting: number[] = []
            const expected: number[] = []
            for (const { kind, n } of steps) {
              if (kind === 'call') {
                const caller = new AbortController()
                const id = all.length
                all.push({
                  priority: n,
                  caller,
                  result: call(`${id}`, { priority: n, signal: caller.signal }),
                })
                waiting.push(id)
              } else if (kind === 'abort') {
                const id = n % Math.max(1, all.length)
                all[id]?.caller.abort(new Error('enough'))
                waiting = waiting.filter((one) => one !== id)
              } else if (running.length > 0) {
                const id = running[n % running.length]!
                const { work } = works.find(({ request }) => request === `${id}`)!
                if (kind === 'end') work.open('')
                else work.fail(upstreamError('SERVER'))
                running = running.filter((one) => one !== id)
              }
              while (running.length < max && waiting.length > 0) {
                const next = waiting.toSorted(
                  (a, b) => all[b]!.priority - all[a]!.priority || a - b,
                )[0]!
                waiting = waiting.filter((one) => one !== next)
                running.push(next)
                expected.push(next)
              }
              await tick()
              expect(works.map(({ request }) => Number(request))).toEqual(expected)
              const { active, members } = stats()
              expect(stats()).toMatchObject({
                active: running.length,
                available: max - running.length,
                waiting: waiting.length,
              })
              expect(members.reduce((sum, member) => sum + member.active, 0)).toBe(active)
              expect(members.every((member) => member.active <= connections)).toBe(true)
            }
            await endAll()
            expect(all.every(({ result }) => result.state !== 'pending')).toBe(true)
            expect(stats()).toMatchObject({ active: 0, available: max, waiting: 0 })
          },
        ),
        { numRuns: 30 },
      )
    })
  })

  describe('what it hands inward', () => {
    const seen = async (options: PoolOptions, ...outside: never[]): Promise<Transport> => {
      let transport: Transport | undefined
      const ask = stack(
        async (_: string, context: Context) => {
          transport = context.transport
        },
        ...outside,
        pool(options),
      )
      await ask('x')
      return transport!
    }

    it('is the chosen member, with its key and address', async () => {
      expect(
        await seen({ members: [{ apiKey: 'sk_one', baseURL: 'https://one.example' }] }),
      ).toMatchObject({
        member: 0,
        apiKey: 'sk_one',
        baseURL: 'https://one.example',
      })
    })

    it("is only the number of connections when no members are named: the client's key and address stay", async () => {
      expect(await seen({ connections: 3 })).toEqual({
        member: 0,
        apiKey: undefined,
        baseURL: undefined,
        connections: 3,
      })
    })

    it('comes from the innermost of two pools', async () => {
      const transport = await seen(
        { members: [{ apiKey: 'sk_inner' }] },
        pool({ members: [{ apiKey: 'sk_outer' }] }) as never,
      )
      expect(transport.apiKey).toBe('sk_inner')
    })
  })

  describe('several members', () => {
    it('share calls by least load', async () => {
      const { call, end, endAll, works, stats } = held({ connections: 3, members: TWO })
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
      const { call, endAll, works } = held({
        connections: 100,
        members: [{ weight: 1 }, { weight: 3 }],
      })
      for (let i = 0; i < 40; i++) call(`${i}`)
      expect(works.filter(({ member }) => member === 1)).toHaveLength(30)
      await endAll()
    })

    it('take turns by weight when calls come one after the other', async () => {
      const { used, run } = around({ members: [{ weight: 1 }, { weight: 3 }] })
      await run(40)
      expect(used.filter((member) => member === 1)).toHaveLength(30)
      const even = around({ members: TWO })
      await even.run(6)
      expect(even.used).toEqual([0, 1, 0, 1, 0, 1])
    })

    it('take no more than their connections each', async () => {
      const { call, endAll, works } = held({
        connections: 2,
        members: [{ weight: 1 }, { weight: 1_000 }],
      })
      for (let i = 0; i < 5; i++) call(`${i}`)
      expect(works.filter(({ member }) => member === 1)).toHaveLength(2)
      expect(works).toHaveLength(4)
      await endAll()
    })

    it('note in meta who was asked, and who failed', async () => {
      const { ask, answers } = around({ members: TWO })
      answers[0] = upstreamError('SERVER')
      const meta = new Map<string, unknown>()
      await failure(ask('x', { meta }))
      expect(meta.get('pool')).toEqual({ member: 0, failed: new Set([0]) })
    })

    it('are unharmed by what a caller puts into meta', async () => {
      const { ask, answers } = around({ members: TWO })
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
      const { answers, used, run, states } = around({ members: TWO })
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
        const { answers, run, states } = around({ members: TWO })
        answers[0] = upstreamError(code)
        await run(10)
        expect(states()).toEqual(['ejected', 'ready'])
      },
    )

    it.each([
      ['a time-out', new TimeoutError(5)],
      ['a foreign error', new Error('odd')],
    ])('is ejected for %s', async (_, error) => {
      const { answers, run, states } = around({ members: TWO })
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
      const { answers, run, states } = around({ members: TWO })
      answers[0] = error
      await run(20)
      expect(states()).toEqual(['ready', 'ready'])
    })

    it.each(['AUTH', 'PAYMENT'] satisfies UpstreamCode[])(
      'is ejected for %s at once: it would answer fastest of all',
      async (code) => {
        const { answers, used, run, states } = around({ members: TWO })
        answers[0] = upstreamError(code)
        await run(10)
        expect(states()).toEqual(['ejected', 'ready'])
        expect(used.filter((member) => member === 0)).toHaveLength(1)
      },
    )

    it('is not ejected while successes come between its failures', async () => {
      const { answers, run, states } = around({ members: TWO })
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
        const pooled = held({ members: TWO, connections: 20 })
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
        async (_: string, { transport }: Context) =>
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
          async (_: string, { transport }: Context) => {
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
      const { ask, works, call, endAll } = held({ members: TWO, connections: 10 })
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

    it('is used all the same when all are failing', async () => {
      const { answers, used, run, states } = around({ members: TWO })
      answers[0] = upstreamError('SERVER')
      answers[1] = upstreamError('AUTH')
      await run(20)
      expect(states()).toEqual(['ejected', 'ejected'])
      expect(used).toHaveLength(20)
      answers[0] = undefined
      answers[1] = undefined
      const { ask } = around({ members: TWO })
      expect(await ask('x')).toMatch(/member/)
    })

    it('is used all the same when it is the only one', async () => {
      const { answers, used, run, states } = around({})
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
      const { answers, used, run, states } = around({ members: TWO })
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

    it('does not keep its call waiting while another is free, and does when none is', async () => {
      const used: number[] = []
      const ask = stack(
        async (_: string, { transport }: Context) => {
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
      const { call, works, endAll, stats } = held({ connections: 3 })
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
      const { answers, run, states } = around({ members: TWO })
      answers[0] = upstreamError('RATE_LIMITED')
      await run(1)
      await tick(999)
      expect(states()).toEqual(['paused', 'ready'])
      await tick(1)
      expect(states()).toEqual(['ready', 'ready'])
    })

    it('is not ejected, however often', async () => {
      const { answers, run, states } = around({ members: TWO })
      answers[0] = upstreamError('RATE_LIMITED', { retryAfter: 1 })
      for (let i = 0; i < 20; i++) {
        await run(1)
        await tick(1)
      }
      expect(states()).toEqual(['ready', 'ready'])
    })
  })

  it('shows no key anywhere', async () => {
    const members = [
      { apiKey: 'sk_secret_one', baseURL: 'https://one.example' },
      { apiKey: 'sk_secret_two', baseURL: 'https://two.example' },
    ]
    const layer = pool({ members })
    const ask = stack(async () => {
      throw upstreamError('SERVER')
    }, layer)
    const meta = new Map<string, unknown>()
    const error = await failure(ask(undefined, { meta }))
    for (const shown of [ask.stats(), ask.describe(), error, meta, layer]) {
      expect(inspect(shown, { depth: 20, showHidden: true })).not.toContain('secret')
      expect(JSON.stringify(shown) ?? '').not.toContain('secret')
    }
  })

  it('gives stats that survive JSON', () => {
    const { stats } = pool({ members: TWO })
    expect(JSON.parse(JSON.stringify(stats()))).toEqual(stats())
  })

  describe('options', () => {
    it.each([
      ['no connections', { connections: 0 }, '"connections"'],
      ['NaN connections', { connections: Number.NaN }, '"connections"'],
      ['connections without end', { connections: Number.POSITIVE_INFINITY }, '"connections"'],
      ['a negative maxWaiting', { maxWaiting: -1 }, '"maxWaiting"'],
      ['no members at all', { members: [] }, '"members"'],
      ['members that are no list', { members: {} }, '"members"'],
      ['a key for options', 'sk_secret', 'pool'],
      ['a key for members', { members: 'sk_secret' }, '"members"'],
      ['a member that is a key', { members: ['sk_secret'] }, 'pool'],
      ['a weight of 0', { members: [{ weight: 0 }] }, '"weight"'],
      ['an address that is none', { members: [{ baseURL: 'gen.example' }] }, '"baseURL"'],
      ['a file', { members: [{ baseURL: 'file:///etc/passwd' }] }, '"baseURL"'],
      [
        'an address with credentials',
        { members: [{ baseURL: 'https://user:secret@one.example' }] },
        '"baseURL"',
      ],
      ['a key with a line break', { members: [{ apiKey: 'sk_secret\r\nx: y' }] }, '"apiKey"'],
      ['an empty key', { members: [{ apiKey: '' }] }, '"apiKey"'],
      ['a key that is no string', { members: [{ apiKey: 5 }] }, '"apiKey"'],
      ['an unknown field of a member', { members: [{ key: 'sk_secret' }] }, '"key"'],
      ["undici's own options", { pipelining: 5 }, '"pipelining"'],
      ["a dispatcher, which is the client's option", { dispatcher: {} }, '"dispatcher"'],
    ])('refuses %s, and repeats no key', (_, options, words) => {
      let error: unknown
      try {
        pool(options as never)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toMatchObject({
        code: 'CONFIG',
        layer: 'pool',
        message: expect.stringContaining(words),
      })
      expect((error as Error).message).not.toMatch(/sk_secret|user:secret/)
    })
  })

  describe('over real connections', () => {
    let sockets = 0
    const connected = () => {
      sockets++
    }

    beforeEach(() => {
      vi.useRealTimers()
      sockets = 0
      subscribe('undici:client:connected', connected)
    })

    afterEach(() => {
      unsubscribe('undici:client:connected', connected)
    })

    it('opens no more sockets than connections, and uses them again', async () => {
      await using upstream = await startLocalBlossom({ latencyMs: 5 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 2 }),
      )
      await Promise.all(Array.from({ length: 12 }, (_, i) => blossom.text.generate(`prompt ${i}`)))
      for (let i = 0; i < 5; i++) await blossom.text.generate(`later ${i}`)
      expect(upstream.requests).toHaveLength(17)
      expect(upstream.maxActive).toBeLessThanOrEqual(2)
      expect(sockets).toBeLessThanOrEqual(2)
    })

    it('uses the connection again after a stream that was read to its end', async () => {
      await using upstream = await startLocalBlossom({ words: 5 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++) await collect(await blossom.text.stream(`prompt ${i}`))
      expect(sockets).toBe(1)
    })

    it('is not pinned by a stream whose reader leaves', async () => {
      await using upstream = await startLocalBlossom({ words: 5_000, chunkDelayMs: 1 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++) {
        for await (const _ of await blossom.text.stream(`prompt ${i}`)) break
        await upstream.waitFor(() => upstream.requests[i]!.outcome === 'aborted')
      }
      expect(blossom.stats().pool).toMatchObject({ active: 0, available: 1 })
    })

    it('is not pinned by a stream that nobody reads and whose caller aborts', async () => {
      await using upstream = await startLocalBlossom({ words: 5_000, chunkDelayMs: 1 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      const caller = new AbortController()
      await blossom.text.stream('unread', { signal: caller.signal })
      const next = watch(blossom.text.generate('next', { maxTokens: 5 }))
      expect(blossom.stats().pool.waiting).toBe(1)
      caller.abort()
      await upstream.waitFor(() => upstream.requests[1]?.outcome === 'complete')
      await vi.waitFor(() => expect(next.state).toBe('resolved'))
    })

    it("is not pinned by a failed answer's body", async () => {
      await using upstream = await startLocalBlossom()
      upstream.faults.push({ status: 500, bigBody: 8 * 1024 * 1024, times: 3 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++)
        expect(await failure(blossom.text.generate(`prompt ${i}`))).toMatchObject({
          code: 'SERVER',
        })
      expect((await blossom.text.generate('well again')).text).not.toBe('')
    })

    it("sends each member's key to its own address, and the client's key to neither", async () => {
      await using one = await startLocalBlossom()
      await using other = await startLocalBlossom()
      await using blossom = createBlossom({ apiKey: 'sk_client', baseURL: one.url }).use(
        pool({
          members: [
            { apiKey: 'sk_one', baseURL: one.url },
            { apiKey: 'sk_other', baseURL: other.url },
          ],
        }),
      )
      await Promise.all(Array.from({ length: 6 }, (_, i) => blossom.text.generate(`prompt ${i}`)))
      const sha = (key: string) => createHash('sha256').update(key).digest('hex')
      expect(one.requests.map(({ keySha256 }) => keySha256)).toEqual([
        sha('sk_one'),
        sha('sk_one'),
        sha('sk_one'),
      ])
      expect(other.requests.map(({ keySha256 }) => keySha256)).toEqual([
        sha('sk_other'),
        sha('sk_other'),
        sha('sk_other'),
      ])
    })

    it('answers through another member when one is down', async () => {
      await using well = await startLocalBlossom()
      const dead = await startLocalBlossom()
      await dead.close()
      await using blossom = createBlossom({ apiKey: 'sk_client' }).use(
        retry({ minDelayMs: 0 }),
        pool({ members: [{ baseURL: dead.url }, { baseURL: well.url }] }),
      )
      for (let i = 0; i < 8; i++)
        expect((await blossom.text.generate(`prompt ${i}`)).text).not.toBe('')
      expect(well.requests).toHaveLength(8)
    })

    it('closes its sockets with the client', async () => {
      await using upstream = await startLocalBlossom()
      const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 2 }),
      )
      await blossom.text.generate('prompt')
      const before = process
        .getActiveResourcesInfo()
        .filter((kind) => kind === 'TCPSocketWrap').length
      await blossom.close()
      await vi.waitFor(() => {
        expect(
          process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length,
        ).toBeLessThan(before)
      })
    })
  })
})
