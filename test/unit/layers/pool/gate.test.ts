import { beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Context, stack } from '../../../../src/core/index.js'
import { type PoolMember, type PoolOptions, pool } from '../../../../src/layers/pool/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { type HeldAsk, held } from '../../../support/held.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
})

const limited = (retryAfter?: number) => upstreamError('RATE_LIMITED', { retryAfter })
const TWO: PoolMember[] = [{ apiKey: 'sk_first' }, { apiKey: 'sk_second' }]

/** A pool around work that the test ends one by one. */
function around(options: PoolOptions<'pool', HeldAsk> = {}) {
  const { fn, ...work } = held(({ id }, { transport }) => `${id}@${transport?.member}`)
  const ask = stack(fn, pool({ connections: 4, ...options }))
  const call = (of: string | HeldAsk, options?: CallOptions) =>
    watch(ask(typeof of === 'string' ? { id: of } : of, options))
  return { ...work, ask, call, stats: () => ask.stats().pool }
}

describe('the gate of a pool member', () => {
  it('keeps calls waiting while no member is open, then lets one begin', async () => {
    const { call, end, refuse, started, stats } = around()
    call('a')
    await refuse('a', 5_000)
    for (const id of ['b', 'c', 'd']) call(id)
    expect(stats()).toMatchObject({ active: 0, waiting: 3, members: [{ state: 'paused' }] })
    await tick(4_999)
    expect(started).toEqual(['a@0'])
    await tick(1)
    expect(started).toEqual(['a@0', 'b@0'])
    await end('b')
    expect(started).toEqual(['a@0', 'b@0', 'c@0', 'd@0'])
    await end('c', 'd')
    expect(stats()).toMatchObject({ active: 0, waiting: 0, members: [{ state: 'ready' }] })
  })

  it('sends calls to another member meanwhile', async () => {
    const { call, end, refuse, started } = around({ members: TWO })
    call('a')
    await refuse('a', 5_000)
    for (const id of ['b', 'c', 'd']) call(id)
    expect(started).toEqual(['a@0', 'b@1', 'c@1', 'd@1'])
    await end('b', 'c', 'd')
  })

  it('sends waiting calls to the first member that reopens when all are paused', async () => {
    const { call, end, refuse, started } = around({ members: TWO })
    call('a')
    call('b')
    await refuse('a', 9_000)
    await refuse('b', 4_000)
    call('c')
    await tick(3_999)
    expect(started).toHaveLength(2)
    await tick(1)
    expect(started).toEqual(['a@0', 'b@1', 'c@1'])
    await end('c')
  })

  it('immediately rejects new and waiting calls that cannot wait long enough', async () => {
    const { ask, call, end, refuse, stats } = around({ connections: 1, members: TWO })
    call('a')
    call('b')
    const hurried = call('c', { timeoutMs: 3_000 })
    const patient = call('d', { timeoutMs: 30_000 })
    await refuse('a', 5_000)
    // The other member may end its call in time.
    expect(hurried.state).toBe('pending')
    await refuse('b', 8_000)
    expect(hurried.error).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      refused: true,
      retryAfter: 5_000,
      layer: 'pool',
    })
    expect(await failure(ask({ id: 'e' }, { timeoutMs: 4_000 }))).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 5_000,
    })
    expect(stats().waiting).toBe(1)
    await tick(5_000)
    await end('d')
    expect(patient.value).toBe('done')
  })

  it('is not shut by a call with a key of its own, and does not stop one', async () => {
    const { call, end, refuse, started } = around()
    call({ id: 'a', own: true })
    await refuse('a', 5_000)
    call('b')
    await refuse('b', 5_000)
    call({ id: 'c', own: true })
    expect(started).toEqual(['a@0', 'b@0', 'c@0'])
    await end('c')
  })

  it('makes calls wait for a paused member rather than use an ejected one', async () => {
    const used: number[] = []
    const errors: unknown[] = [limited(5_000), upstreamError('AUTH')]
    const ask = stack(
      async (_: string, { transport }: Context) => {
        const member = transport!.member!
        used.push(member)
        const error = errors[member]
        errors[member] = undefined
        if (error) throw error
        return 'done'
      },
      pool({ members: TWO }),
    )
    await failure(ask('a'))
    await failure(ask('b'))
    const c = watch(ask('c'))
    await tick(4_999)
    expect(c.state).toBe('pending')
    await tick(1)
    expect([c.value, used]).toEqual(['done', [0, 1, 0]])
  })

  it('immediately rejects calls that cannot wait for the only member, ejected or not', async () => {
    const errors = [upstreamError('AUTH'), limited(5_000)]
    const ask = stack(() => Promise.reject(errors.shift()), pool())
    for (let i = 0; i < 2; i++) await failure(ask())
    expect(await failure(ask(undefined, { timeoutMs: 1_000 }))).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 5_000,
    })
  })

  it('handles the wait itself instead of leaving it to an outer retry or queue', async () => {
    const used: number[] = []
    const ask = stack(
      async (_: string, { transport }: Context) => {
        used.push(transport!.member!)
        if (used.length < 3) throw limited(5_000)
        return 'done'
      },
      retry({ retries: 2, minDelayMs: 0 }),
      queue({ concurrency: 1 }),
      pool({ members: TWO }),
    )
    const call = watch(ask('a'))
    await tick()
    expect(used).toEqual([0, 1])
    await tick(5_000)
    expect([call.value, used]).toEqual(['done', [0, 1, 0]])
  })

  it('opens for all at once below a queue whose concurrency adapts', async () => {
    const started: string[] = []
    const works: Gate<string>[] = []
    const ask = stack(
      (id: string) => {
        started.push(id)
        works.push(gate<string>())
        return works.at(-1)!.promise
      },
      queue({ concurrency: { min: 4, start: 4 } }),
      pool({ connections: 10 }),
    )
    watch(ask('a'))
    works[0]!.fail(limited(1_000))
    await tick()
    for (const id of ['b', 'c', 'd', 'e']) watch(ask(id))
    await tick(1_000)
    expect(started).toHaveLength(5)
    for (const work of works) work.open('done')
    await tick()
  })

  it('keeps no timer after the last waiting call leaves', async () => {
    const { call, refuse } = around()
    const caller = new AbortController()
    call('a')
    await refuse('a', 60_000)
    call('b', { signal: caller.signal })
    await tick()
    expect(vi.getTimerCount()).toBe(1)
    caller.abort()
    await tick()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("gate: 'model'", () => {
  it('keeps only the calls of one model away from a member', async () => {
    const { call, end, refuse, started, stats } = around({ gate: 'model', connections: 2 })
    call({ id: 'a1', model: 'a' })
    await refuse('a1', 5_000)
    call({ id: 'a2', model: 'a' })
    call({ id: 'b1', model: 'b' })
    call('none')
    expect(started).toEqual(['a1@0', 'b1@0', 'none@0'])
    expect(stats()).toMatchObject({ active: 2, waiting: 1, members: [{ state: 'paused' }] })
    await end('b1')
    await tick(5_000)
    expect(started.at(-1)).toBe('a2@0')
    await end('none', 'a2')
  })

  it('sends calls of that model to another member', async () => {
    const { call, end, refuse, started } = around({ gate: 'model', members: TWO })
    call({ id: 'a1', model: 'a' })
    await refuse('a1', 5_000)
    for (const id of ['a2', 'a3', 'b1', 'b2']) call({ id, model: id[0] as string })
    expect(started).toEqual(['a1@0', 'a2@1', 'a3@1', 'b1@0', 'b2@0'])
    await end('a2', 'a3', 'b1', 'b2')
  })

  it('hands connections on by priority and arrival among all models', async () => {
    const { call, end, started } = around({ gate: 'model', connections: 1 })
    call({ id: 'first', model: 'a' })
    await tick(1)
    call({ id: 'b1', model: 'b' })
    await tick(1)
    call({ id: 'a1', model: 'a' })
    await tick(1)
    call({ id: 'b2', model: 'b' }, { priority: 1 })
    for (const id of ['first', 'b2', 'b1', 'a1']) await end(id)
    expect(started.map((one) => one.replace('@0', ''))).toEqual(['first', 'b2', 'b1', 'a1'])
  })

  it('counts all waiting calls against maxWaiting', async () => {
    const { ask, call, end } = around({ gate: 'model', connections: 1, maxWaiting: 2 })
    call({ id: 'a1', model: 'a' })
    call({ id: 'a2', model: 'a' })
    call({ id: 'b1', model: 'b' })
    expect(await failure(ask({ id: 'c1', model: 'c' }))).toMatchObject({
      code: 'QUEUE_FULL',
      limit: 2,
    })
    for (const id of ['a1', 'a2', 'b1']) await end(id)
  })
})
