import { AsyncLocalStorage } from 'node:async_hooks'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Context, collect, stack, type Transport } from '../../../../src/core/index.js'
import { type PoolOptions, pool } from '../../../../src/layers/pool/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { heldPool, TWO } from '../../../support/pools.js'
import { throwing } from '../../../support/scripted.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('pool', () => {
  describe('as a bounded lease around any function', () => {
    it('leases its connections and lets the others wait', async () => {
      const { call, end, endAll, started, stats } = heldPool({ connections: 2 })
      const busy = (active: number, waiting: number) => ({
        max: 2,
        active,
        available: 2 - active,
        waiting,
        members: [{ active, state: 'ready' }],
      })
      const calls = ['a', 'b', 'c', 'd'].map((request) => call(request))
      expect(started()).toEqual(['a', 'b'])
      expect(stats()).toEqual(busy(2, 2))
      await end('b')
      expect(started()).toEqual(['a', 'b', 'c'])
      await endAll()
      expect(calls.every(({ state }) => state === 'resolved')).toBe(true)
      expect(stats()).toEqual(busy(0, 0))
    })

    it('has 10 connections and 1000 places by default', async () => {
      const { ask, call, endAll, started, stats } = heldPool()
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

    it('immediately rejects a call when maxWaiting calls are waiting', async () => {
      const { ask, call, endAll } = heldPool({ connections: 1, maxWaiting: 0 })
      call('a')
      expect(await failure(ask('b'))).toMatchObject({ code: 'QUEUE_FULL', limit: 0 })
      await endAll()
    })

    it('hands connections on by priority and then by arrival', async () => {
      const { call, endAll, started } = heldPool({ connections: 1 })
      call('first')
      call('b')
      call('urgent', { priority: 1 })
      call('c')
      await endAll()
      expect(started()).toEqual(['first', 'urgent', 'b', 'c'])
    })

    it('lets no new call overtake waiting calls, even as a connection becomes free', async () => {
      const { call, works, endAll, started } = heldPool({ connections: 1 })
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
      const ask = stack(throwing, pool({ connections: 1 }))
      for (let i = 0; i < 5; i++) expect(await failure(ask())).toMatchObject({ message: 'at once' })
      expect(ask.stats().pool).toMatchObject({ active: 0, available: 1 })
    })

    it('releases an aborted waiting call at once, and a running one only after its work ends', async () => {
      const { call, end, endAll, started, stats } = heldPool({ connections: 1 })
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

    it('ends a wait at the deadline and reports that the call never ran', async () => {
      const { call, endAll } = heldPool({ connections: 1 })
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

    it('ends waiting calls when the stack closes and lets running ones finish', async () => {
      const { ask, call, endAll } = heldPool({ connections: 1 })
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
            const { call, works, endAll, stats } = heldPool({
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
})
