import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type CallOptions,
  collect,
  stack,
  type TokenUsage,
} from '../../../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../../../src/layers/queue/index.js'
import { type Gate, gate } from '../../../../support/gate.js'
import { driven } from '../../../../support/streams.js'
import { upstreamError } from '../../../../support/upstream.js'
import { failure, type Watched, watch } from '../../../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

/** A queue around work that the test ends one by one, for tenants named by a letter each. */
function tenants(options: QueueOptions = {}) {
  const works: { id: string; work: Gate<string> }[] = []
  const started: string[] = []
  const ask = stack(
    (id: string) => {
      const work = gate<string>()
      works.push({ id, work })
      started.push(id)
      return work.promise
    },
    queue({ concurrency: 1, ...options }),
  )
  /** `a3`: the third call of tenant `a`; a digit alone has no tenant. */
  const call = (id: string, more: CallOptions = {}): Watched<string> => {
    const tenant = id.replace(/\d+$/, '')
    return watch(ask(id, { ...(tenant !== '' && { tenant }), ...more }))
  }
  const calls = (tenant: string, count: number, more?: CallOptions) =>
    Array.from({ length: count }, (_, i) => call(`${tenant}${i}`, more))
  /** Ends the oldest that runs, so many times. */
  const end = async (times = 1) => {
    for (let i = 0; i < times && works.length > 0; i++) {
      works.shift()!.work.open('done')
      await tick()
    }
  }
  /** The oldest that runs fails. */
  const fail = async (error: Error) => {
    works.shift()!.work.fail(error)
    await tick()
  }
  const endAll = () => end(Number.POSITIVE_INFINITY)
  return { ask, call, calls, end, endAll, fail, started, stats: () => ask.stats().queue }
}

/** The tenants in the order in which their calls began. */
const inOrder = (started: readonly string[]) => started.map((id) => id.replace(/\d+$/, '')).join('')
const share = (started: readonly string[], tenant: string) =>
  started.filter((id) => id.startsWith(tenant)).length

describe('tenants', () => {
  it('take turns, each in order of arrival, however many calls one of them has waiting', async () => {
    const { calls, endAll, started } = tenants()
    calls('a', 6)
    calls('b', 2)
    calls('c', 3)
    await endAll()
    expect(started).toEqual(['a0', 'b0', 'c0', 'a1', 'b1', 'c1', 'a2', 'c2', 'a3', 'a4', 'a5'])
  })

  it.each([2, 5, 20])(
    'of whom there are %i let a newcomer start within as many turns, behind 500 calls',
    async (n) => {
      const { call, calls, end, endAll, started } = tenants({ concurrency: 3 })
      calls('a', 500)
      for (let i = 1; i < n - 1; i++) calls(String.fromCharCode(97 + i), 20)
      await end(37)
      call('z0')
      const before = started.length
      await end(n)
      expect(started.slice(before)).toContain('z0')
      await endAll()
    },
  )

  it('have shares by weight', async () => {
    const { calls, end, endAll, started } = tenants({ weights: { gold: 3, half: 0.5 } })
    for (const tenant of ['gold', 'plain', 'half']) calls(tenant, 200)
    await end(180)
    expect(share(started, 'gold') / 181).toBeCloseTo(3 / 4.5, 1)
    expect(share(started, 'plain') / 181).toBeCloseTo(1 / 4.5, 1)
    expect(share(started, 'half') / 181).toBeCloseTo(0.5 / 4.5, 1)
    await endAll()
  })

  it('with nothing to wait for are served as they come', async () => {
    const { calls, endAll, started } = tenants({ concurrency: 10 })
    calls('a', 3)
    calls('b', 2)
    expect(started).toEqual(['a0', 'a1', 'a2', 'b0', 'b1'])
    await endAll()
  })

  it('save up nothing while they are away', async () => {
    const { calls, end, endAll, started } = tenants()
    calls('b', 1)
    await end(1)
    calls('a', 100)
    await end(50)
    calls('b', 100)
    const before = started.length
    await end(40)
    expect(share(started.slice(before), 'b')).toBe(20)
    await endAll()
  })

  it('come back with what they have had, and that counts half after a minute', async () => {
    const { calls, end, endAll, started } = tenants()
    for (const tenant of ['a', 'b']) calls(tenant, 1)
    await end(2)
    // In a hurry `a` has had 8 calls more than `b`, which waits all the time behind nobody.
    calls('a', 8)
    await end(8)
    await tick(3 * 60_000)
    calls('a', 20)
    calls('b', 20)
    const before = started.length
    await end(20)
    // It was alone then, so nothing is held against it.
    expect(share(started.slice(before), 'a')).toBeGreaterThanOrEqual(9)
    await endAll()
  })

  it('go by priority before anything else', async () => {
    const { call, calls, endAll, started } = tenants()
    calls('a', 2)
    call('b0', { priority: -1 })
    call('a9', { priority: 5 })
    call('a8', { priority: 5 })
    call('b9', { priority: 5 })
    call('b1')
    await endAll()
    expect(started).toEqual(['a0', 'a9', 'b9', 'a8', 'b1', 'a1', 'b0'])
  })

  it('are held apart within a priority: what one has had in another does not count', async () => {
    const { calls, end, endAll, started } = tenants()
    calls('b', 1, { priority: -5 })
    calls('a', 30, { priority: -5 })
    await end(20)
    calls('a', 5, { priority: 1 })
    calls('b', 5, { priority: 1 })
    const before = started.length
    await end(10)
    expect(inOrder(started.slice(before))).toBe('ababababab')
    await endAll()
  })

  it('are one tenant together when calls name none', async () => {
    const { calls, endAll, started } = tenants()
    calls('', 4)
    calls('a', 3)
    calls('', 1)
    await endAll()
    expect(started).toEqual(['0', '1', 'a0', '2', 'a1', '3', 'a2', '0'])
  })

  it('leave at once when they are aborted, and cost nobody a turn', async () => {
    const { call, calls, endAll, started, stats } = tenants()
    const caller = new AbortController()
    calls('a', 3)
    call('b0', { signal: caller.signal })
    call('c0', { signal: caller.signal })
    call('c1')
    expect(stats()).toMatchObject({ waiting: 5, tenants: 3 })
    caller.abort('enough')
    expect(stats()).toMatchObject({ waiting: 3, tenants: 2 })
    await endAll()
    expect(started).toEqual(['a0', 'c1', 'a1', 'a2'])
    expect(stats()).toMatchObject({ waiting: 0, tenants: 0, fairnessIndex: 1 })
  })

  it('are served by arrival with fairness: false', async () => {
    const { calls, endAll, started, stats } = tenants({ fairness: false })
    calls('a', 3)
    calls('b', 2)
    expect(stats()).toMatchObject({ tenants: 0, fairnessIndex: 1 })
    await endAll()
    expect(inOrder(started)).toBe('aaabb')
  })

  it('show in stats how evenly they are served', async () => {
    const { calls, end, endAll, stats } = tenants()
    calls('a', 30)
    calls('b', 30)
    await end(20)
    expect(stats()).toMatchObject({ tenants: 2 })
    expect(stats().fairnessIndex).toBeGreaterThan(0.98)
    expect(stats().fairnessIndex).toBeLessThanOrEqual(1)
    await endAll()
  })

  it('may have any name', async () => {
    const weights = JSON.parse('{"__proto__": 3, "constructor": 2}')
    const { ask, endAll, stats } = tenants({ weights })
    const names = ['__proto__', 'constructor', 'toString']
    const answers = names.map((tenant) => watch(ask(tenant, { tenant })))
    expect(stats()).toMatchObject({ running: 1, waiting: 2, tenants: 3 })
    await endAll()
    expect(answers.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'resolved'])
  })

  it('are forgotten when many others have come since', async () => {
    const { ask, call, endAll, stats } = tenants({ concurrency: 10_000, maxWaiting: 10_000 })
    for (let i = 0; i < 5_000; i++) watch(ask('x', { tenant: `tenant ${i}` }))
    expect(stats().tenants).toBe(5_000)
    await endAll()
    call('a0')
    expect(stats().tenants).toBe(1)
    await endAll()
  })

  it('keep turns right after hours, and after a day without a call', async () => {
    const { calls, end, endAll, started } = tenants()
    for (const hours of [0, 1, 8, 9, 24, 300]) {
      calls('a', 10)
      calls('b', 10)
      const before = started.length
      await tick(hours * 3_600_000)
      await end(10)
      expect(share(started.slice(before), 'a'), `after ${hours} h`).toBeGreaterThanOrEqual(4)
      expect(share(started.slice(before), 'a'), `after ${hours} h`).toBeLessThanOrEqual(6)
      await tick(hours * 3_600_000)
      await endAll()
    }
  })
})

describe('deadlines', () => {
  it('of a newcomer are held against the turns before it, not against the line of another', async () => {
    const { call, calls, end, endAll, started, stats } = tenants()
    calls('a', 12)
    for (let i = 0; i < 10; i++) {
      await tick(100)
      await end()
    }
    calls('a', 100)
    call('b0', { timeoutMs: 500 })
    expect(stats().rejected).toBe(0)
    await tick(100)
    await end()
    expect(started.at(-1)).toBe('b0')
    call('a999', { timeoutMs: 5_000 })
    expect(stats().rejected).toBe(1)
    await endAll()
  })

  it('that cannot be met at the head of the line cost the tenant no turn', async () => {
    const { call, calls, end, endAll, started, stats } = tenants()
    for (let i = 0; i < 10; i++) {
      call(`a${i}`)
      await tick(100)
      await end()
    }
    calls('c', 1)
    call('b9', { timeoutMs: 350 })
    calls('b', 2)
    await tick(300)
    const before = started.length
    calls('d', 2)
    await endAll()
    expect(stats().rejected).toBe(1)
    expect(started.slice(before)).toEqual(['d0', 'b0', 'd1', 'b1'])
  })
})

describe('service', () => {
  /** A base that counts tokens: each request says what it costs. */
  function tokens(options: QueueOptions = {}, streams = false) {
    const works: { done(): void }[] = []
    const started: string[] = []
    const ask = stack(
      base(
        ({ id, usage }: { id: string; usage?: TokenUsage; expected?: number }): unknown => {
          started.push(id)
          if (!streams) {
            const work = gate<unknown>()
            works.push({ done: () => work.open({ usage }) })
            return work.promise
          }
          const { stream } = driven<unknown>({ committed: true })
          works.push({
            done: () => {
              stream.log.push({ word: 'once' })
              stream.log.push({ usage: { input: 1, output: 1 } })
              stream.log.push({ usage })
              stream.log.end()
            },
          })
          return stream
        },
        {
          weigh: ({ expected = 10 }) => ({ input: expected, output: 10 }),
          usage: (answer) => (answer as { usage?: TokenUsage }).usage,
        },
      ),
      queue({ concurrency: 1, ...options }),
    )
    const call = (tenant: string, usage?: TokenUsage, expected?: number) => {
      const asked = { id: tenant, ...(usage && { usage }), ...(expected && { expected }) }
      return watch(ask(asked, { tenant }))
    }
    const end = async (times = 1) => {
      for (let i = 0; i < times; i++) {
        works.shift()?.done()
        await tick()
      }
    }
    return { call, end, started, works }
  }
  const cost = (input: number, output: number, cachedInput?: number): TokenUsage => ({
    input,
    output,
    ...(cachedInput !== undefined && { cachedInput }),
  })

  it('is what answers have cost: a tenant with calls five times as large has a fifth of the turns', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 60; i++) {
      call('large', cost(100, 200))
      call('small', cost(20, 40))
    }
    await end(60)
    const large = share(started, 'large')
    expect(large).toBeGreaterThanOrEqual(9)
    expect(large).toBeLessThanOrEqual(12)
    await end(60)
  })

  it('counts what was cached a tenth', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 60; i++) {
      call('cached', cost(1_000, 0, 1_000))
      call('new', cost(1_000, 0))
    }
    await end(44)
    expect(share(started, 'new')).toBeGreaterThanOrEqual(3)
    expect(share(started, 'new')).toBeLessThanOrEqual(6)
    await end(76)
  })

  it('is that of the last usage in a stream', async () => {
    const { call, started, works } = tokens({}, true)
    const answers = Array.from({ length: 60 }, (_, i) =>
      call(i % 2 ? 'small' : 'large', i % 2 ? cost(20, 40) : cost(100, 200)),
    )
    await tick()
    for (let i = 0; i < 24; i++) {
      const running = answers.find((answer) => answer.state === 'resolved' && answer.value)!
      const stream = running.value as AsyncIterable<unknown>
      running.value = undefined
      const read = collect(stream)
      works.shift()!.done()
      await read
      await tick()
    }
    expect(share(started, 'large')).toBeGreaterThanOrEqual(3)
    expect(share(started, 'large')).toBeLessThanOrEqual(6)
    for (let left = 36; left > 0; left--) {
      const stream = answers.find(({ state, value }) => state === 'resolved' && value)!
      await (stream.value as AsyncGenerator).return(undefined)
      stream.value = undefined
      await tick()
    }
  })

  it('lets a newcomer start in time though others were charged too much at first', async () => {
    const { call, end, started } = tokens({ concurrency: 5 })
    for (let i = 0; i < 200; i++) call('a', cost(1, 0))
    await end(3)
    call('b', cost(1, 0))
    const before = started.length
    await end(2)
    expect(started.slice(before)).toContain('b')
    await end(200)
  })

  it('keeps no tenant waiting whose calls were thought to be dear and were not', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 20; i++) call('dear', cost(1, 0), 1_000)
    for (let i = 0; i < 20; i++) call('cheap', cost(1, 0))
    await end(19)
    expect(Math.abs(share(started, 'dear') - share(started, 'cheap'))).toBeLessThanOrEqual(1)
    await end(21)
  })

  it('is as expected when the answer reports none', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 10; i++) {
      call('a')
      call('b')
    }
    await end(10)
    expect(Math.abs(share(started, 'a') - share(started, 'b'))).toBeLessThanOrEqual(1)
    await end(10)
  })
})

describe('a full room', () => {
  it('takes in a tenant below its share, in place of the latest of the one with most', async () => {
    const { call, calls, endAll, started, stats } = tenants({ maxWaiting: 4 })
    const a = calls('a', 5)
    const b = [call('b0'), call('b1')]
    await tick()
    expect(a.map(({ state }) => state)).toEqual([
      'pending',
      'pending',
      'pending',
      'rejected',
      'rejected',
    ])
    expect(a[4]?.error).toMatchObject({
      code: 'QUEUE_FULL',
      status: 503,
      limit: 4,
      refused: true,
      layer: 'queue',
    })
    const full = call('b2')
    await tick()
    expect(full.error).toMatchObject({ code: 'QUEUE_FULL', limit: 4 })
    expect(stats()).toMatchObject({ waiting: 4, rejected: 3 })
    await endAll()
    expect(started).toEqual(['a0', 'b0', 'a1', 'b1', 'a2'])
    expect(b.every(({ state }) => state === 'resolved')).toBe(true)
  })

  it('refuses a tenant that has its share', async () => {
    const { call, calls, endAll } = tenants({ maxWaiting: 4 })
    calls('a', 3)
    calls('b', 2)
    const refused = call('a9')
    await tick()
    expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
    await endAll()
  })

  it('has shares by weight', async () => {
    const { call, calls, endAll, stats } = tenants({ maxWaiting: 8, weights: { gold: 3 } })
    const plain = calls('plain', 9)
    const gold = calls('gold', 8)
    await tick()
    const waiting = (all: Watched<string>[]) =>
      all.filter(({ state }) => state === 'pending').length
    // One of the plain ones runs.
    expect([waiting(plain) - 1, waiting(gold)]).toEqual([2, 6])
    expect(call('plain99').state).toBe('pending')
    await tick()
    expect(stats().waiting).toBe(8)
    await endAll()
  })

  it('gives up no call of a larger priority, and the one with the smallest first', async () => {
    const { call, endAll, started } = tenants({ maxWaiting: 3 })
    call('a0')
    const urgent = call('a1', { priority: 5 })
    const low = call('a2', { priority: -5 })
    const normal = call('a3')
    call('b0')
    await tick()
    expect([urgent.state, low.state, normal.state]).toEqual(['pending', 'rejected', 'pending'])
    await endAll()
    expect(started).toEqual(['a0', 'a1', 'b0', 'a3'])
    const busy = tenants({ maxWaiting: 2 })
    busy.calls('a', 3, { priority: 5 })
    const refused = busy.call('b0')
    await tick()
    expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
    await busy.endAll()
  })

  it('gives up nobody for a call that is refused for another reason', async () => {
    const { ask, calls, fail, stats } = tenants({ maxWaiting: 2 })
    calls('a', 1)
    await fail(upstreamError('RATE_LIMITED', { retryAfter: 1_000 }))
    calls('a', 2)
    expect(await failure(ask('b0', { tenant: 'b', timeoutMs: 50 }))).toMatchObject({
      code: 'RATE_LIMITED',
    })
    expect(stats()).toMatchObject({ waiting: 2, rejected: 1 })
    const closed = ask.close({ timeoutMs: 0 })
    await tick(1_000)
    await closed
  })

  it('stays as it is with fairness: false, and when nobody names a tenant', async () => {
    for (const [options, name] of [
      [{ fairness: false }, 'b0'],
      [{}, '9'],
    ] as const) {
      const { call, calls, endAll } = tenants({ maxWaiting: 2, ...options })
      calls(name === '9' ? '' : 'a', 3)
      const refused = call(name)
      await tick()
      expect(refused.error).toMatchObject({ code: 'QUEUE_FULL' })
      await endAll()
    }
  })
})

describe('options', () => {
  it.each([
    ['fairness in words', { fairness: 'yes' }, '"fairness"'],
    ['weights that are a list', { weights: [1] }, '"weights"'],
    ['a weight of 0', { weights: { a: 0 } }, '"weights"'],
    ['a weight that is no number', { weights: { a: '3' } }, '"weights"'],
    ['a weight of NaN', { weights: { a: Number.NaN } }, '"weights"'],
  ])('refuses %s', (_, options, words) => {
    expect(() => queue(options as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(words) }),
    )
  })
})
