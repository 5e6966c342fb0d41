import { beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, stack } from '../../../../src/core/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { type QueueOptions, queue } from '../../../../src/layers/queue/index.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type HeldAsk, held } from '../../../support/held.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
})

const limited = (retryAfter?: number) => upstreamError('RATE_LIMITED', { retryAfter })

/** A queue around work that the test ends one by one. */
function around(options: QueueOptions = {}) {
  const { fn, ...work } = held()
  const ask = stack(fn, queue({ concurrency: 4, ...options }))
  const call = (of: string | HeldAsk, options?: CallOptions) =>
    watch(ask(typeof of === 'string' ? { id: of } : of, options))
  return { ...work, ask, call, stats: () => ask.stats().queue }
}

describe('the gate of a queue', () => {
  it('starts no call for as long as upstream asked, then one beside those in progress', async () => {
    const { call, end, refuse, started, stats } = around()
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) call(id)
    await refuse('d', 5_000)
    expect(started).toHaveLength(4)
    await end('c')
    await tick(4_999)
    expect(started).toHaveLength(4)
    expect(stats()).toMatchObject({ running: 2, waiting: 4 })
    await tick(1)
    expect(started.slice(4)).toEqual(['e'])
    await end('e')
    expect(started.slice(5)).toEqual(['f', 'g'])
    await end('a', 'b', 'f')
    expect(started.slice(7)).toEqual(['h'])
    await end('g', 'h')
    expect(stats()).toMatchObject({ running: 0, waiting: 0, completed: 7, failed: 1 })
  })

  it('waits a second when upstream names no time, and twice as long after another refusal', async () => {
    const { call, end, refuse, started } = around({ concurrency: 1 })
    for (const id of ['a', 'b', 'c']) call(id)
    await refuse('a')
    await tick(999)
    expect(started).toEqual(['a'])
    await tick(1)
    await refuse('b')
    await tick(1_999)
    expect(started).toEqual(['a', 'b'])
    await tick(1)
    expect(started).toEqual(['a', 'b', 'c'])
    await end('c')
  })

  it('keeps a new call waiting even though slots are free', async () => {
    const { call, end, refuse, started } = around()
    call('a')
    await refuse('a', 1_000)
    call('b')
    expect(started).toEqual(['a'])
    await tick(1_000)
    expect(started).toEqual(['a', 'b'])
    await end('b')
  })

  it('immediately rejects calls that cannot wait long enough and says when to retry', async () => {
    const { ask, call, end, refuse, stats } = around({ maxWaitMs: 20_000 })
    call('a')
    await refuse('a', 30_000)
    await tick(1_000)
    expect(await failure(ask({ id: 'b' }))).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      refused: true,
      retryAfter: 29_000,
      layer: 'queue',
    })
    await tick(10_000)
    expect(await failure(ask({ id: 'c' }, { timeoutMs: 5_000 }))).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 19_000,
    })
    const d = call('d')
    expect(stats()).toMatchObject({ waiting: 1, rejected: 2 })
    await tick(19_000)
    await end('d')
    expect(d.value).toBe('done')
  })

  it('immediately rejects waiting calls that cannot wait long enough', async () => {
    const { call, end, refuse, stats } = around({ concurrency: 1 })
    call('a')
    const hurried = call('b', { timeoutMs: 8_000, tenant: 'acme' })
    const patient = call('c', { timeoutMs: 60_000, priority: -1 })
    const endless = call('d', { tenant: 'acme' })
    await refuse('a', 10_000)
    expect(hurried.error).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 10_000, refused: true })
    expect([patient.state, endless.state]).toEqual(['pending', 'pending'])
    expect(stats()).toMatchObject({ waiting: 2, rejected: 1 })
    await tick(10_000)
    await end('d')
    await end('c')
  })

  it('is not shut by a call with a key of its own, and does not stop one', async () => {
    const { call, end, refuse, started } = around()
    call({ id: 'a', own: true })
    await refuse('a', 5_000)
    call('b')
    expect(started).toEqual(['a', 'b'])
    await refuse('b', 5_000)
    call({ id: 'c', own: true })
    call('d')
    expect(started).toEqual(['a', 'b', 'c'])
    await tick(5_000)
    expect(started).toEqual(['a', 'b', 'c', 'd'])
    await end('c', 'd')
  })

  it.each([
    ['a server that is down', upstreamError('SERVER', { status: 503, retryAfter: 5_000 })],
    ['a refusal of ours', upstreamError('RATE_LIMITED', { refused: true, retryAfter: 5_000 })],
  ])('is not shut by %s', async (_, error) => {
    const failing = stack(() => Promise.reject(error), queue())
    await failure(failing())
    expect(await failure(failing())).toBe(error)
  })

  it('leaves the wait to an inner pool, which knows its members', async () => {
    const used: number[] = []
    const ask = stack(
      async (fail: boolean, { transport }) => {
        used.push(transport?.member ?? -1)
        if (fail) throw limited(5_000)
      },
      queue({ concurrency: 4 }),
      pool({ members: [{ apiKey: 'sk_first' }, { apiKey: 'sk_second' }] }),
    )
    await failure(ask(true))
    await ask(false)
    expect(used).toEqual([0, 1])
  })

  it('opens for all at once when the concurrency adapts', async () => {
    const { call, end, refuse, started } = around({ concurrency: { start: 4, min: 4 } })
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) call(id)
    await refuse('a', 1_000)
    await end('b', 'c', 'd')
    expect(started).toHaveLength(4)
    await tick(1_000)
    expect(started).toHaveLength(8)
    await end('e', 'f', 'g', 'h')
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

  it('ends a wait when the stack closes', async () => {
    const { ask, call, refuse } = around()
    call('a')
    await refuse('a', 60_000)
    const b = call('b')
    await ask.close()
    expect(b.error).toMatchObject({ code: 'CLOSED' })
  })
})

describe("gate: 'model'", () => {
  const models = (options: QueueOptions = {}) => around({ gate: 'model', ...options })

  it('stops only the calls of one model', async () => {
    const { call, end, refuse, started, stats } = models()
    call({ id: 'a1', model: 'a' })
    await refuse('a1', 5_000)
    call({ id: 'a2', model: 'a' })
    call({ id: 'b1', model: 'b' })
    call('none')
    expect(started).toEqual(['a1', 'b1', 'none'])
    expect(stats()).toMatchObject({ running: 2, waiting: 1 })
    await tick(5_000)
    expect(started).toEqual(['a1', 'b1', 'none', 'a2'])
    await end('b1', 'none', 'a2')
  })

  it('lets other calls pass one whose model is stopped while it waits for a slot', async () => {
    const { call, end, refuse, started, stats } = models({ concurrency: 2 })
    call({ id: 'a1', model: 'a' })
    call({ id: 'b1', model: 'b' })
    const a2 = call({ id: 'a2', model: 'a' })
    call({ id: 'b2', model: 'b' })
    await refuse('a1', 5_000)
    expect(started).toEqual(['a1', 'b1', 'b2'])
    expect(stats()).toMatchObject({ running: 2, waiting: 1 })
    await end('b1')
    await tick(4_999)
    expect(started).toHaveLength(3)
    await tick(1)
    expect(started).toEqual(['a1', 'b1', 'b2', 'a2'])
    await end('a2', 'b2')
    expect(a2.state).toBe('resolved')
    expect(stats()).toMatchObject({ running: 0, waiting: 0, completed: 3 })
  })

  it('opens with one call of that model, then twice as many', async () => {
    const { call, end, refuse, started } = models({ concurrency: 10 })
    call({ id: 'a0', model: 'a' })
    await refuse('a0', 1_000)
    for (let i = 1; i < 9; i++) call({ id: `a${i}`, model: 'a' })
    await tick(1_000)
    expect(started).toEqual(['a0', 'a1'])
    await end('a1')
    expect(started).toEqual(['a0', 'a1', 'a2', 'a3'])
    await end('a2', 'a3')
    expect(started).toHaveLength(9)
    for (let i = 4; i < 9; i++) await end(`a${i}`)
  })

  it('counts calls waiting for their model as waiting', async () => {
    const { ask, call, end, refuse } = models({ maxWaiting: 2 })
    call({ id: 'a0', model: 'a' })
    await refuse('a0', 1_000)
    call({ id: 'a1', model: 'a' })
    call({ id: 'a2', model: 'a' })
    expect(await failure(ask({ id: 'a3', model: 'a' }))).toMatchObject({ code: 'QUEUE_FULL' })
    call({ id: 'b', model: 'b' })
    await tick(1_000)
    await end('a1', 'b')
    await end('a2')
  })

  it('immediately rejects new and waiting calls that cannot wait long enough', async () => {
    const { ask, call, end, refuse, stats } = models({ concurrency: 2 })
    call({ id: 'a0', model: 'a' })
    call({ id: 'a1', model: 'a' })
    const waiting = call({ id: 'a2', model: 'a' }, { timeoutMs: 3_000 })
    const other = call({ id: 'b', model: 'b' }, { timeoutMs: 3_000 })
    await refuse('a0', 5_000)
    expect(waiting.error).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 5_000 })
    expect(await failure(ask({ id: 'a3', model: 'a' }, { timeoutMs: 3_000 }))).toMatchObject({
      code: 'RATE_LIMITED',
    })
    expect(other.state).toBe('pending')
    await end('b', 'a1')
    expect(stats()).toMatchObject({ waiting: 0, running: 0, rejected: 2 })
  })

  it('keeps slots, turns and timers right when calls are aborted at every place', async () => {
    const { call, end, refuse, started, stats } = models({ concurrency: 1 })
    const [atGate, inLine] = [new AbortController(), new AbortController()]
    call({ id: 'a0', model: 'a' }, { tenant: 'one' })
    call({ id: 'b0', model: 'b' }, { tenant: 'two', signal: inLine.signal })
    call({ id: 'a1', model: 'a' }, { tenant: 'one', signal: atGate.signal })
    call({ id: 'b1', model: 'b' }, { tenant: 'two' })
    await refuse('a0', 5_000)
    inLine.abort()
    atGate.abort()
    await tick()
    expect(started).toEqual(['a0', 'b0'])
    await end('b0')
    expect(started).toEqual(['a0', 'b0', 'b1'])
    await end('b1')
    call({ id: 'a2', model: 'a' }, { tenant: 'one' })
    await tick(5_000)
    await end('a2')
    expect(stats()).toMatchObject({ running: 0, waiting: 0, tenants: 0 })
  })

  it.each(['everything', 5])('is the only other choice, not %j', (gate) => {
    expect(() => queue({ gate: gate as never })).toThrow(configError('"gate"'))
  })
})
